"""Rules of algebra: the ops that each leaves of an expression, and equal results, on special values too."""
import numpy as np
import pytest
from programs import Builder, assert_same_results, names, total, values_of

from ad.compiler.passes import pipeline
from ad.ops import TABLE

pytestmark = pytest.mark.usefixtures("measured")

# -- expressions ----------------------------------------------------------------------------------------

SPECIAL = np.array([0.0, -0.0, 1.0, -2.5, 0.3, np.inf, -np.inf, np.nan])
LEFT, RIGHT = np.repeat(SPECIAL, len(SPECIAL)), np.tile(SPECIAL, len(SPECIAL))
N = len(LEFT)
HALF = slice(None, N // 2)

# What is written -> the ops that are left of it, for real inputs.
REWRITES = {
    "x + -y": (lambda b, x, y: b.add(x, b.negative(y)), "subtract"),
    "-x + y": (lambda b, x, y: b.add(b.negative(x), y), "subtract"),
    "x - -y": (lambda b, x, y: b.subtract(x, b.negative(y)), "add"),
    "x + -0.0": (lambda b, x, y: b.add(x, -0.0), ""),
    "-0.0 + x": (lambda b, x, y: b.add(-0.0, x), ""),
    "x + 0.0": (lambda b, x, y: b.add(x, 0.0), "add"),
    "x - 0": (lambda b, x, y: b.subtract(x, 0), ""),
    "x - -0.0": (lambda b, x, y: b.subtract(x, -0.0), "subtract"),
    "x + x": (lambda b, x, y: b.add(x, x), "multiply"),
    "x * 2 + y * 2": (lambda b, x, y: b.add(b.multiply(x, 2.0), b.multiply(2, y)), "add multiply"),
    "x * 2 - y * -2": (lambda b, x, y: b.subtract(b.multiply(x, 2.0), b.multiply(y, -2.0)), "add multiply"),
    "x * 3 + y * 3": (lambda b, x, y: b.add(b.multiply(x, 3.0), b.multiply(y, 3.0)), "multiply multiply add"),
    "x * 1": (lambda b, x, y: b.multiply(x, 1.0), ""),
    "1 * x": (lambda b, x, y: b.multiply(1, x), ""),
    "x * -1": (lambda b, x, y: b.multiply(x, -1.0), "negative"),
    "x * 0": (lambda b, x, y: b.multiply(x, 0.0), "multiply"),
    "x * 3 * 2": (lambda b, x, y: b.multiply(b.multiply(x, 3.0), 2.0), "multiply"),
    "2 * (3 * x)": (lambda b, x, y: b.multiply(2.0, b.multiply(3, x)), "multiply"),
    "-x * 2": (lambda b, x, y: b.multiply(b.negative(x), 2.0), "multiply"),
    "(3 / x) * 2": (lambda b, x, y: b.multiply(b.divide(3.0, x), 2.0), "divide"),
    "(x / 3) * 2": (lambda b, x, y: b.multiply(b.divide(x, 3.0), 2.0), "multiply"),
    "x * inf * 0": (lambda b, x, y: b.multiply(b.multiply(x, np.inf), 0.0), "multiply multiply"),
    "-x * -y": (lambda b, x, y: b.multiply(b.negative(x), b.negative(y)), "multiply"),
    "x * 3 * y * 2": (lambda b, x, y: b.multiply(b.multiply(b.multiply(x, 3.0), y), 2.0), "multiply multiply"),
    "x - (-x * y)": (lambda b, x, y: b.subtract(x, b.multiply(b.negative(x), y)), "multiply add"),
    "x * x": (lambda b, x, y: b.multiply(x, x), "square"),
    "x * (1 / y)": (lambda b, x, y: b.multiply(x, b.divide(1.0, y)), "divide"),
    "reciprocal(x) * y": (lambda b, x, y: b.multiply(b.reciprocal(x), y), "divide"),
    "scale(x, 1)": (lambda b, x, y: b.scale(x, 1.0), ""),
    "scale(x, 3)": (lambda b, x, y: b.scale(x, 3.0), "multiply"),
    "scale(3, x)": (lambda b, x, y: b.scale(3.0, x), "multiply"),
    "scale(x, 0)": (lambda b, x, y: b.scale(x, 0.0), "scale"),
    "scale(0, x)": (lambda b, x, y: b.scale(0.0, x), "scale"),
    "scale(x, inf)": (lambda b, x, y: b.scale(x, np.inf), "scale"),
    "scale(x, nan)": (lambda b, x, y: b.scale(x, np.nan), "scale"),
    "scale(nan, x)": (lambda b, x, y: b.scale(np.nan, x), "scale"),
    "scale(-x, y * 2)": (lambda b, x, y: b.scale(b.negative(x), b.multiply(y, 2.0)), "scale multiply"),
    "scale_dots(x, 1)": (lambda b, x, y: b.scale_dots(x, 1.0), ""),
    "scale_dots(3, x)": (lambda b, x, y: b.scale_dots(3.0, x), "multiply"),
    "scale_dots(x, 0)": (lambda b, x, y: b.scale_dots(x, 0.0), "scale_dots"),
    "scale_dots(nan, x)": (lambda b, x, y: b.scale_dots(np.nan, x), "scale_dots"),
    "scale_dots(-x, y * 2)": (lambda b, x, y: b.scale_dots(b.negative(x), b.multiply(y, 2.0)), "scale_dots multiply"),
    "x / 1": (lambda b, x, y: b.divide(x, 1.0), ""),
    "x / 4": (lambda b, x, y: b.divide(x, 4.0), "multiply"),
    "x / 3": (lambda b, x, y: b.divide(x, 3.0), "divide"),
    "x / 0": (lambda b, x, y: b.divide(x, 0.0), "divide"),
    "x * 6 / 3": (lambda b, x, y: b.divide(b.multiply(x, 6.0), 3.0), "multiply"),
    "-x / 3": (lambda b, x, y: b.divide(b.negative(x), 3.0), "divide"),
    "6 / (x * 3)": (lambda b, x, y: b.divide(6.0, b.multiply(x, 3.0)), "divide"),
    "-x / -y": (lambda b, x, y: b.divide(b.negative(x), b.negative(y)), "divide"),
    "-(x * 2)": (lambda b, x, y: b.negative(b.multiply(x, 2.0)), "multiply"),
    "-(1 / x)": (lambda b, x, y: b.negative(b.divide(1.0, x)), "divide"),
    "-(x - y)": (lambda b, x, y: b.negative(b.subtract(x, y)), "subtract negative"),
    "x * -2 - y * -2": (lambda b, x, y: b.subtract(b.multiply(x, -2.0), b.multiply(-2.0, y)), "subtract multiply"),
    "x * -2 + y * 2": (lambda b, x, y: b.add(b.multiply(x, -2.0), b.multiply(2, y)), "subtract multiply"),
    "-(-x)": (lambda b, x, y: b.negative(b.negative(x)), ""),
    "square(-x)": (lambda b, x, y: b.square(b.negative(x)), "square"),
    "abs(-x)": (lambda b, x, y: b.absolute(b.negative(x)), "absolute"),
    "x ** 0": (lambda b, x, y: b.power(x, 0), "broadcast_to"),
    "x ** 1": (lambda b, x, y: b.power(x, 1.0), ""),
    "x ** 2": (lambda b, x, y: b.power(x, 2), "square"),
    "x ** 3": (lambda b, x, y: b.power(x, 3), "square multiply"),
    "x ** 0.5": (lambda b, x, y: b.power(b.absolute(x), 0.5), "absolute sqrt"),
    "x ** -1": (lambda b, x, y: b.power(x, -1.0), "divide"),
    "x ** 1.5": (lambda b, x, y: b.power(x, 1.5), "power"),
    "identity": (lambda b, x, y: b.identity(b.positive(x)), ""),
    "conjugate": (lambda b, x, y: b.conjugate(x), ""),
    "real": (lambda b, x, y: b.real(x), ""),
    "astype what it is": (lambda b, x, y: b.astype(x, params=(x.dtype,)), ""),
    "astype another": (lambda b, x, y: b.astype(x, params=(np.dtype(np.float16),)), "astype"),
    "reshape to its shape": (lambda b, x, y: b.reshape(x, params=((N,), "F")), ""),
    "reshape twice": (lambda b, x, y: b.reshape(b.reshape(x, params=((8, -1),)), params=((4, -1), "C")), "reshape"),
    "reshape by columns": (lambda b, x, y: b.reshape(b.reshape(x, params=((8, -1), "F")), params=((N,),)),
                           "reshape reshape"),
    "broadcast_to its shape": (lambda b, x, y: b.broadcast_to(x, params=((N,),)), ""),
    "sum_to its shape": (lambda b, x, y: b.sum_to(x, params=((N,),)), ""),
    "transpose twice": (lambda b, x, y: b.transpose(b.transpose(grid(b, x), params=((2, 0, 1),)), params=((1, 2, 0),)),
                        "reshape"),
    "transpose again": (lambda b, x, y: b.transpose(b.transpose(grid(b, x), params=(None,)), params=((-1, 0, 1),)),
                        "reshape transpose"),
    "transpose a vector": (lambda b, x, y: b.transpose(x, params=(None,)), ""),
    "x[:]": (lambda b, x, y: b.getitem(x, params=((slice(0, None), ...),)), ""),
    "x[::-1]": (lambda b, x, y: b.getitem(x, params=(slice(None, None, -1),)), "getitem"),
    "put everywhere": (lambda b, x, y: b.put_zeros(x, params=(..., (N,))), ""),
    "take what was put": (lambda b, x, y: b.getitem(b.put_zeros(x, params=(slice(1, N + 1), (N + 2,))),
                                                    params=(slice(1, N + 1),)), ""),
    "take where repeats were put": (lambda b, x, y: b.getitem(b.put_zeros(x, params=(np.arange(N) // 2, (N,))),
                                                              params=(np.arange(N) // 2,)), "put_zeros getitem"),
    "put twice in one place": (lambda b, x, y: b.add(put(b, x), put(b, y)), "add put_zeros"),
    "put twice, a third between": (lambda b, x, y: b.add(b.add(put(b, x), b.concatenate(x, y, params=(0, None))),
                                                         put(b, y)), "concatenate add put_zeros add"),
    "put in two places": (lambda b, x, y: b.add(put(b, x), b.put_zeros(y, params=(slice(N, None), (2 * N,)))),
                          "put_zeros put_zeros add"),
    "where all": (lambda b, x, y: b.where(np.ones(N, bool), x, y), ""),
    "where none": (lambda b, x, y: b.where(np.zeros(N, bool), x, y), ""),
    "where the same": (lambda b, x, y: b.where(LEFT > 0, x, x), ""),
    "where some": (lambda b, x, y: b.where(LEFT > 0, x, y), "where"),
}
# Of zeros that two terms cancel to, and of those of `scale` and sums, the sign is not kept.
UNSIGNED = {name for name in REWRITES if "scale" in name} | {
    "sum_to its shape",
}


def grid(b, x):
    return b.reshape(x, params=((2, 4, -1), "C"))


def put(b, x):
    return b.put_zeros(x, params=(slice(None, N), (2 * N,)))


def check_rewrite(build, dtype, same_zeros=True):
    b = Builder()
    inputs = [LEFT.astype(dtype), RIGHT.astype(dtype)]
    x, y = (b.input(value) for value in inputs)
    graph = b.graph(build(b, x, y))
    found = pipeline.dead_code(pipeline.algebra(graph))
    eps = np.finfo(dtype).eps if np.dtype(dtype).kind in "fc" else 0
    (y,), (expected,) = values_of(found, inputs), values_of(graph, inputs)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(y, expected, rtol=2 * eps)
    if same_zeros and y.dtype.kind == "f":
        real = ~np.isnan(y)
        np.testing.assert_array_equal(np.signbit(y[real]), np.signbit(expected[real]))
    return found


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_algebra(name, dtype):
    build, expected = REWRITES[name]
    found = check_rewrite(build, dtype, name not in UNSIGNED)
    assert names(found) == expected.split()
    assert pipeline.dead_code(pipeline.algebra(found)) is found


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64, np.int64, np.uint8, bool, np.float16])
def test_algebra_of_other_dtypes(name, dtype):
    try:
        check_rewrite(REWRITES[name][0], dtype, name not in UNSIGNED)
    except (TypeError, ValueError) as error:
        assert "numpy" in str(error) or "ufunc" in str(error) or "Integers" in str(error)  # NumPy has no such op


# -- algebra of what is broadcast ---------------------------------------------------------------------

SPREAD = {
    "beside the whole": (lambda b, x, s: b.multiply(x, b.broadcast_to(s, params=((4, 3),))), "multiply"),
    "both": (lambda b, x, s: b.sin(b.add(b.broadcast_to(s, params=((4, 3),)), 2.0)), "add sin broadcast_to"),
    "rows": (lambda b, x, s: b.multiply(x, b.broadcast_to(b.reshape(total(b, x, 0), params=((1, 3),)),
                                                          params=((4, 3),))), "sum multiply"),
    "columns": (lambda b, x, s: b.exp(b.broadcast_to(b.reshape(total(b, x, 1), params=((4, 1),)), params=((4, 3),))),
                "sum reshape exp broadcast_to"),
    "rows and columns": (lambda b, x, s: b.add(
        b.broadcast_to(total(b, x, 0), params=((4, 3),)),
        b.broadcast_to(b.reshape(total(b, x, 1), params=((4, 1),)), params=((4, 3),)),
    ), "sum broadcast_to sum reshape broadcast_to add"),
    "twice": (lambda b, x, s: b.broadcast_to(b.broadcast_to(total(b, x, 0), params=((4, 3),)), params=((2, 4, 3),)),
              "sum broadcast_to"),
    "one in two axes": (lambda b, x, s: b.broadcast_to(b.reshape(s, params=((1, 1),)), params=((4, 3),)),
                        "broadcast_to"),
    "a constant of equal elements": (lambda b, x, s: b.multiply(b.multiply(x, np.full((4, 1), 2.0)), 3.0), "multiply"),
    "a constant of unequal ones": (lambda b, x, s: b.multiply(x, np.array([0.0, -0.0, 0.0])), "multiply"),
    "a float32 by a number": (lambda b, x, s: b.multiply(b.astype(x, params=(np.dtype("f4"),)), b.broadcast_to(
        2.0, params=((4, 3),))), "astype multiply"),
    "reshaped": (lambda b, x, s: b.reshape(b.broadcast_to(s, params=((4, 3),)), params=((12,),)), "broadcast_to"),
    "taken": (lambda b, x, s: b.getitem(b.broadcast_to(s, params=((4, 3),)), params=((1, slice(1, None)),)),
              "broadcast_to"),
    "taken, one": (lambda b, x, s: b.getitem(b.broadcast_to(s, params=((4, 3),)), params=((1, 2),)), ""),
    "transposed": (lambda b, x, s: b.transpose(b.broadcast_to(s, params=((4, 3),)), params=(None,)), "broadcast_to"),
    "cast": (lambda b, x, s: b.astype(b.broadcast_to(s, params=((4, 3),)), params=(np.dtype("f4"),)),
             "astype broadcast_to"),
    "summed": (lambda b, x, s: total(b, b.broadcast_to(s, params=((4, 3),)), None), "multiply"),
    "summed along": (lambda b, x, s: total(b, b.broadcast_to(s, params=((4, 3),)), 1), "multiply broadcast_to"),
    "summed, none": (lambda b, x, s: total(b, b.broadcast_to(s, params=((4, 0),)), 1), "broadcast_to sum"),
    "summed back": (lambda b, x, s: b.sum_to(b.broadcast_to(total(b, x, 0), params=((4, 3),)), params=((3,),)),
                    "sum multiply"),
    "number summed": (lambda b, x, s: total(b, b.broadcast_to(0.5, params=((4, 3),)), None), ""),
    "sum to a scalar": (lambda b, x, s: b.sum_to(x, params=((),)), "sum"),
    "sum to, twice": (lambda b, x, s: b.sum_to(b.sum_to(x, params=((3,),)), params=((1,),)), "sum_to"),
    "sum of a product": (lambda b, x, s: b.subtract(s, total(b, b.multiply(x, 3.0), None)), "sum multiply subtract"),
    "sum to of negatives": (lambda b, x, s: b.sum_to(b.negative(x), params=((4, 1),)), "sum_to negative"),
    "sum of one": (lambda b, x, s: total(b, b.reshape(x, params=((1, 12),)), 0), "reshape"),
    "scalar beside scalar": (lambda b, x, s: b.multiply(b.multiply(x, s), 3.0), "multiply multiply"),
}


@pytest.mark.parametrize("name", SPREAD)
def test_algebra_of_broadcasting(name, rng):
    build, expected = SPREAD[name]
    b, inputs = Builder(), [rng.normal(size=(4, 3)), rng.normal()]
    graph = b.graph(build(b, b.input(inputs[0]), b.input(inputs[1])))
    found = pipeline.dead_code(pipeline.algebra(graph))
    assert sorted(names(found)) == sorted(expected.split())
    assert_same_results(graph, found, inputs, 4e-16)


@pytest.mark.parametrize("name, shapes, rows, expected", [
    ("matrices", [(4, 3), (3, 5)], (1, 5), "sum_to matmul"),
    ("many", [(2, 4, 3), (2, 3, 5)], (2, 1, 5), "sum_to matmul"),
    ("many by one", [(2, 4, 3), (3, 5)], (2, 1, 5), "sum_to matmul"),
    ("one by many", [(4, 3), (2, 3, 5)], (2, 1, 5), "matmul sum_to"),
    ("many, all together", [(2, 4, 3), (2, 3, 5)], (1, 1, 5), "matmul sum_to"),
    ("columns", [(4, 3), (3, 5)], (4, 1), "matmul sum_to"),
    ("elements of a vector", [(4, 3), (3,)], (1,), "matmul sum_to"),
    ("a row times many", [(3,), (2, 3, 5)], (1, 5), "matmul sum_to"),
])
def test_rows_of_a_product_are_summed_before(name, shapes, rows, expected, rng):
    b, inputs = Builder(), [rng.normal(size=shape) for shape in shapes]
    graph = b.graph(b.sum_to(b.matmul(*map(b.input, inputs)), params=(rows,)))
    found = pipeline.dead_code(pipeline.algebra(graph))
    assert names(found) == expected.split()
    assert_same_results(graph, found, inputs, 1e-14)


def test_the_sum_of_no_rows_is_zero_whatever_they_would_be_multiplied_with():
    b = Builder()
    product = b.matmul(b.input(np.zeros((0, 3))), b.input(np.full((3, 5), np.inf)))
    graph = b.graph(b.sum_to(product, params=((1, 5),)))
    (found,) = values_of(pipeline.simplify(graph), [b.values[slot] for slot in graph.inputs])
    np.testing.assert_array_equal(found, np.zeros((1, 5)))


def test_a_product_that_is_read_elsewhere_is_summed_itself(rng):
    b, inputs = Builder(), [rng.normal(size=(4, 3)), rng.normal(size=(3, 5))]
    product = b.matmul(*map(b.input, inputs))
    graph = b.graph(product, b.sum_to(product, params=((1, 5),)))
    assert pipeline.algebra(graph) is graph


def test_numbers_alone_keep_the_dtype():
    b = Builder()
    quarter, x = b.constant(np.float32(0.25)), b.input(np.zeros(2))
    spread = b.sign(b.broadcast_to(quarter, params=((64,),)))
    graph = b.graph(b.divide(2, b.divide(quarter, spread)), x)
    assert_same_results(graph, pipeline.simplify(graph), [np.zeros(2)])


def test_numbers_go_to_the_scalar():
    b, inputs = Builder(), [np.arange(3.0), np.float64(2.0)]
    x, s = map(b.input, inputs)
    found = pipeline.dead_code(pipeline.algebra(b.graph(b.multiply(b.multiply(x, s), 3.0))))
    assert [found.avals[instruction.outputs[0]].shape for instruction in found.instructions] == [(), (3,)]


def test_a_function_of_the_users_may_be_called_as_an_op_is():
    """Rules tell ops apart by identity, not by name."""
    from ad.engine.graph import Op

    b = Builder()
    x = b.input(1.5)
    graph = b.graph(b.run(Op("identity", "custom", lambda x: x + 1), (x,)))
    assert pipeline.algebra(graph) is graph


@pytest.mark.parametrize("op", ["multiply", "scale", "scale_dots"])
@pytest.mark.parametrize("order", [1, -1])
def test_numbers_go_to_the_smaller_factor(op, order):
    b = Builder()
    values = [np.arange(12.0).reshape(3, 4), np.arange(1.0, 4.0).reshape(3, 1)]
    factors = [b.input(x) for x in values]
    graph = b.graph(b.multiply(b.run(TABLE[op].op, factors[::order]), 0.1))
    found = pipeline.dead_code(pipeline.algebra(graph))
    assert names(found) == ["multiply", op]
    assert found.avals[found.instructions[0].outputs[0]].shape == (3, 1)
    assert_same_results(graph, found, values, 1e-15)
