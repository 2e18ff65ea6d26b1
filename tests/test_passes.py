"""Passes: each alone on programs made for it, all together on random ones and on a gradient."""
import numpy as np
import pytest
from programs import Builder, assert_same_results, names, values_of

from ad.compiler.passes import pipeline
from ad.ops import TABLE

pytestmark = pytest.mark.usefixtures("measured")

# -- dead code, common subexpressions, constants, numbering -------------------------------------------


def test_dead_code():
    b = Builder()
    x, y = b.input(1.0), b.input(2.0)
    kept = b.sin(x)
    b.multiply(b.exp(y), 3.0)
    program = pipeline.dead_code(b.graph(kept))
    assert names(program) == ["sin"]
    assert program.constants == {}
    assert program.inputs == (0, 1)
    assert pipeline.dead_code(program) is program


def test_one_output_of_several_keeps_the_instruction():
    b = Builder()
    w, _ = b.eigh_parts(b.input(np.eye(2)), params=("L",))
    assert names(pipeline.dead_code(b.graph(w))) == ["eigh_parts"]


def test_common_subexpressions():
    b = Builder()
    x, y = b.input(np.arange(3.0)), b.input(np.ones(3))
    first = b.multiply(b.sin(b.add(x, y)), 2.0)
    second = b.multiply(b.sin(b.add(y, x)), 2.0)
    program = b.graph(first, b.subtract(first, second), second)
    found = pipeline.common_subexpressions(program)
    assert names(found) == ["add", "sin", "multiply", "subtract"]
    assert found.outputs[0] == found.outputs[2]
    assert_same_results(program, found, [np.arange(3.0), np.ones(3)])
    assert pipeline.common_subexpressions(pipeline.dead_code(found)) is not None


@pytest.mark.parametrize(("a", "b", "merged"), [
    (slice(1, None), slice(1, None), True), (slice(1, None), slice(1, None, 2), False), (1, True, False),
    (np.array([0, 2]), np.array([0, 2]), True), (np.array([0, 2]), np.array([2, 0]), False),
    ((slice(None), None), (slice(None), None), True), (np.array([1, 0]), np.array([True, False, False]), False),
], ids=str)
def test_common_subexpressions_compare_params_by_value_and_type(a, b, merged):
    builder = Builder()
    x = builder.input(np.arange(3.0))
    program = builder.graph(builder.getitem(x, params=(a,)), builder.getitem(x, params=(b,)))
    found = pipeline.common_subexpressions(program)
    assert len(found.instructions) == 2 - merged
    assert_same_results(program, found, [np.arange(3.0)])


@pytest.mark.parametrize(("a", "b", "merged"), [
    (2.0, 2.0, True), (0.0, -0.0, False), (2.0, 2, False), (1, True, False), (np.nan, np.nan, True),
    (2.0, np.array(2.0), False), (np.ones(3), np.ones(3), True), (np.ones(3), np.ones(3, np.float32), False),
    (np.zeros(300), np.zeros(300), False), (np.float64(2.0), np.float64(2.0), True), (np.float64(2.0), 2.0, False),
], ids=str)
def test_equal_constants_become_one(a, b, merged):
    builder = Builder()
    x = builder.input(np.float32(1.5))
    found = pipeline.common_subexpressions(builder.graph(builder.add(x, a), builder.add(x, b)))
    assert len(found.instructions) == 2 - merged


def test_one_large_constant_in_two_slots_becomes_one():
    b, big = Builder(), np.zeros(300)
    x = b.input(1.0)
    assert names(pipeline.common_subexpressions(b.graph(b.add(x, big), b.add(x, big)))) == ["add"]


def test_constants():
    b = Builder()
    x = b.input(np.ones(3))
    c = b.sum(b.multiply(np.arange(3.0), 2.0), params=(None, False))
    program = b.graph(b.multiply(x, c), c)
    found = pipeline.constants(program)
    assert names(found) == ["multiply"]
    assert found.constants[found.outputs[1]] == 6.0
    assert_same_results(program, found, [np.ones(3)])
    assert pipeline.constants(found) is found


def test_constants_stay_small():
    b = Builder()
    row, column = np.arange(100.0), np.arange(100.0)[:, None]
    assert names(pipeline.constants(b.graph(b.add(row, column)))) == ["add"]
    b = Builder()
    assert names(pipeline.constants(b.graph(b.sin(np.arange(5000.0))))) == []


def test_a_folded_constant_is_no_view_of_another_and_cannot_be_written():
    b, captured = Builder(), np.arange(4.0)
    program = pipeline.constants(b.graph(b.getitem(captured, params=(slice(1, None),))))
    (y,) = values_of(program, [])
    assert not np.shares_memory(y, captured)
    with pytest.raises(ValueError):
        y[0] = 7


def test_what_fails_on_constants_fails_when_it_runs():
    b, impossible = Builder(), -np.eye(2)
    x = b.constant(np.eye(2))
    program = b.graph(b.cholesky_lower(x))
    program = type(program)(program.inputs, program.outputs, program.instructions, {x.slot: impossible}, program.avals)
    found = pipeline.simplify(program)
    with pytest.raises(np.linalg.LinAlgError):
        values_of(found, [])


def test_a_folded_number_is_strong_in_promotion():
    b = Builder()
    x = b.input(np.ones(2, np.float32))
    program = b.graph(b.multiply(x, b.identity(2.0)))
    assert values_of(pipeline.simplify(program), [np.ones(2, np.float32)])[0].dtype == np.float64


def test_renumber():
    b = Builder()
    x = b.input(1.0)
    b.cos(x)
    program = pipeline.renumber(pipeline.dead_code(b.graph(b.add(b.sin(x), 2.0), x)))
    assert (program.inputs, list(program.constants), program.outputs) == ((0,), [1], (3, 0))
    assert len(program.avals) == 4
    assert pipeline.renumber(program) is program


def sum_of_outer_products(terms, n=20, m=30, dtype=float):
    """A program, and values for it, that adds u v^T for several u and v to a matrix."""
    rng, b = np.random.default_rng(1), Builder()
    values = [rng.standard_normal((n, m)).astype(dtype)]
    total = b.input(values[0])
    for i in range(terms):
        u, v = rng.standard_normal(n).astype(dtype), rng.standard_normal((m,) if i % 2 else (1, m)).astype(dtype)
        values += u, v
        factors = b.reshape(b.input(u), params=((n, 1), "C")), b.input(v)
        total = b.add(*(total, b.multiply(*factors))[:: 1 if i % 3 else -1])
    return b, total, values


@pytest.mark.parametrize("dtype", [float, np.float32, complex])
def test_sums_of_outer_products_are_one_product_of_matrices(dtype):
    b, total, values = sum_of_outer_products(6, dtype=dtype)
    program = b.graph(total)
    found = pipeline.dead_code(pipeline.outer_products(program))
    assert names(found).count("matmul") == 1
    assert "multiply" not in names(found)
    assert_same_results(program, found, values, 10 * np.finfo(dtype).eps)
    assert pipeline.outer_products(found) is found


def test_outer_products_without_another_term():
    b = Builder()
    values = list(np.random.default_rng(2).standard_normal((8, 16)))
    slots = [b.input(x) for x in values]
    parts = [b.multiply(b.reshape(u, params=((16, 1), "C")), v) for u, v in zip(slots[::2], slots[1::2])]
    program = b.graph(b.add(b.add(parts[0], parts[1]), b.add(parts[2], parts[3])))
    found = pipeline.dead_code(pipeline.outer_products(program))
    assert names(found)[-1] == "matmul"
    assert "add" not in names(found)
    assert_same_results(program, found, values, 1e-14)


def test_outer_products_stay_where_they_are_few_small_or_wanted_themselves():
    few, total, _ = sum_of_outer_products(3)
    small, small_total, _ = sum_of_outer_products(6, n=3, m=3)
    assert all(pipeline.outer_products(program) is program
               for program in (few.graph(total), small.graph(small_total)))
    wanted, total, values = sum_of_outer_products(4)
    program = wanted.graph(total, wanted.add(total, total))
    assert_same_results(program, pipeline.outer_products(program), values, 1e-14)


@pytest.mark.parametrize("op", ["multiply", "scale", "scale_dots"])
@pytest.mark.parametrize("order", [1, -1])
def test_numbers_go_to_the_smaller_factor(op, order):
    b = Builder()
    values = [np.arange(12.0).reshape(3, 4), np.arange(1.0, 4.0).reshape(3, 1)]
    factors = [b.input(x) for x in values]
    program = b.graph(b.multiply(b.run(TABLE[op].op, factors[::order]), 0.1))
    found = pipeline.dead_code(pipeline.algebra(program))
    assert names(found) == ["multiply", op]
    assert found.avals[found.instructions[0].outputs[0]].shape == (3, 1)
    assert_same_results(program, found, values, 1e-15)


# -- algebra ----------------------------------------------------------------------------------------

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
    program = b.graph(build(b, x, y))
    found = pipeline.dead_code(pipeline.algebra(program))
    eps = np.finfo(dtype).eps if np.dtype(dtype).kind in "fc" else 0
    (y,), (expected,) = values_of(found, inputs), values_of(program, inputs)
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


def total(b, x, axis):
    return b.sum(x, params=(axis, False))


@pytest.mark.parametrize("name", SPREAD)
def test_algebra_of_broadcasting(name, rng):
    build, expected = SPREAD[name]
    b, inputs = Builder(), [rng.normal(size=(4, 3)), rng.normal()]
    program = b.graph(build(b, b.input(inputs[0]), b.input(inputs[1])))
    found = pipeline.dead_code(pipeline.algebra(program))
    assert sorted(names(found)) == sorted(expected.split())
    assert_same_results(program, found, inputs, 4e-16)


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
    program = b.graph(b.sum_to(b.matmul(*map(b.input, inputs)), params=(rows,)))
    found = pipeline.dead_code(pipeline.algebra(program))
    assert names(found) == expected.split()
    assert_same_results(program, found, inputs, 1e-14)


def test_the_sum_of_no_rows_is_zero_whatever_they_would_be_multiplied_with():
    b = Builder()
    product = b.matmul(b.input(np.zeros((0, 3))), b.input(np.full((3, 5), np.inf)))
    program = b.graph(b.sum_to(product, params=((1, 5),)))
    (found,) = values_of(pipeline.simplify(program), [b.values[slot] for slot in program.inputs])
    np.testing.assert_array_equal(found, np.zeros((1, 5)))


def test_a_product_that_is_read_elsewhere_is_summed_itself(rng):
    b, inputs = Builder(), [rng.normal(size=(4, 3)), rng.normal(size=(3, 5))]
    product = b.matmul(*map(b.input, inputs))
    program = b.graph(product, b.sum_to(product, params=((1, 5),)))
    assert pipeline.algebra(program) is program


def test_numbers_alone_keep_the_dtype():
    b = Builder()
    quarter, x = b.constant(np.float32(0.25)), b.input(np.zeros(2))
    spread = b.sign(b.broadcast_to(quarter, params=((64,),)))
    program = b.graph(b.divide(2, b.divide(quarter, spread)), x)
    assert_same_results(program, pipeline.simplify(program), [np.zeros(2)])


def test_numbers_go_to_the_scalar():
    b, inputs = Builder(), [np.arange(3.0), np.float64(2.0)]
    x, s = map(b.input, inputs)
    found = pipeline.dead_code(pipeline.algebra(b.graph(b.multiply(b.multiply(x, s), 3.0))))
    assert [found.avals[instruction.outputs[0]].shape for instruction in found.instructions] == [(), (3,)]


def test_a_function_of_the_users_may_be_called_as_an_op_is():
    """Rules go by the op, not by its name."""
    from ad.engine.graph import Op

    b = Builder()
    x = b.input(1.5)
    program = b.graph(b.run(Op("identity", "custom", lambda x: x + 1), (x,)))
    assert pipeline.algebra(program) is program


# -- all of them --------------------------------------------------------------------------------------


def rosenbrock_gradient(n):
    """As a reverse sweep records it, with the function itself before it."""
    b, head, tail = Builder(), slice(None, -1), slice(1, None)
    x = b.input(np.zeros(n))
    t = b.getitem(x, params=(head,))
    d = b.subtract(b.getitem(x, params=(tail,)), b.power(t, 2))
    t2 = b.getitem(x, params=(head,))
    e = b.subtract(1.0, t2)
    total(b, b.add(b.multiply(100.0, b.power(d, 2)), b.power(e, 2)), None)
    y_bar = b.broadcast_to(b.reshape(1.0, params=((1,),)), params=((n - 1,),))
    d_bar = b.scale(b.scale(y_bar, 100.0), b.multiply(2.0, d))
    t_bar = b.scale(b.negative(d_bar), b.multiply(2.0, t))
    t2_bar = b.negative(b.scale(y_bar, b.multiply(2.0, e)))
    parts = [b.put_zeros(part, params=(place, (n,))) for part, place in
             ((t2_bar, head), (t_bar, head), (d_bar, tail))]
    return b.graph(b.add(b.add(parts[0], parts[1]), parts[2]))


@pytest.mark.parametrize("n", [2, 10, 3000])
def test_simplified_gradient(n, rng):
    program, x = rosenbrock_gradient(n), rng.normal(size=n)
    found = pipeline.simplify(program)
    assert sorted(names(found)) == sorted(
        "getitem getitem square subtract subtract multiply scale add multiply put_zeros put_zeros add".split()
    )
    expected = np.zeros(n)  # the published gradient
    expected[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    expected[1:] += 200 * (x[1:] - x[:-1] ** 2)
    np.testing.assert_allclose(values_of(found, [x])[0], expected, rtol=1e-12)
    assert pipeline.simplify(found) is found


def test_outputs_keep_their_number_and_order():
    b = Builder()
    x, y = b.input(2.0), b.input(3.0)
    program = b.graph(b.identity(x), y, b.add(2.0, 3.0), b.multiply(x, 1.0), b.sin(y), b.sin(y))
    found = pipeline.simplify(program)
    assert names(found) == ["sin"]
    assert found.outputs == (0, 1, 2, 0, 3, 3)
    assert_same_results(program, found, [2.0, 3.0])


def test_print_after_each_pass(monkeypatch, capsys):
    monkeypatch.setenv("AD_PRINT_PASSES", "1")
    pipeline.simplify(rosenbrock_gradient(4))
    printed = capsys.readouterr().out
    assert printed.startswith("-- after dead_code\n")
    assert {line.split()[-1] for line in printed.splitlines() if line.startswith("--")} == {
        "dead_code", "common_subexpressions", "constants", "algebra", "outer_products", "renumber"}


UNARY = "negative square absolute reciprocal identity positive sin exp sqrt tanh conjugate".split()
BINARY = "add subtract multiply divide scale maximum".split()
EXPONENTS = [0, 1, 2, 3, -1, 2.0, 0.5]
NUMBERS = [1.0, -1.0, 2.0, 0.5, -2, 3, 0.1, 0.0, -0.0, 1, np.float64(2.0)]
SHAPES = [(), (3,), (2, 3), (2, 1)]


def random_program(rng, dtype, length):
    """Ops drawn from those that have rules, on values of several shapes and on numbers."""
    b = Builder()
    pool = [b.input(rng.choice([-1, 1], shape) * rng.uniform(0.5, 2, shape).astype(dtype)) for shape in SHAPES]
    inputs = list(b.values)

    def pick():
        return pool[rng.integers(len(pool))] if rng.random() < 0.5 else pool[-1 - rng.integers(min(4, len(pool)))]

    def reshaped(x):
        return b.reshape(x, params=((-1,), "C")) if rng.random() < 0.5 else b.transpose(x, params=(None,))

    def spread(x):
        return b.broadcast_to(x, params=(np.broadcast_shapes(x.shape, (2, 3)),))

    def summed(x):
        return b.sum(x, params=(None, rng.random() < 0.5)) if rng.random() < 0.5 else b.sum_to(x, params=((),))

    def put(x):
        return b.put_zeros(x, params=((1, ...), (3, *x.shape))) if len(x.shape) < 2 else x

    def taken(x):
        return b.getitem(x, params=((1, ...),)) if x.shape and x.shape[0] > 1 else x

    for _ in range(length):
        kind = rng.integers(8)
        try:
            if kind < 2:
                y = getattr(b, rng.choice(UNARY))(pick())
            elif kind < 5:
                number = NUMBERS[rng.integers(len(NUMBERS))]
                args = [(pick(), pick()), (pick(), number), (number, pick())][rng.integers(3)]
                y = getattr(b, rng.choice(BINARY))(*args)
            elif kind == 5:
                y = b.power(pick(), EXPONENTS[rng.integers(len(EXPONENTS))])
            else:
                y = [reshaped, spread, summed, put, taken][rng.integers(5)](pick())
        except ValueError:  # the shapes do not broadcast
            continue
        value = b.values[y.slot]
        if np.size(value) <= 64 and np.all(np.abs(value) < 1e6) and np.all(np.abs(value) > 1e-6):
            pool.append(y)
    return b.graph(*pool[-6:]), inputs


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed, dtype):
    """Simplified and not, to what rounding of the intermediate results makes of the last digits."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        program, inputs = random_program(rng, dtype, 30)
        found = pipeline.simplify(program)
        assert_same_results(program, found, inputs, rtol=1e4 * np.finfo(dtype).eps)
        assert pipeline.simplify(found) is found
