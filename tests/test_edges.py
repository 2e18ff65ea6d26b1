"""Singular points as the table documents them, and what a value that is being differentiated refuses."""
import copy
import itertools
import pickle

import numpy as np
import pytest

import ad
from ad._core import Array
from ad.engine.sweep import pull_back, run_recorded
from ad.errors import MissingRule
from ad.ops import FUNCTIONS
from ad.testing import check_grads, forward, reverse


def gradient(f, *xs):
    """The gradient of a sum, in reverse mode; in forward mode it must be the same."""
    xs = [np.asarray(x) for x in xs]
    found = [x_bar.numpy() for x_bar in reverse(lambda *xs: [np.sum(f(*xs))], xs, [np.ones(())])]
    for x, x_bar, i in zip(xs, found, range(len(xs))):
        units = np.eye(x.size).reshape(x.size, *x.shape)
        dots = [units if k == i else None for k in range(len(xs))]
        pushed = np.broadcast_to(np.asarray(forward(lambda *xs: [np.sum(f(*xs))], xs, dots)[0]), x.size)
        np.testing.assert_array_equal(pushed.reshape(x.shape), x_bar, err_msg="forward mode against reverse mode")
    return found if len(found) > 1 else found[0]


def second(f, x):
    """The second derivative of a function of one number, forward-over-reverse."""
    x_dot = forward(lambda x: reverse(lambda x: [f(x)], [x], [np.ones(())]), [np.asarray(x)], [np.ones(())])
    return float(x_dot[0])


def watched(check, x):
    """Run a check on a value that is being differentiated."""
    run_recorded(lambda x: (check(x), x)[1], [ad.constant(x)])


def needs(*functions):
    missing = [f.__name__ for f in functions if f not in FUNCTIONS]
    return pytest.mark.skipif(bool(missing), reason=f"no entry yet for {missing}")


# -- singular points -----------------------------------------------------------------------


def test_absolute_at_0():
    np.testing.assert_array_equal(gradient(np.abs, [0.0, -0.0, -2.0]), [0, 0, -1])
    assert gradient(np.abs, 0j) == 0
    np.testing.assert_allclose(gradient_complex(np.abs, 3 + 4j), 0.6 + 0.8j)


def gradient_complex(f, x):
    return reverse(lambda x: [f(x)], [np.asarray(x)], [np.ones(())])[0].numpy()


def test_sign_of_a_complex_number_says_what_to_write():
    with pytest.raises(MissingRule, match=r"x / np\.abs"):
        gradient_complex(lambda x: np.real(np.sign(x)), 1 + 1j)


@pytest.mark.parametrize("f", [np.maximum, np.minimum, np.fmax, np.fmin], ids=lambda f: f.__name__)
def test_ties_share_equally(f):
    a, b = gradient(f, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0])
    np.testing.assert_array_equal(a + b, [1, 1, 1])
    assert a[0] == 0.5


@needs(np.max)
def test_ties_in_a_reduction_share_equally():
    np.testing.assert_array_equal(gradient(np.max, [3.0, 1.0, 3.0]), [0.5, 0, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.min(x, axis=1), [[3.0, 3.0], [1.0, 2.0]]), [[0.5, 0.5], [1, 0]])


@pytest.mark.parametrize("base, exponent, d_base", [
    (0.0, 2.0, 0), (0.0, 1.0, 1), (0.0, 0.0, 0), (0.0, 3, 0), (-2.0, 3, 12), (-2.0, 2.0, -4), (5.0, 0, 0),
    (0.0, 0.5, np.inf), (0.0, -1.0, -np.inf),
])
def test_power_of_a_base(base, exponent, d_base):
    assert gradient(lambda x: x**exponent, base) == d_base
    assert gradient(lambda x: x**exponent, [base])[0] == d_base
    assert gradient(lambda x: x ** np.full(2, exponent, float), [base, base])[1] == d_base
    assert gradient(lambda x, e: x**e, base, float(exponent))[0] == d_base


def test_power_of_an_exponent():
    assert gradient(lambda x: 0.0**x, 2.0) == 0
    assert gradient(lambda x: 0.0**x, 0.0) == 0
    assert np.isnan(gradient(lambda x: (-1.0) ** x, 2.0))
    assert gradient(lambda x: 2.0**x, 3.0) == pytest.approx(8 * np.log(2))


def test_second_derivatives_of_power():
    assert second(lambda x: x**2, 0.0) == 2
    assert second(lambda x: x**1, 0.0) == 0
    assert second(lambda x: x**0, 0.0) == 0
    assert second(lambda x: x**3.0, 0.0) == 0
    for x, e in (2.0, 0.0), (2.0, 1.0), (0.5, 2.0):
        check_grads(lambda x, e: x**e, [x, e])


@needs(np.prod)
@pytest.mark.parametrize("x, expected", [
    ([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]), ([0.0], [1]), ([2.0, 3.0], [3, 2]),
])
def test_prod_with_zeros(x, expected):
    np.testing.assert_allclose(gradient(np.prod, x), expected)
    check_grads(np.prod, [np.array(x)])


@needs(np.linalg.norm)
def test_norm_at_0():
    np.testing.assert_array_equal(gradient(np.linalg.norm, [0.0, 0.0]), [0, 0])
    np.testing.assert_allclose(gradient(np.linalg.norm, [3.0, 4.0]), [0.6, 0.8])


def test_hypot_at_0():
    assert gradient(np.hypot, 0.0, 0.0) == [0, 0]


def test_sqrt_at_0():
    assert gradient(np.sqrt, 0.0) == np.inf


@needs(np.where)
@pytest.mark.parametrize("f", [np.log, np.sqrt, lambda x: 1 / x, lambda x: x**0.5, np.arccosh], ids=str)
def test_no_nan_from_the_branch_not_taken(f):
    x = [-1.0, 0.0, 2.0]
    np.testing.assert_array_equal(gradient(lambda x: np.where(x > 1, f(x), x), x)[:2], [1, 1])
    y = gradient(lambda x: np.where(x > 1, f(np.where(x > 1, x, 2.0)), 0.0), x)
    assert np.all(np.isfinite(y))


@needs(np.where)
def test_no_nan_from_the_branch_not_taken_in_second_order():
    assert second(lambda x: np.where(x > 1, np.log(x), x * x), 0.0) == 2


@needs(np.where)
def test_no_nan_for_scalars_either():
    assert gradient(lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0) == 0


def test_nan_and_inf_where_they_are_meant():
    assert np.isnan(gradient(np.sin, np.nan))
    assert gradient(np.exp, -np.inf) == 0
    assert gradient(lambda x: x * np.inf, 1.0) == np.inf


# -- a value that is being differentiated does not become a constant -----------------------------------


def conversions():
    return {
        "float": float, "complex": complex, "np.asarray": np.asarray, "np.array": np.array,
        "np.float64": np.float64, "math": lambda x: __import__("math").sin(x),
        "item assignment into an ndarray": lambda x: np.zeros(2).__setitem__(0, x),
    }


@pytest.mark.parametrize("convert", conversions().values(), ids=conversions())
def test_conversions_are_refused(convert):
    def check(x):
        with pytest.raises((TypeError, ValueError)) as caught:
            convert(x)
        assert "stop_gradient" in f"{caught.value} {caught.value.__cause__}"

    watched(check, 2.0)
    convert(ad.constant(2.0))


def test_float_of_a_dual_is_refused():
    with pytest.raises(TypeError, match=r"float\(\).*stop_gradient"):
        float(ad.Dual(1.0, 1.0))


def test_conversions_of_constants():
    x = ad.constant(2.5)
    assert float(x) == 2.5 and complex(x) == 2.5 and int(x) == 2 and bool(x) and x.item() == 2.5
    np.testing.assert_array_equal(np.asarray(ad.constant([1.0, 2.0])), [1, 2])
    assert np.asarray(ad.constant([1.0]), dtype=np.float32).dtype == np.float32
    assert ad.constant([1.0, 2.0]).tolist() == [1.0, 2.0]


def test_what_only_looks_is_allowed():
    def check(x):
        assert x > 1 and x == 2 and x != 3 and x <= 2.0 and int(x) == 2 and bool(x)
        assert f"{x:.2f}" == "2.00" and str(x) == "2.0" and "2." in repr(x)
        assert x.item() == 2.0 and x.numpy() == 2.0 and x.shape == () and x.ndim == 0 and x.size == 1
        assert not x.is_constant

    watched(check, 2.0)


def test_comparisons_with_arrays_are_plain():
    def check(x):
        for y in (x > 1.5, x == np.array([1.0, 2.0]), np.array([1.0, 2.0]) <= x, x < ad.constant([2.0, 0.0])):
            assert type(y) is np.ndarray and y.dtype == bool
        assert 2.0 in x and 5.0 not in x

    watched(check, [1.0, 2.0])


def test_index_uses_integers():
    assert [10, 20, 30][ad.constant(np.array(1))] == 20
    with pytest.raises(TypeError):
        [10, 20][ad.constant(1.0)]


def test_the_ndarray_given_out_is_read_only():
    x = ad.constant([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 5.0
    source = np.array([1.0, 2.0])
    y = ad.constant(source)
    source[0] = 7.0
    assert y.numpy()[0] == 1.0


def test_len_iter_contains():
    x = ad.constant([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2 and [float(row[0]) for row in x] == [1.0, 3.0]
    a, b = x[0]
    assert isinstance(a, Array) and float(b) == 2.0
    for bad in (len, iter):
        with pytest.raises(TypeError, match="0-d|unsized"):
            bad(ad.constant(1.0))
    np.testing.assert_array_equal(gradient(lambda x: sum(row[0] * row[1] for row in x), x.numpy()), [[2, 1], [4, 3]])


def test_arrays_are_not_hashable_and_copy_cheaply():
    x = ad.constant([1.0])
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    assert copy.copy(x) is not x and np.array_equal(copy.copy(x), x)
    y = copy.deepcopy(x)
    assert y is not x and y.numpy() == x.numpy()


def test_pickling():
    x = pickle.loads(pickle.dumps(ad.constant(np.arange(3, dtype=np.float32))))
    assert isinstance(x, Array) and x.dtype == np.float32
    np.testing.assert_array_equal(x.numpy(), [0, 1, 2])
    v = pickle.loads(pickle.dumps(ad.Variable([1.0, 2.0], trainable=False, name="v")))
    assert v.name == "v" and not v.trainable
    np.testing.assert_array_equal(v.numpy(), [1, 2])


def test_array_is_not_called():
    with pytest.raises(TypeError, match=r"ad\.constant"):
        Array()


@pytest.mark.parametrize("bad", ["text", None, object(), [1.0, "a"]], ids=repr)
def test_constant_of_what_is_no_number(bad):
    with pytest.raises((TypeError, ValueError)):
        ad.constant(bad)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_integers_have_no_gradient_but_flow(dtype):
    n = np.ones(3, dtype)
    np.testing.assert_array_equal(gradient(lambda x: x * n + n, [1.0, 2.0, 3.0]), [1, 1, 1])


def test_dual_numbers_in_the_open():
    x = ad.Dual(2.0, 1.0)
    y = x * np.sin(x)
    assert isinstance(y, ad.Dual) and y.primal == pytest.approx(2 * np.sin(2))
    assert y.tangent == pytest.approx(np.sin(2) + 2 * np.cos(2))
    k = ad.Dual(np.array([1.0, 2.0]), np.eye(2))
    np.testing.assert_allclose((k * k).tangent, np.diag([2.0, 4.0]))
    with pytest.raises(ValueError, match="tangent has shape"):
        ad.Dual(np.ones(3), np.ones(2))


def test_dual_numbers_nested():
    x = ad.Dual(ad.Dual(2.0, 1.0), 1.0)
    y = x**3
    assert y.primal.primal == 8 and y.tangent.primal == 12 and y.tangent.tangent == 12


def test_reverse_of_reverse_of_reverse():
    def derivative(f):
        def d(x):
            recorder, aliases, y = run_recorded(f, [x])
            x_bar = pull_back(recorder, [y], aliases, [ad.constant(1.0)])[0]
            return ad.constant(0.0) if x_bar is None else x_bar

        return d

    f = np.sin
    for expected in (np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        f = derivative(f)
        assert f(ad.constant(0.7)).numpy() == pytest.approx(expected)


@needs(np.linalg.eigh)
def test_a_uniform_cotangent_of_one_of_several_outputs():
    x = np.diag([1.0, 2.0, 4.0])
    np.testing.assert_allclose(ad.grad(lambda a: np.sum(np.linalg.eigh(a)[0]))(x), np.eye(3), atol=1e-14)
    np.testing.assert_allclose(ad.grad(lambda a: np.sum(np.linalg.svd(a)[1]))(x), np.eye(3), atol=1e-14)


def test_logaddexp_of_infinities():
    assert ad.grad(np.logaddexp, (0, 1))(np.inf, 0.0) == (1, 0)
    for same in (-np.inf, np.inf):
        assert ad.grad(np.logaddexp, (0, 1))(same, same) == (0.5, 0.5)
        assert ad.grad(lambda x: np.logaddexp2(x, x))(same) == 1
    assert ad.grad(np.logaddexp, (0, 1))(1e10, 1e10) == (0.5, 0.5)  # the result is rounded to 2e-6 there


def test_a_copy_of_a_watched_value_is_no_constant():
    for cut in copy.deepcopy, pickle.dumps:
        with pytest.raises(TypeError, match="is being differentiated"):
            ad.grad(lambda x, cut=cut: cut(x) and x)(1.0)


# -- NumPy's values, to the bit -----------------------------------------------------------------------


def assert_identical(ours, numpys):
    assert isinstance(ours, Array) or numpys.dtype.kind == "i"
    np.testing.assert_array_equal(ours.numpy() if isinstance(ours, Array) else ours, numpys, strict=True)


@pytest.mark.parametrize("decimals", [0, 1, 5, -1, -2])
@pytest.mark.parametrize("x", [
    np.array([2.5, 3.5, -0.5, 123.456, np.nan, np.inf]), np.array([0.123, -76.5], np.float32), np.arange(6) * 37,
    np.array([0.15 - 2.25j, 17.65 + 1j]), np.float64(2.345),
], ids=lambda x: str(x.dtype))
def test_round(x, decimals):
    assert_identical(np.round(ad.constant(x), decimals), np.round(x, decimals))
    assert_identical(ad.constant(x).round(decimals), x.round(decimals))


@pytest.mark.parametrize("options", [{}, {"nan": 3.0, "posinf": 5.0}, {"neginf": -1.0}], ids=str)
@pytest.mark.parametrize("x", [
    np.array([np.nan, 1.0, np.inf, -np.inf]), np.array([np.nan, 1.0, np.inf], np.float32), np.arange(3),
    np.array([complex(np.nan, 1), complex(1, -np.inf)]), np.float64(np.nan),
], ids=lambda x: str(x.dtype))
def test_nan_to_num(x, options):
    assert_identical(np.nan_to_num(ad.constant(x), **options), np.nan_to_num(x, **options))
    if x.dtype == np.float64 and x.ndim:
        slopes = ad.grad(lambda x: np.sum(np.nan_to_num(x, **options)))(x)
        np.testing.assert_array_equal(slopes, np.isfinite(x))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.int64])
def test_convolve(mode, dtype):
    rng = np.random.default_rng(3)
    for m, n in itertools.product(range(1, 6), repeat=2):
        a, v = (rng.integers(-9, 9, k).astype(dtype) for k in (m, n))
        assert_identical(np.convolve(ad.constant(a), v, mode), np.convolve(a, v, mode))
        assert_identical(np.convolve(a, ad.constant(v), mode), np.convolve(a, v, mode))


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum])
def test_running_extremes(ufunc):
    for x in np.array([1.0, np.nan, 3.0, 2.0]), np.array([2, 1, 3]), np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 4.0]]):
        assert_identical(ufunc.accumulate(ad.constant(x)), ufunc.accumulate(x))
    with pytest.raises(TypeError, match="accumulate on a scalar"):
        ufunc.accumulate(ad.constant(1.0))


def test_the_latest_of_equal_records_has_the_gradient():
    x = np.array([1.0, 3.0, 3.0, 2.0])
    np.testing.assert_array_equal(ad.grad(lambda x: np.maximum.accumulate(x)[-1])(x), [0, 0, 1, 0])
    slopes = ad.record(ad.grad(lambda x: np.sum(np.maximum.accumulate(x))))(x)
    loaded = pickle.loads(pickle.dumps(slopes))
    np.testing.assert_array_equal(loaded(np.array([2.0, 1.0, 3.0, 1.0])), [2, 0, 2, 0])


@pytest.mark.filterwarnings("ignore:Degrees of freedom", "ignore:invalid value")
@pytest.mark.parametrize("options", [{}, {"axis": 0, "ddof": 1}, {"axis": 1, "keepdims": True}, {"axis": 1, "ddof": 3}],
                         ids=str)
def test_variance_of_some(options):
    x = np.random.default_rng(4).random((3, 4))
    for where in np.array([True, False, True, True]), x > 0.5, np.zeros(4, bool):
        for f in np.var, np.std:
            np.testing.assert_allclose(f(ad.constant(x), where=where, **options), f(x, where=where, **options),
                                       rtol=1e-14)


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: np.convolve(x, np.ones((2, 2))), "object too deep for desired array"),
    (lambda x: np.convolve(x, []), "v cannot be empty"),
    (lambda x: np.convolve(x, x, "middle"), "mode must be one of 'valid', 'same', or 'full'"),
    (lambda x: np.polyval(x, np.poly1d([1.0, 2.0])), "a polynomial in the place of x"),
])
def test_what_these_do_not_take(call, message):
    x = ad.constant([1.0, 2.0])
    with ad.GradientTape() as tape, pytest.raises((ValueError, ad.MissingRule), match=message):
        tape.watch(x)
        call(x)


def test_truths_are_no_mask_where_numpy_has_none():
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(gradient(lambda x: np.take(x, [True, False, True, True]) ** 2, x), [2, 12, 0])
    with pytest.raises(IndexError, match="`indices` must be an integer array"):
        ad.grad(lambda x: np.sum(np.take_along_axis(x, np.array([True, False, True]), 0)))(x)


# -- numbers with an axis, and nothing with a start ------------------------------------------------------

WITH_AN_AXIS = ["nansum", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "sum", "prod", "max", "min", "mean", "std",
                "cumsum", "cumprod", "argmax", "argmin", "argsort", "any", "all", "sort", "median", "ptp"]


def outcome(call):
    """What a call gives, or the type and the text of its error."""
    try:
        return np.asarray(call())
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("axis", [0, -1, 1, (), (0,), None], ids=str)
@pytest.mark.parametrize("name", WITH_AN_AXIS)
def test_axes_of_a_number(name, axis):
    f = getattr(np, name)
    want = outcome(lambda: f(np.array(1.7), axis=axis))
    if isinstance(want, tuple):
        assert outcome(lambda: f(ad.constant(1.7), axis=axis)) == want
        return
    for found in (f(ad.constant(1.7), axis=axis), ad.compile(lambda x: f(x, axis=axis))(1.7),
                  *ad.vmap(lambda x: f(x, axis=axis))(np.full(2, 1.7))):
        np.testing.assert_array_equal(found, want)
    if want.dtype.kind == "f":
        eps = 1e-6
        slope = np.sum(f(np.array(1.7 + eps), axis=axis) - f(np.array(1.7 - eps), axis=axis)) / (2 * eps)
        np.testing.assert_allclose(gradient(lambda x: f(x, axis=axis), np.array(1.7)), slope, atol=1e-8)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (2, 0, 3)], ids=str)
def test_extremes_of_nothing_with_a_start(name, shape):
    f, x = getattr(np, name), np.zeros(shape)
    for axis in (None, *range(len(shape))):
        for dtype in (float, int, np.float32):
            for keepdims in (False, True):
                plain, options = x.astype(dtype), {"axis": axis, "initial": 3, "keepdims": keepdims}
                y, want = f(ad.constant(plain), **options), f(plain, **options)
                np.testing.assert_array_equal(y, want)
                assert y.dtype == want.dtype
        start = gradient(lambda s, axis=axis: f(ad.constant(x), axis=axis, initial=s), 0.5)
        assert start == f(x, axis=axis, initial=0.5).size


@pytest.mark.parametrize("f", [
    np.linalg.eigvalsh, lambda a: np.linalg.eigh(a)[1], lambda a: np.linalg.svd(a)[1], lambda a: np.linalg.svd(a)[0],
])
def test_factors_of_matrices_without_elements(f):
    for shape in ((2, 0, 0), (0, 0), (0, 2, 2)):
        assert ad.grad(lambda a: np.sum(f(a)))(np.zeros(shape)).shape == shape
