"""Transforms one at a time: arguments, structures, conventions and errors."""
from collections import namedtuple
from functools import partial

import numpy as np
import pytest

import ad

Point = namedtuple("Point", "x y")


def rosen(x):
    return ((x[1:] - x[:-1] ** 2) ** 2 * 100.0 + (1 - x[:-1]) ** 2).sum()


def rosen_gradient(x):
    g = np.zeros_like(x)
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    g[:-1] -= 400 * x[:-1] * (x[1:] - x[:-1] ** 2) + 2 * (1 - x[:-1])
    return g


def rosen_hessian(x):
    h = np.zeros((len(x), len(x)))
    i = np.arange(len(x) - 1)
    h[i, i] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    h[i + 1, i + 1] += 200
    h[i, i + 1] = h[i + 1, i] = -400 * x[:-1]
    return h


@pytest.fixture
def x():
    return np.random.default_rng(0).random(7)


# -- gradients -------------------------------------------------------------------------------


def test_grad(x):
    np.testing.assert_allclose(ad.grad(rosen)(x), rosen_gradient(x))


def test_value_and_grad(x):
    value, gradient = ad.value_and_grad(rosen)(x)
    assert type(value) is np.float64
    assert value == pytest.approx(rosen(x))
    np.testing.assert_allclose(gradient, rosen_gradient(x))


@pytest.mark.parametrize("argument", [3.0, np.float64(3), 3, np.int64(3), np.array(3.0), np.array(3)])
def test_numbers_give_float64(argument):
    gradient = ad.grad(lambda v: v ** 2)(argument)
    assert type(gradient) is np.float64
    assert gradient == 6


def test_common_and_general_way_agree(x):
    general = ad.grad(rosen, argnums=(0,))
    assert np.array_equal(ad.grad(rosen)(x), general(x)[0])
    np.testing.assert_array_equal(ad.value_and_grad(rosen)(x)[1], ad.value_and_grad(rosen, (0,))(x)[1][0])


@pytest.mark.parametrize("argnums, expected", [
    (0, 9.0), (1, 12.0), (2, 3.0), (-1, 3.0), ((0, 2), (9.0, 3.0)), ((2, 0), (3.0, 9.0)), ((1,), (12.0,)), ((), ()),
])
def test_argnums(argnums, expected):
    assert ad.grad(lambda a, b, c: a * b ** 2 + 3 * c, argnums)(2.0, 3.0, 5.0) == expected


def test_aux():
    def f(v):
        return (v * v).sum(), {"twice": 2 * v, "name": "f", "none": None}

    gradient, aux = ad.grad(f, has_aux=True)(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(gradient, [2, 4])
    np.testing.assert_array_equal(aux["twice"], [2, 4])
    assert type(aux["twice"]) is np.ndarray
    assert aux["name"] == "f"
    (value, aux), gradient = ad.value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]))
    assert value == 5
    assert aux["none"] is None
    np.testing.assert_array_equal(gradient, [2, 4])


def test_keyword_arguments_pass_through():
    assert ad.grad(lambda v, power, scale=1.0: scale * v ** power)(2.0, power=3, scale=10.0) == 120
    assert ad.jacobian(lambda v, k: v * k)(2.0, k=3.0) == 3
    assert ad.hessian(lambda v, k: v * v * k)(2.0, k=3.0) == 6
    assert ad.hvp(lambda v, k: v * v * k)(2.0, 10.0, k=3.0) == 60


def test_containers_come_back_in_their_structure():
    def f(p):
        return p["w"][0] * p["w"][1] + (p["b"].x * p["b"].y).sum()

    args = {"w": [2.0, 3.0], "b": Point(np.ones(2), np.array([4.0, 5.0])), "nothing": None}
    g = ad.grad(f)(args)
    assert list(g) == ["w", "b", "nothing"]
    assert g["w"] == [3, 2]
    assert isinstance(g["b"], Point)
    np.testing.assert_array_equal(g["b"].x, [4, 5])
    np.testing.assert_array_equal(g["b"].y, [1, 1])
    assert g["nothing"] is None


def test_function_may_change_its_containers():
    def f(values):
        values.append(values[0] * 2)
        values[0] = None
        return values[1] * values[2]

    args = [3.0, 4.0]
    assert ad.grad(f)(args) == [8, 6]
    assert args == [3.0, 4.0]


def test_name_and_documentation():
    g = ad.grad(rosen)
    assert g.__name__ == "grad(rosen)"
    assert g.__module__ == __name__
    assert g.__wrapped__ is rosen
    assert ad.hessian(np.sum).__doc__ == np.sum.__doc__
    assert ad.grad(partial(lambda k, v: k * v, 3.0))(1.0) == 3


def test_method_decorated():
    class Model:
        k = 3.0

        @ad.grad
        def slope(self, v):
            return self.k * v

    with pytest.raises(TypeError, match="argument 0 is a Model"):
        Model().slope(2.0)
    assert ad.grad(Model.slope.__wrapped__, 1)(Model(), 2.0) == 3


# -- results share memory with nothing ---------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda v: v.sum(), lambda v: (2 * v).sum(), lambda v: v[::-1].sum(), lambda v: (v + v).sum(), lambda v: 1.0,
    lambda v: (v * v).sum(),
])
def test_gradients_are_plain_writable_and_fresh(f, x):
    a, b = ad.grad(lambda u, v: f(u) + f(v), (0, 1))(x, x)
    single = ad.grad(f)(x)
    for result in (a, b, single):
        assert type(result) is np.ndarray
        assert result.flags.writeable
        result += 100
    assert not np.shares_memory(a, b)
    np.testing.assert_array_equal(x, np.random.default_rng(0).random(7))


def test_returned_input_is_not_shared(x):
    before = x.copy()
    y, pullback = ad.vjp(lambda v: v, x)
    y_bar = np.ones(7)
    (x_bar,) = pullback(y_bar)
    y2, y_dot = ad.jvp(lambda v: v, (x,), (y_bar,))
    y3, push = ad.linearize(lambda v: (v, v[1:], v), x)
    for result in (y, x_bar, y2, y_dot, *y3, *push(y_bar)):
        assert result.flags.writeable
        result *= 100
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y_bar, np.ones(7))
    np.testing.assert_array_equal(pullback(y_bar)[0], np.ones(7))


def test_arguments_may_change_between_call_and_pullback(x):
    given = x.copy()
    _, pullback = ad.vjp(lambda v: (v * v).sum(), given)
    _, push = ad.linearize(lambda v: (v * v).sum(), given)
    given[:] = 0
    np.testing.assert_allclose(pullback(1.0)[0], 2 * x)
    assert push(np.ones(7)) == pytest.approx(2 * x.sum())


def test_identity():
    np.testing.assert_array_equal(ad.jacobian(lambda v: v)(np.arange(3.0)), np.eye(3))
    assert ad.grad(lambda v: v)(2.0) == 1


# -- dtypes ----------------------------------------------------------------------------------


def test_float32_stays():
    v = np.arange(3, dtype=np.float32)
    for result in (
        ad.grad(lambda u: (u * u).sum())(v), ad.value_and_grad(lambda u: (u * u).sum())(v)[0],
        ad.jacobian(lambda u: u * u, mode="forward")(v), ad.jacobian(lambda u: u * u, mode="reverse")(v),
        ad.hessian(lambda u: (u * u).sum())(v), ad.jvp(lambda u: u * u, (v,), (np.ones(3),))[1],
        ad.vjp(lambda u: u * u, v)[1](np.ones(3))[0],
    ):
        assert result.dtype == np.float32


def test_integers_become_float64():
    gradient = ad.grad(lambda v: (v ** 2).sum())(np.arange(3))
    assert gradient.dtype == np.float64
    np.testing.assert_array_equal(gradient, [0, 2, 4])
    y, y_dot = ad.jvp(lambda v: v ** 2, (3,), (1,))
    assert (y, y_dot) == (9, 6)


def test_empty_and_zero_dimensional():
    assert ad.grad(lambda v: v.sum())(np.zeros(0)).shape == (0,)
    assert ad.hessian(lambda v: v.sum())(np.zeros((0, 2))).shape == (0, 2, 0, 2)
    for mode in ("forward", "reverse"):
        assert ad.jacobian(lambda v: v * 2, mode=mode)(np.zeros(0)).shape == (0, 0)
        assert ad.jacobian(lambda v: v * 2, mode=mode)(np.array(1.0)) == 2
        assert ad.jacobian(lambda v: v * np.ones((2, 1)), mode=mode)(np.ones(3)).shape == (2, 3, 3)


def test_complex_argument_of_a_real_function():
    z = np.array([1 + 2j, 3 - 1j])
    gradient = ad.grad(lambda v: (abs(v) ** 2).sum())(z)
    np.testing.assert_allclose(gradient, 2 * z)


def test_complex_output_refused():
    with pytest.raises(TypeError, match=r"ad.grad: the function returned a complex number.*abs\(\).*ad.vjp"):
        ad.grad(lambda v: v * v)(1 + 2j)


def test_analytic_jacobian():
    z = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_allclose(ad.jacobian(lambda v: v * v)(z), np.diag(2 * z))
    np.testing.assert_allclose(ad.jacobian(lambda v: v * 1j)(np.arange(2.0)), 1j * np.eye(2))
    with pytest.raises(TypeError, match="has no complex derivative"):
        ad.jacobian(abs)(z)
    with pytest.raises(TypeError, match="reverse mode is for real numbers"):
        ad.jacobian(lambda v: v * v, mode="reverse")(z)
    with pytest.raises(TypeError, match="ad.hessian: not for complex"):
        ad.hessian(lambda v: abs(v).sum())(z)


def test_constant_functions():
    assert ad.grad(lambda v: 3.0)(2.0) == 0
    assert ad.grad(lambda v: 3)(2.0) == 0
    np.testing.assert_array_equal(ad.grad(lambda v: np.float64(1))(np.ones(2)), [0, 0])
    np.testing.assert_array_equal(ad.jacobian(lambda v: np.ones(3))(np.ones(2)), np.zeros((3, 2)))
    np.testing.assert_array_equal(ad.jacobian(lambda v: np.ones(1))(np.ones(2)), np.zeros((1, 2)))
    np.testing.assert_array_equal(ad.hessian(lambda v: v.sum())(np.ones(2)), np.zeros((2, 2)))
    assert ad.hvp(lambda v: v)(3.0, 1.0) == 0
    assert ad.jvp(lambda v: 7, (3.0,), (1.0,)) == (7, 0)
    assert ad.vjp(lambda a, b: b, 1.0, 2.0)[1](5.0) == (0, 5)
    assert ad.grad(lambda v: ad.constant(3) + 0)(2.0) == 0


def test_unconnected_argument():
    ga, gb = ad.grad(lambda a, b: a.sum(), (0, 1))(np.ones(2), np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(gb, np.zeros((2, 2)))
    assert gb.dtype == np.float32
    np.testing.assert_array_equal(ga, [1, 1])


# -- values of ours as arguments ---------------------------------------------------------------


def test_arrays_in_arrays_out():
    gradient = ad.grad(lambda v: (v * v).sum())(ad.constant([1.0, 2.0]))
    assert isinstance(gradient, ad.constant(1.0).__class__)
    np.testing.assert_array_equal(gradient.numpy(), [2, 4])
    value, slope = ad.value_and_grad(lambda v: v * v)(ad.constant(3.0))
    assert (value.numpy(), slope.numpy()) == (9, 6)
    jacobian = ad.jacobian(lambda v: v * v)(ad.constant([1.0, 2.0]))
    np.testing.assert_array_equal(jacobian.numpy(), [[2, 0], [0, 4]])


def test_variables_are_read():
    v = ad.Variable([1.0, 2.0])
    np.testing.assert_array_equal(ad.grad(lambda u: (u * u).sum())(v).numpy(), [2, 4])
    np.testing.assert_array_equal(ad.hessian(lambda u: (u ** 3).sum())(v).numpy(), [[6, 0], [0, 12]])
    np.testing.assert_array_equal(ad.grad(lambda u: (u * v).sum())(np.ones(2)), [1, 2])
    v.assign([5.0, 5.0])
    np.testing.assert_array_equal(ad.grad(lambda u: (u * u).sum())(v).numpy(), [10, 10])


def test_duals_as_arguments():
    slope = ad.grad(lambda v: v ** 3)(ad.Dual(2.0, 1.0))
    assert isinstance(slope, ad.Dual)
    assert (slope.primal, slope.tangent) == (12, 12)


def test_result_is_plain_if_only_an_array_constant_is_used():
    k = ad.constant(3.0)
    assert type(ad.grad(lambda v: v * k)(2.0)) is np.float64


# -- vjp, jvp, linearize ---------------------------------------------------------------------------


def swirl(p, k):
    return {"a": p[0] * k, "b": (p[1].sum() * p[0], k * k)}


ARGS = ((2.0, np.array([1.0, 2.0])), 3.0)
DOTS = ((1.0, np.array([10.0, 20.0])), 100.0)


def test_jvp_and_linearize_of_containers():
    y, y_dot = ad.jvp(swirl, ARGS, DOTS)
    y2, push = ad.linearize(swirl, *ARGS)
    assert y == y2 == {"a": 6, "b": (6, 9)}
    assert y_dot == push(*DOTS) == {"a": 203, "b": (63, 600)}
    assert push(*DOTS) == y_dot


def test_vjp_of_containers():
    _, pullback = ad.vjp(swirl, *ARGS)
    for _ in range(2):
        (p0, p1), k = pullback({"a": 1.0, "b": (10.0, 100.0)})
        assert (p0, k) == (33, 602)
        np.testing.assert_array_equal(p1, [20, 20])


def test_aux_of_pairs():
    def f(v):
        return v * v, "aux"

    y, pullback, aux = ad.vjp(f, 3.0, has_aux=True)
    assert (y, pullback(1.0), aux) == (9, (6,), "aux")
    assert ad.jvp(f, (3.0,), (1.0,), has_aux=True) == (9, 6, "aux")
    y, push, aux = ad.linearize(f, 3.0, has_aux=True)
    assert (y, push(1.0), aux) == (9, 6, "aux")
    assert ad.jacobian(f, has_aux=True)(3.0) == (6, "aux")
    assert ad.hessian(f, has_aux=True)(3.0) == (2, "aux")
    assert ad.hvp(f, has_aux=True)(3.0, 5.0) == (10, "aux")


# -- jacobian, hvp, hessian ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["forward", "reverse", None])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_jacobian_shape_and_values(mode, shape):
    v = np.random.default_rng(1).random(shape)
    jacobian = ad.jacobian(lambda u: u ** 2 * np.ones((2, 1, 1)), mode=mode)(v)
    out = np.broadcast_shapes(shape, (2, 1, 1))
    assert jacobian.shape == out + shape
    for index in np.ndindex(*shape):
        dot = np.zeros(shape)
        dot[index] = 1
        np.testing.assert_allclose(jacobian[(..., *index)], np.broadcast_to(2 * v * dot, out))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_of_containers(mode):
    blocks = ad.jacobian(swirl, argnums=(0, 1), mode=mode)(*ARGS)
    (a_p0, a_p1), a_k = blocks["a"]
    (b_p0, b_p1), b_k = blocks["b"][0]
    assert (a_p0, a_k, b_p0, b_k) == (3, 2, 3, 0)
    np.testing.assert_array_equal(a_p1, [0, 0])
    np.testing.assert_array_equal(b_p1, [2, 2])
    assert blocks["b"][1][1] == 6


def test_jacobian_in_chunks(monkeypatch):
    v = np.random.default_rng(1).random(11)
    whole = ad.jacobian(lambda u: u[1:] * u[:-1], mode="forward")(v)
    monkeypatch.setattr("ad.transforms.jacobians.MAX_LANE_ELEMENTS", 33)
    np.testing.assert_array_equal(ad.jacobian(lambda u: u[1:] * u[:-1], mode="forward")(v), whole)
    np.testing.assert_array_equal(ad.jacobian(lambda u: u[1:] * u[:-1], mode="reverse")(v), whole)


def test_hessian(x):
    np.testing.assert_allclose(ad.hessian(rosen)(x), rosen_hessian(x))
    np.testing.assert_allclose(ad.jacobian(ad.grad(rosen), mode="reverse")(x), rosen_hessian(x))


def test_hessian_of_containers():
    def f(p, q):
        return p["a"] * (p["b"] * q).sum()

    h = ad.hessian(f, (0, 1))({"a": 2.0, "b": np.array([1.0, 3.0])}, np.array([5.0, 7.0]))
    assert h[0]["a"][0]["a"] == 0
    np.testing.assert_array_equal(h[0]["a"][0]["b"], [5, 7])
    np.testing.assert_array_equal(h[0]["b"][0]["a"], [5, 7])
    np.testing.assert_array_equal(h[0]["b"][1], 2 * np.eye(2))
    np.testing.assert_array_equal(h[1][0]["a"], [1, 3])
    assert ad.hessian(f)({"a": 2.0, "b": np.ones(2)}, np.ones(2))["b"]["b"].shape == (2, 2)


def test_hvp(x):
    v = np.arange(7.0)
    np.testing.assert_allclose(ad.hvp(rosen)(x, v), rosen_hessian(x) @ v)
    product = ad.hvp(lambda p: p["a"] * (p["b"] ** 2).sum())({"a": 2.0, "b": np.ones(2)}, {"b": np.ones(2), "a": 1.0})
    assert product["a"] == 4
    np.testing.assert_array_equal(product["b"], [6, 6])
    pair = ad.hvp(lambda a, k, b: a * b * k, (0, 2))(2.0, 10.0, 3.0, (1.0, 5.0))
    assert pair == (50, 10)


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, error, message", [
    (lambda: ad.grad(lambda v: v)(np.ones(3)), ValueError, r"ad.grad: .* shape \(3,\).*sum it, or use ad.jacobian"),
    (lambda: ad.grad(lambda v: v)(np.ones(1)), ValueError, r"shape \(1,\)"),
    (lambda: ad.value_and_grad(lambda v: v)(np.ones(3)), ValueError, "ad.value_and_grad"),
    (lambda: ad.hessian(lambda v: v)(np.ones(3)), ValueError, "ad.hessian"),
    (lambda: ad.grad(lambda v: (v, v))(1.0), TypeError, "ad.grad: the function returned a tuple"),
    (lambda: ad.grad(lambda v: (*v, *v))([1.0]), TypeError, r"ad.grad: the function returned \(\*, \*\).*has_aux"),
    (lambda: ad.grad(lambda v: None)(1.0), TypeError, "the function returned None"),
    (lambda: ad.grad(lambda v: "a")(1.0), TypeError, "returned a str"),
    (lambda: ad.grad(lambda v: v)(True), TypeError, "argument 0 is a bool"),
    (lambda: ad.grad(lambda v: v)("a"), TypeError, "argument 0 is a str"),
    (lambda: ad.grad(lambda v: v)(np.array([True])), TypeError, "argument 0 is an array of dtype bool"),
    (lambda: ad.grad(lambda v: v)(np.array([None])), TypeError, "dtype object"),
    (lambda: ad.grad(lambda v: v, 1)(1.0, {"a": [1.0, "b"]}), TypeError, r"argument 1\['a'\]\[1\] is a str"),
    (lambda: ad.grad(lambda v: v, 2)(1.0), TypeError, "no positional argument 2 .* 1 positional and 0 keyword"),
    (lambda: ad.grad(lambda v: v)(v=1.0), TypeError, "no positional argument 0 .* 0 positional and 1 keyword"),
    (lambda: ad.grad(lambda v: v, "v")(1.0), TypeError, "argnums is an int or a tuple of ints, not 'v'"),
    (lambda: ad.grad(lambda v: v, (0, -1))(1.0), ValueError, r"argnums=\(0, -1\) names an argument twice"),
    (lambda: ad.grad(1.0), TypeError, r"ad.grad takes a function, not a float.*ad.grad\(f\)\(x\)"),
    (lambda: ad.grad(lambda v: v, has_aux=True)(1.0), TypeError, "has_aux=True the function must return a pair"),
    (lambda: ad.jacobian(lambda v: "a")(1.0), TypeError, "returned a str; it must return arrays or numbers"),
    (lambda: ad.jacobian(lambda v: v, mode="sideways"), ValueError, "mode is .* not 'sideways'"),
    (lambda: ad.jvp(lambda v: v, 1.0, (1.0,)), TypeError, "primals is a tuple"),
    (lambda: ad.jvp(lambda v: v, (1.0,), 1.0), TypeError, "tangents is a tuple"),
    (lambda: ad.jvp(lambda v: v, (1.0,), (1.0, 2.0)), TypeError, "tangents has 2 parts for 1 arguments"),
    (lambda: ad.jvp(lambda v: v, (1.0,), (np.ones(2),)), ValueError, r"tangents has shape \(2,\) where .* \(\)"),
    (lambda: ad.jvp(lambda v: v, (1.0,), (1j,)), TypeError, "tangents is complex"),
    (lambda: ad.jvp(lambda v: v, (1.0,), ("a",)), TypeError, "tangents has a str"),
    (lambda: ad.vjp(lambda v: v, np.ones(2))[1](1.0), ValueError, r"the cotangent has shape \(\) where .* \(2,\)"),
    (lambda: ad.vjp(lambda v: (v, v), 1.0)[1](1.0), TypeError, r"the cotangent is a float where \(\*, \*\)"),
    (lambda: ad.linearize(lambda v: v, 1.0)[1](1.0, 2.0), TypeError, "tangents has 2 parts for 1 arguments"),
    (lambda: ad.hvp(lambda v: v)(1.0), TypeError, "after them, the vector"),
    (lambda: ad.hvp(lambda v: v)(1.0, np.ones(2)), ValueError, r"the vector has shape \(2,\)"),
])
def test_errors_name_what_was_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert ad.grad(lambda v: v * v)(3.0) == 6


@pytest.mark.parametrize("call", [
    lambda f, x: ad.vjp(f, x)[0], lambda f, x: ad.jvp(f, (x,), (x,)), lambda f, x: ad.linearize(f, x)[0],
    lambda f, x: ad.grad(lambda x: (np.sum(x), f(x)), has_aux=True)(x), lambda f, x: ad.compile(f)(x),
    lambda f, x: ad.vmap(f)(np.stack([x, x])), lambda f, x: ad.compile(ad.vmap(f))(np.stack([x, x]))])
@pytest.mark.parametrize("n", [3, 3000])
def test_results_share_no_memory_with_arrays_that_the_function_keeps(call, n):
    kept = [ad.constant(np.zeros(n))]

    def f(x):
        y = x * 2
        kept.append(y)
        return y, kept[0]

    for found in ad.trees.flatten(call(f, np.ones(n)))[0]:
        found[...] = -1.0
    for y in kept:
        assert not np.any(y.numpy() == -1.0)


def test_deep_chain():
    def f(v):
        for _ in range(100_000):
            v = v * 1.00001
        return v

    assert ad.grad(f)(1.0) == pytest.approx(1.00001 ** 100_000)
    assert ad.jvp(f, (1.0,), (1.0,))[1] == pytest.approx(1.00001 ** 100_000)
