"""Where a derivative ends: on purpose, with a warning, or not at all (`.item()`, `.tolist()`)."""
import copy
import pickle
import warnings

import numpy as np
import pytest

import ad

X = np.array([2.0, 3.0, 4.0])
A = np.arange(1.0, 5.0).reshape(2, 2)


# -- elements --------------------------------------------------------------------------------------

ELEMENTS = {
    "item()": (lambda x: x[1:2].item() ** 2, X, [0, 6, 0]), "item of 0-d": (lambda x: x[1].item() ** 2, X, [0, 6, 0]),
    "item(i)": (lambda x: x.item(2) ** 2, X, [0, 0, 8]), "item(-1)": (lambda x: x.item(-1) ** 2, X, [0, 0, 8]),
    "item(i) of two axes": (lambda x: x.item(2) ** 2, A, [[0, 0], [6, 0]]),
    "item(i, j)": (lambda x: x.item(1, 0) ** 2, A, [[0, 0], [6, 0]]),
    "item((i, j))": (lambda x: x.item((1, 0)) ** 2, A, [[0, 0], [6, 0]]),
    "tolist": (lambda x: sum(a * a for a in x.tolist()), X, 2 * X),
    "tolist of two axes": (lambda x: sum(a * b for a, b in x.tolist()), A, [[2, 1], [4, 3]]),
    "tolist of 0-d": (lambda x: x[0].tolist() ** 2, X, [4, 0, 0]),
}


@pytest.mark.parametrize(("f", "x", "wanted"), ELEMENTS.values(), ids=ELEMENTS)
def test_elements_keep_their_derivative(f, x, wanted):
    np.testing.assert_allclose(ad.grad(f)(x), wanted)
    np.testing.assert_allclose(ad.jvp(f, (x,), (np.ones_like(x),))[1], np.sum(wanted))
    np.testing.assert_allclose(ad.hessian(f)(x).sum(), ad.hessian(lambda x: f(1 * x))(x).sum())
    np.testing.assert_allclose(ad.vmap(f)(np.stack([x, 2 * x])), [plain(f(ad.constant(k * x))) for k in (1, 2)])
    compiled = ad.compile(f)
    compiled(x)
    np.testing.assert_allclose(compiled(2 * x), plain(f(ad.constant(2 * x))))


def plain(y):
    return y.numpy() if isinstance(y, ad.Array) else y


def test_elements_of_constants_are_numbers_of_python():
    assert type(ad.constant(2.5).item()) is float and type(ad.constant(X).item(1)) is float
    assert ad.constant(A).tolist() == A.tolist() and ad.constant(np.arange(3)).tolist() == [0, 1, 2]
    assert type(ad.constant(2.5).tolist()) is float


@pytest.mark.parametrize("args", [(), (7,), (-4,), (0, 0), (1.5,)], ids=str)
def test_an_element_that_is_not_there(args):
    with pytest.raises((ValueError, IndexError, TypeError)) as expected:
        X.item(*args)
    for call in (lambda: ad.constant(X).item(*args), lambda: ad.grad(lambda x: x.item(*args))(X)):
        with pytest.raises(expected.type) as found:
            call()
        assert str(found.value) == str(expected.value)


# -- lanes -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", [
    lambda x: x * x.numpy(), lambda x: x * ad.Variable(x), lambda x: np.sin(x) + float(np.cos(x.numpy()))])
@pytest.mark.parametrize("derivative", [lambda f: f, lambda f: ad.grad(lambda x: np.sum(f(x))), ad.compile])
def test_a_plain_value_under_vmap_is_refused(f, derivative):
    with pytest.raises(TypeError, match=r"ad.vmap: .*test_cuts.py:\d+: .* would be the value of one lane"):
        derivative(ad.vmap(f))(X)


def test_what_is_printed_under_vmap_is_told_of(capsys):
    with pytest.warns(UserWarning, match="takes a value out"):
        np.testing.assert_array_equal(ad.vmap(lambda x: (print(x), x)[1])(X), X)


def test_a_variable_that_leaves_a_recording_is_told_of():
    v = ad.Variable(2.0)
    with pytest.warns(UserWarning, match=r"numpy\(\) takes a value out"):
        ad.compile(lambda x: x * v.numpy())(1.0)


# -- functions under custom_gradient -----------------------------------------------------------------


@ad.custom_gradient
def cube(x):
    p = x.numpy()
    return p**3, lambda g: g * 3 * p**2


@ad.custom_gradient
def square(x):
    return x.numpy() ** 2, lambda g: 2 * g * x


@ad.custom_gradient
def clipped(x, high=3.0):
    if x.numpy().sum() > high:
        return 10 * x.numpy(), lambda g: 10 * g
    return 1 * x.numpy(), lambda g: g


@ad.custom_gradient
def pair(x, y):
    a, b = x.numpy(), y.numpy()
    return {"product": a * b, "sum": a + b}, lambda g, h: (g * b + h, g * a + h)


def total(f):
    return lambda x: np.sum(f(x))


RERUN = {
    "value": (cube, X**3), "gradient": (ad.grad(total(cube)), 3 * X**2),
    "jacobian": (ad.jacobian(cube), np.diag(3 * X**2)),
    "rows": (ad.jacobian(cube, mode="reverse"), np.diag(3 * X**2)), "vmap": (ad.vmap(lambda x: cube(x) * x), X**4),
    "vmap of gradient": (ad.vmap(ad.grad(lambda x: cube(x) * x)), 4 * X**3),
    "gradient of vmap": (ad.grad(total(ad.vmap(cube))), 3 * X**2),
    "jvp": (lambda x: ad.jvp(square, (x,), (np.ones(3),))[1], 2 * X),
    "hessian": (ad.hessian(total(lambda x: square(x) ** 2)), np.diag(12 * X**2)),
    "hvp": (lambda x: ad.hvp(total(lambda x: square(x) ** 2))(x, np.ones(3)), 12 * X**2),
    "branch": (clipped, 10 * X), "gradient of branch": (ad.grad(total(clipped)), [10, 10, 10]),
    "option": (lambda x: clipped(x, high=100.0), X),
    "two": (ad.grad(lambda x: np.sum(pair(x, x)["product"] + pair(2 * x, x)["sum"])), 2 * X + 3),
    "inside": (lambda x: np.sum(np.sin(cube(2 * x) - 1)), np.sum(np.sin(8 * X**3 - 1))),
}


@pytest.mark.parametrize(("f", "wanted"), RERUN.values(), ids=RERUN)
def test_a_replay_calls_a_function_that_takes_plain_values(f, wanted):
    compiled = ad.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(0.1 * X)
        np.testing.assert_allclose(compiled(X), wanted, rtol=1e-12)


def test_branches_with_such_a_function_share_a_recording():
    compiled = ad.compile(lambda x: cube(x) if x[0] > 0 else cube(-2 * x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (X, -X, 2 * X, -3 * X):
            np.testing.assert_allclose(compiled(x), np.where(x > 0, x, -2 * x) ** 3)


def test_a_replay_reads_the_variables_of_such_a_function():
    v = ad.Variable(2.0)

    @ad.custom_gradient
    def scaled(x):
        return x.numpy() * v.numpy(), lambda g: g * v.numpy()

    @ad.custom_gradient
    def watched(x):
        return x.numpy() * (v * 1.0).numpy(), lambda g, variables: (g * v.numpy(), [g * x])

    def slope(x):
        with ad.GradientTape() as tape:
            y = watched(x)
        return tape.gradient(y, v)

    compiled = [ad.compile(f) for f in (lambda x: scaled(1 * x), lambda x: watched(1 * x), slope)]
    for f in compiled:
        f(1.0)
    v.assign(5.0)
    assert [float(f(3.0)) for f in compiled] == [15, 15, 3]


def test_what_such_a_function_closes_over_is_told_of():
    def f(a, b):
        @ad.custom_gradient
        def product(x):
            return x.numpy() * b.numpy(), lambda g: g * b.numpy()
        return product(a)

    with pytest.warns(UserWarning, match="takes a value out"):
        ad.compile(f)(1.0, 2.0)


# -- no connection -----------------------------------------------------------------------------------

INDEPENDENT = {
    "a number": (lambda x: 3.0, "constant"), "an int": (lambda x: 0, "constant"),
    "numpy()": (lambda x: np.sum(x.numpy()), r"by numpy\(\)"), "int()": (lambda x: float(int(x[0])), r"by int\(\)"),
    "stop_gradient": (lambda x: np.sum(ad.stop_gradient(x)), "by ad.stop_gradient"),
    "another": (lambda x: np.sum(ad.constant(X)), "another variable"),
}
WARNING = {
    "grad": ad.grad, "value_and_grad": ad.value_and_grad, "hessian": ad.hessian, "jacobian": ad.jacobian,
    "hvp": lambda f: lambda x: ad.hvp(f)(x, x), "two": lambda f: lambda x: ad.grad(lambda x, y: f(x), (0, 1))(x, x),
    "a container": lambda f: lambda x: ad.grad(lambda d: f(d["a"]))({"a": x}),
    "compile": lambda f: ad.compile(ad.grad(f)),
}


@pytest.mark.parametrize(("f", "reason"), INDEPENDENT.values(), ids=INDEPENDENT)
@pytest.mark.parametrize("derivative", WARNING.values(), ids=WARNING)
def test_what_does_not_depend_on_the_argument_is_told_of(f, reason, derivative):
    with pytest.warns(ad.IndependentWarning, match=reason) as found:
        derivative(f)(X)
    assert [warning.filename for warning in found if warning.category is ad.IndependentWarning] == [__file__]


CONNECTED = {
    "linear": np.sum, "element": lambda x: x[0], "sign": lambda x: np.sum(np.sign(x)),
    "floor": lambda x: np.sum(np.floor(x)), "round": lambda x: np.sum(np.round(x)),
    "where": lambda x: np.sum(np.where(x > 0, 1.0, x)), "times zero": lambda x: np.sum(0 * x),
}
SILENT = {
    **{name: WARNING[name] for name in ("grad", "hessian", "jacobian", "hvp", "two", "compile")},
    "one of two": lambda f: lambda x: ad.grad(lambda x, y: f(x), (0, 1))(x, x),
    "grad of grad": lambda f: ad.grad(lambda x: np.sum(ad.grad(f)(x))),
    "jacobian of grad": lambda f: ad.jacobian(ad.grad(f)),
    "hessian of grad": lambda f: ad.hessian(lambda x: np.sum(ad.grad(f)(x))),
    "grad of jvp": lambda f: ad.grad(lambda x: np.sum(ad.jvp(f, (x,), (np.ones(3),))[1])),
    "vjp": lambda f: lambda x: ad.vjp(lambda x: 3.0, x)[1](1.0),
    "jvp": lambda f: lambda x: ad.jvp(lambda x: 3.0, (x,), (x,)),
    "no argument": lambda f: lambda x: ad.grad(f, ())(x),
    "no element": lambda f: lambda x: ad.grad(lambda x: 3.0)(np.zeros(0)),
}


@pytest.mark.parametrize("f", CONNECTED.values(), ids=CONNECTED)
@pytest.mark.parametrize("derivative", SILENT.values(), ids=SILENT)
def test_a_derivative_that_is_zero_for_good_reasons_is_not_told_of(f, derivative):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        derivative(f)(X)


def test_a_function_that_is_constant_in_places_can_be_minimised():
    pytest.importorskip("scipy")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ad.IndependentWarning)
        for method in ("BFGS", "newton-cg"):
            found = ad.optimize.minimize(
                lambda x: np.sum((x - 3) ** 2) if x[0] < 2.5 else 0, np.zeros(2), method=method)
            assert found.fun == 0


@pytest.mark.parametrize("f", [
    np.argmax, lambda x: np.argmax(x) > 0, lambda x: np.int64(3), lambda x: True, lambda x: np.sum(x > 0),
    lambda x: np.searchsorted(x, 2.5), lambda x: np.count_nonzero(x)])
@pytest.mark.parametrize("derivative", [ad.grad, ad.value_and_grad, ad.hessian, ad.jacobian])
def test_integers_have_no_derivative(f, derivative):
    for function, x in ((derivative(f), X), (ad.compile(derivative(f)), X), (derivative(lambda d: f(d[0])), [X])):
        with pytest.raises(TypeError, match=r"ad\.\w+: the function returned (integers|truths)"):
            function(x)


# -- variables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["+=", "-=", "*=", "/=", "//=", "%=", "**="])
@pytest.mark.parametrize("by", [2.0, X - 1, ad.constant(X - 1), ad.Variable(3.0)], ids=str)
def test_a_variable_is_changed_in_place(how, by):
    names = {"w": ad.Variable(X), "x": X.copy(), "by": by, "plain": plain(by)}
    w = names["w"]
    exec(f"w {how} by; x {how} plain", names)
    assert names["w"] is w
    np.testing.assert_array_equal(w.numpy(), names["x"])


def test_descent_in_place():
    w = ad.Variable(2.0)
    for _ in range(2):
        with ad.GradientTape() as tape:
            loss = w * w
        w -= 0.1 * tape.gradient(loss, w)
    assert float(w.numpy()) == pytest.approx(1.28)


def test_a_matrix_is_multiplied_in_place():
    w = ad.Variable(A)
    w @= A
    np.testing.assert_array_equal(w, A @ A)


@pytest.mark.parametrize("change", ["w -= y", "w += y", "w *= 2", "w /= w", "w **= 2"])
def test_a_change_whose_derivative_would_be_lost_is_refused(change):
    w = ad.Variable(X)
    with ad.GradientTape():
        y = w * w
        with pytest.raises(TypeError, match="derivative of the change would be lost"):
            exec(change, {"w": w, "y": y})
        w -= 1.0
        w.assign_sub(y)
    np.testing.assert_array_equal(w, X - 1 - X**2)


@pytest.mark.parametrize("change", ["w -= x", "w *= 2", "w += 1"])
def test_a_recorded_function_changes_no_variable(change):
    w = ad.Variable(X)
    with pytest.raises(TypeError, match="ad: variable"):
        ad.compile(lambda x: exec(change, {"w": w, "x": x}))(1.0)


@pytest.mark.parametrize("value", [None, "1.5", [1.0, None, 2.0], b"1", [[1.0], ["2"]]], ids=str)
def test_what_is_no_number_is_not_assigned(value):
    w = ad.Variable(X)
    for call in (w.assign, lambda x: ad.Variable(x, dtype=float), lambda x: ad.constant(x, dtype=float)):
        with pytest.raises(TypeError, match="holds numbers"):
            call(value)
    np.testing.assert_array_equal(w, X)
    assert ad.constant([10**30], dtype=float).numpy() == [1e30]


class Named(ad.Variable):
    def __init__(self, value, label):
        super().__init__(value)
        self.label = label


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_of_the_same_class(copied):
    x = Named(X, {"k": 1})
    y = copied(x)
    assert type(y) is Named and y.label == x.label and y.name == x.name
    assert (y.label is x.label) == (copied is copy.copy)
    y.assign_add(1.0)
    np.testing.assert_array_equal(x, X)
    assert type(copied(ad.Variable(1.0))) is ad.Variable
