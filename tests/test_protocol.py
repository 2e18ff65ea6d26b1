"""NumPy's functions and ufunc methods on values of ours: results, derivatives, and what is refused."""
import numpy as np
import pytest

import ad
from ad._core import Array
from ad.engine.sweep import pull_back, run_recorded
from ad.errors import MissingRule
from ad.ops import FUNCTIONS
from ad.testing import check_grads

X = np.array([[0.5, -1.5, 2.0], [1.0, 3.0, -0.25]])


def gradient(f, *xs):
    recorder, aliases, y = run_recorded(lambda *xs: np.sum(f(*xs)), [ad.constant(x) for x in xs])
    return [x_bar.numpy() for x_bar in pull_back(recorder, [y], aliases, [ad.constant(1.0)])]


def watched(check, x=X):
    """Run a check on a value that is being differentiated."""
    run_recorded(lambda x: (check(x), x)[1], [ad.constant(x)])


def needs(*functions):
    missing = [f.__name__ for f in functions if f not in FUNCTIONS]
    return pytest.mark.skipif(bool(missing), reason=f"no entry yet for {missing}")


# -- out= --------------------------------------------------------------------------------


def test_out_of_ours_takes_over_the_result():
    def f(x):
        y = ad.constant(np.zeros(3))
        assert np.multiply(x, x, out=y) is y
        np.sin(y, out=y)
        return y

    x = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(gradient(f, x)[0], 2 * x * np.cos(x * x))
    check_grads(lambda x: f(x) if isinstance(x, Array) else np.sin(x * x), [x])


def test_out_may_be_the_argument_itself():
    x = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(gradient(lambda x: np.multiply(x, 3.0, out=x) * x, x)[0], 18 * x)


def test_out_is_broadcast_to_and_cast_to():
    y = ad.constant(np.zeros((2, 3), np.float32))
    np.add(ad.constant([1.0, 2.0, 3.0]), 1.0, out=y)
    assert y.shape == (2, 3) and y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), [[2, 3, 4], [2, 3, 4]])
    with pytest.raises(TypeError, match="int64"):
        np.add(ad.constant([1.0]), 1.0, out=ad.constant(np.array([1])))


def test_out_plain_takes_constants_only():
    target = np.zeros(3)
    assert np.add(ad.constant([1.0, 2.0, 3.0]), 1.0, out=target) is target
    np.testing.assert_array_equal(target, [2, 3, 4])

    def check(x):
        with pytest.raises(TypeError, match=r"np\.add.*cut it off.*a = a \+ x"):
            np.add(x, 1.0, out=np.zeros((2, 3)))
        with pytest.raises(TypeError, match=r"a = a \+ x"):
            a = np.zeros((2, 3))
            a += x

    watched(check)


def test_out_variable_is_refused():
    with pytest.raises(TypeError, match="assign"):
        np.add(ad.constant(1.0), 1.0, out=ad.Variable(0.0))


def test_out_of_several_outputs():
    def f(x):
        fraction, whole = ad.constant(np.zeros((2, 3))), ad.constant(np.zeros((2, 3)))
        assert np.modf(x, out=(fraction, whole))[0] is fraction
        return fraction * fraction

    np.testing.assert_allclose(gradient(f, X)[0], 2 * np.modf(X)[0])


def test_augmented_assignment_writes_to_the_array():
    x = y = ad.constant([1.0, 2.0])
    y += 1.0
    np.testing.assert_array_equal(x.numpy(), [2, 3])
    a = b = ad.constant(1.0)
    b += 1.0  # a number cannot be written to
    assert float(a) == 1.0 and float(b) == 2.0


# -- where=, dtype=, casting= ----------------------------------------------------------------


@needs(np.where)
def test_where_keeps_what_out_holds():
    mask = X > 0

    def f(x):
        return np.log(x, out=ad.constant(np.full(X.shape, 7.0)), where=mask)

    np.testing.assert_allclose(gradient(f, X)[0], np.where(mask, 1 / X, 0))
    np.testing.assert_allclose(f(ad.constant(X)).numpy(), np.log(X, out=np.full(X.shape, 7.0), where=mask))
    np.testing.assert_allclose(gradient(lambda x: np.exp(x, out=x, where=mask), X)[0], np.where(mask, np.exp(X), 1))


def test_where_without_out_says_why_not():
    with pytest.raises(ValueError, match=r"np\.log with where=.*out="):
        np.log(ad.constant(X), where=X > 0)


def test_dtype_chooses_the_loop():
    y = np.add(ad.constant(X), 1, dtype=np.float32)
    assert y.dtype == np.float32
    assert np.sin(ad.constant([1, 2], dtype=np.int64), dtype=np.float64).dtype == np.float64
    assert np.multiply(ad.constant(X), 2.0, dtype=complex).dtype == np.complex128
    assert gradient(lambda x: np.multiply(x, x, dtype=np.float32), X)[0].dtype == np.float64
    with pytest.raises(TypeError):
        np.add(ad.constant(X), 1.0, dtype=np.int64)
    assert np.add(ad.constant(X), 1.0, dtype=np.int64, casting="unsafe").dtype == np.int64


# -- methods -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": None}, {"axis": (0, 1)}, {"keepdims": True}],
                         ids=lambda options: str(options))
@pytest.mark.parametrize("ufunc", [
    np.add, pytest.param(np.multiply, marks=needs(np.prod)), pytest.param(np.maximum, marks=needs(np.max)),
    pytest.param(np.minimum, marks=needs(np.min)), np.logaddexp,
], ids=lambda ufunc: ufunc.__name__)
def test_reduce(ufunc, options):
    if ufunc is np.logaddexp and options.get("axis") == (0, 1):
        pytest.skip("NumPy reduces it over one axis only")
    check_grads(lambda x: ufunc.reduce(x, **options), [X])
    ours = ufunc.reduce(ad.constant(X), **options)
    assert isinstance(ours, Array)
    np.testing.assert_allclose(ours.numpy(), ufunc.reduce(X, **options))
    assert ours.shape == np.shape(ufunc.reduce(X, **options))


@needs(np.where, np.max, np.prod)
@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum], ids=lambda ufunc: ufunc.__name__)
def test_reduce_with_initial_and_where(ufunc):
    mask = np.array([[True, False, True], [False, False, True]])
    options = {"initial": 0.75, "where": mask, "axis": 0}
    check_grads(lambda x: ufunc.reduce(x, **options), [X])
    np.testing.assert_allclose(ufunc.reduce(ad.constant(X), **options).numpy(), ufunc.reduce(X, **options))


@needs(np.where, np.max)
def test_reduce_with_where_and_no_neutral_element():
    with pytest.raises(ValueError, match="initial"):
        np.maximum.reduce(ad.constant(X), where=X > 0)


def test_reduce_of_a_scalar_and_into_out():
    assert np.add.reduce(ad.constant(2.0)).numpy() == 2.0
    y = ad.constant(np.zeros(3))
    assert np.add.reduce(ad.constant(X), out=y) is y
    np.testing.assert_allclose(y.numpy(), X.sum(0))
    assert np.add.reduce(ad.constant(X), dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("ufunc", [
    pytest.param(np.add, marks=needs(np.cumsum)), pytest.param(np.multiply, marks=needs(np.cumprod)), np.maximum,
    np.minimum,
], ids=lambda ufunc: ufunc.__name__)
def test_accumulate(ufunc):
    for axis in (0, 1, -1):
        check_grads(lambda x, axis=axis: ufunc.accumulate(x, axis=axis), [X])
        np.testing.assert_allclose(ufunc.accumulate(ad.constant(X), axis).numpy(), ufunc.accumulate(X, axis))


@pytest.mark.parametrize("ufunc", [np.subtract, np.multiply, np.hypot], ids=lambda ufunc: ufunc.__name__)
def test_outer(ufunc):
    a, b = np.array([0.5, 1.5]), X
    check_grads(ufunc.outer, [a, b])
    np.testing.assert_allclose(ufunc.outer(ad.constant(a), b).numpy(), ufunc.outer(a, b))
    np.testing.assert_allclose(ufunc.outer(a, ad.constant(b)).numpy(), ufunc.outer(a, b))


def test_methods_without_rule_name_themselves():
    def check(x):
        with pytest.raises(MissingRule, match=r"np\.subtract\.reduce has no rule.*ad\.ops\.custom"):
            np.subtract.reduce(x)
        with pytest.raises(MissingRule, match=r"np\.divide\.accumulate"):
            np.divide.accumulate(x)
        with pytest.raises(MissingRule, match=r"np\.add\.reduceat"):
            np.add.reduceat(x, [0, 1])
        with pytest.raises(TypeError, match=r"np\.add\.at"):
            np.add.at(np.zeros((2, 3)), 0, x[0])

    watched(check)


def test_methods_without_rule_on_constants_are_numpys():
    np.testing.assert_array_equal(np.subtract.reduce(ad.constant(X)), np.subtract.reduce(X))
    np.testing.assert_array_equal(np.add.reduceat(ad.constant(X[0]), [0, 1]), np.add.reduceat(X[0], [0, 1]))
    target = np.zeros(3)
    np.add.at(target, [0, 0], ad.constant([1.0, 2.0]))
    np.testing.assert_array_equal(target, [3, 0, 0])


# -- plain results, and none -------------------------------------------------------------------


@pytest.mark.parametrize("ufunc", [
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or,
    np.logical_xor, np.logical_not, np.isnan, np.isfinite, np.isinf, np.signbit,
], ids=lambda ufunc: ufunc.__name__)
def test_yes_or_no_is_plain(ufunc):
    def check(x):
        y = ufunc(*[x, 0.5][: ufunc.nin])
        assert type(y) is np.ndarray and y.dtype == bool
        np.testing.assert_array_equal(y, ufunc(*[X, 0.5][: ufunc.nin]))

    watched(check)


def test_logical_reductions_are_plain():
    watched(lambda x: np.testing.assert_array_equal(np.logical_and.reduce(x), np.logical_and.reduce(X)))


@pytest.mark.parametrize("function", [np.argmax, np.shape, np.ndim, np.size, np.any, np.count_nonzero, np.argsort])
def test_functions_without_derivative_are_plain(function):
    def check(x):
        y = function(x)
        assert not isinstance(y, Array)
        np.testing.assert_array_equal(y, function(X))

    watched(check)


def test_what_a_plain_function_passes_on_is_not_made_a_constant():
    def check(x):
        np.testing.assert_array_equal(np.full_like(x, 2.0), np.full((2, 3), 2.0))
        with pytest.raises(TypeError, match=r"np\.copyto cannot write.*ad\.numpy"):
            np.full_like(np.zeros(2), x[0, 0])
        with pytest.raises(MissingRule, match=r"np\.histogram"):
            np.histogram([0, 1, 0], weights=x[0])

    watched(check)


def test_zeros_like_is_plain_zeros():
    watched(lambda x: np.testing.assert_array_equal(np.zeros_like(x), np.zeros((2, 3))))


def test_missing_ufunc():
    def check(x):
        with pytest.raises(MissingRule, match=r"np\.spacing has no rule, in reverse or in forward.*make an op"):
            np.spacing(x)

    watched(check)
    with pytest.raises(MissingRule, match=r"np\.nextafter"):
        np.nextafter(ad.Dual(X, X), 1.0)
    np.testing.assert_array_equal(np.spacing(ad.constant(X)), np.spacing(X))


def test_missing_function():
    def check(x):
        with pytest.raises(MissingRule, match=r"np\.linalg\.cond has no rule.*stop_gradient"):
            np.linalg.cond(x)
        with pytest.raises(MissingRule, match=r"np\.unwrap"):
            np.unwrap(x)

    watched(check)
    np.testing.assert_array_equal(np.unwrap(ad.constant(X)), np.unwrap(X))


def test_an_operand_that_is_no_number():
    for wrong in ("a", None, object()):
        with pytest.raises(TypeError):
            ad.constant(1.0) + wrong
        with pytest.raises(TypeError):
            np.add(ad.constant(1.0), wrong)


def test_unknown_argument_of_a_function():
    with pytest.raises((MissingRule, TypeError), match="sum.*order"):
        FUNCTIONS[np.sum](ad.constant(X), order="C")


@pytest.mark.parametrize("function", [np.angle, ad.angle])
def test_angle_in_degrees(function):
    z = np.array([1 + 2j, -3j, -0.5 + 0.1j])
    for call in (lambda z: function(z, True), lambda z: function(z, deg=True)):
        np.testing.assert_allclose(call(ad.constant(z)).numpy(), np.angle(z, True), rtol=1e-15)
        check_grads(call, [z])
    np.testing.assert_array_equal(function(z, deg=True), np.angle(z, deg=True))


@pytest.mark.parametrize("name, too_few", [("vsplit", 1), ("hsplit", 0), ("dsplit", 2)])
def test_splits_along_a_given_axis_take_no_other(name, too_few):
    x = ad.constant(np.zeros((2, 2, 2)))
    for function in (getattr(np, name), getattr(ad, name)):
        with pytest.raises(TypeError, match="positional arguments"):
            function(x, 2, 1)
        with pytest.raises(ValueError, match=f"{name} only works on arrays of"):
            function(ad.constant(np.zeros((2,) * too_few)), 2)


def test_sequences_of_arrays_as_operands():
    x = ad.constant(2.0)
    if np.stack in FUNCTIONS:
        np.testing.assert_array_equal((ad.constant([1.0, 2.0]) * [x, 3.0]).numpy(), [2, 6])
