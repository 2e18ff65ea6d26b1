"""Passes: each alone on graphs made for it, all together on random ones and on a gradient."""
import numpy as np
import pytest
from programs import Builder, assert_same_results, names, total, values_of

from ad.compiler.passes import pipeline

pytestmark = pytest.mark.usefixtures("measured")

# -- dead code, common subexpressions, constants, numbering -------------------------------------------


def test_dead_code():
    b = Builder()
    x, y = b.input(1.0), b.input(2.0)
    kept = b.sin(x)
    b.multiply(b.exp(y), 3.0)
    graph = pipeline.dead_code(b.graph(kept))
    assert names(graph) == ["sin"]
    assert graph.constants == {}
    assert graph.inputs == (0, 1)
    assert pipeline.dead_code(graph) is graph


def test_one_output_of_several_keeps_the_instruction():
    b = Builder()
    w, _ = b.eigh_parts(b.input(np.eye(2)), params=("L",))
    assert names(pipeline.dead_code(b.graph(w))) == ["eigh_parts"]


def test_common_subexpressions():
    b = Builder()
    x, y = b.input(np.arange(3.0)), b.input(np.ones(3))
    first = b.multiply(b.sin(b.add(x, y)), 2.0)
    second = b.multiply(b.sin(b.add(y, x)), 2.0)
    graph = b.graph(first, b.subtract(first, second), second)
    found = pipeline.common_subexpressions(graph)
    assert names(found) == ["add", "sin", "multiply", "subtract"]
    assert found.outputs[0] == found.outputs[2]
    assert_same_results(graph, found, [np.arange(3.0), np.ones(3)])
    assert pipeline.common_subexpressions(pipeline.dead_code(found)) is not None


@pytest.mark.parametrize(("a", "b", "merged"), [
    (slice(1, None), slice(1, None), True), (slice(1, None), slice(1, None, 2), False), (1, True, False),
    (np.array([0, 2]), np.array([0, 2]), True), (np.array([0, 2]), np.array([2, 0]), False),
    ((slice(None), None), (slice(None), None), True), (np.array([1, 0]), np.array([True, False, False]), False),
], ids=str)
def test_common_subexpressions_compare_params_by_value_and_type(a, b, merged):
    builder = Builder()
    x = builder.input(np.arange(3.0))
    graph = builder.graph(builder.getitem(x, params=(a,)), builder.getitem(x, params=(b,)))
    found = pipeline.common_subexpressions(graph)
    assert len(found.instructions) == 2 - merged
    assert_same_results(graph, found, [np.arange(3.0)])


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
    graph = b.graph(b.multiply(x, c), c)
    found = pipeline.fold_constants(graph)
    assert names(found) == ["multiply"]
    assert found.constants[found.outputs[1]] == 6.0
    assert_same_results(graph, found, [np.ones(3)])
    assert pipeline.fold_constants(found) is found


def test_constants_stay_small():
    b = Builder()
    row, column = np.arange(100.0), np.arange(100.0)[:, None]
    assert names(pipeline.fold_constants(b.graph(b.add(row, column)))) == ["add"]
    b = Builder()
    assert names(pipeline.fold_constants(b.graph(b.sin(np.arange(5000.0))))) == []


def test_a_folded_constant_is_no_view_of_another_and_cannot_be_written():
    b, captured = Builder(), np.arange(4.0)
    graph = pipeline.fold_constants(b.graph(b.getitem(captured, params=(slice(1, None),))))
    (y,) = values_of(graph, [])
    assert not np.shares_memory(y, captured)
    with pytest.raises(ValueError):
        y[0] = 7


def test_what_fails_on_constants_fails_when_it_runs():
    b, impossible = Builder(), -np.eye(2)
    x = b.constant(np.eye(2))
    graph = b.graph(b.cholesky_lower(x))
    graph = type(graph)(graph.inputs, graph.outputs, graph.instructions, {x.slot: impossible}, graph.avals)
    found = pipeline.simplify(graph)
    with pytest.raises(np.linalg.LinAlgError):
        values_of(found, [])


def test_a_folded_number_is_strong_in_promotion():
    b = Builder()
    x = b.input(np.ones(2, np.float32))
    graph = b.graph(b.multiply(x, b.identity(2.0)))
    assert values_of(pipeline.simplify(graph), [np.ones(2, np.float32)])[0].dtype == np.float64


def test_renumber():
    b = Builder()
    x = b.input(1.0)
    b.cos(x)
    graph = pipeline.renumber(pipeline.dead_code(b.graph(b.add(b.sin(x), 2.0), x)))
    assert (graph.inputs, list(graph.constants), graph.outputs) == ((0,), [1], (3, 0))
    assert len(graph.avals) == 4
    assert pipeline.renumber(graph) is graph


# -- outer products ------------------------------------------------------------------------------------


def sum_of_outer_products(terms, n=20, m=30, dtype=float):
    """A graph, and values for it, that adds u v^T for several u and v to a matrix."""
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
    graph = b.graph(total)
    found = pipeline.dead_code(pipeline.outer_products(graph))
    assert names(found).count("matmul") == 1
    assert "multiply" not in names(found)
    assert_same_results(graph, found, values, 10 * np.finfo(dtype).eps)
    assert pipeline.outer_products(found) is found


def test_outer_products_without_another_term():
    b = Builder()
    values = list(np.random.default_rng(2).standard_normal((8, 16)))
    slots = [b.input(x) for x in values]
    parts = [b.multiply(b.reshape(u, params=((16, 1), "C")), v) for u, v in zip(slots[::2], slots[1::2])]
    graph = b.graph(b.add(b.add(parts[0], parts[1]), b.add(parts[2], parts[3])))
    found = pipeline.dead_code(pipeline.outer_products(graph))
    assert names(found)[-1] == "matmul"
    assert "add" not in names(found)
    assert_same_results(graph, found, values, 1e-14)


def test_outer_products_stay_where_they_are_few_small_or_wanted_themselves():
    few, total, _ = sum_of_outer_products(3)
    small, small_total, _ = sum_of_outer_products(6, n=3, m=3)
    assert all(pipeline.outer_products(graph) is graph
               for graph in (few.graph(total), small.graph(small_total)))
    wanted, total, values = sum_of_outer_products(4)
    graph = wanted.graph(total, wanted.add(total, total))
    assert_same_results(graph, pipeline.outer_products(graph), values, 1e-14)


# -- all of them --------------------------------------------------------------------------------------


def rosenbrock_gradient(n):
    """The graph of the function, and of its gradient as a reverse sweep records it."""
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
    graph, x = rosenbrock_gradient(n), rng.normal(size=n)
    found = pipeline.simplify(graph)
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
    graph = b.graph(b.identity(x), y, b.add(2.0, 3.0), b.multiply(x, 1.0), b.sin(y), b.sin(y))
    found = pipeline.simplify(graph)
    assert names(found) == ["sin"]
    assert found.outputs == (0, 1, 2, 0, 3, 3)
    assert_same_results(graph, found, [2.0, 3.0])


def test_print_after_each_pass(monkeypatch, capsys):
    monkeypatch.setenv("AD_PRINT_PASSES", "1")
    pipeline.simplify(rosenbrock_gradient(4))
    printed = capsys.readouterr().out
    assert printed.startswith("-- after dead_code\n")
    assert {line.split()[-1] for line in printed.splitlines() if line.startswith("--")} == {
        "dead_code", "common_subexpressions", "fold_constants", "algebra", "outer_products", "renumber"}


UNARY = "negative square absolute reciprocal identity positive sin exp sqrt tanh conjugate".split()
BINARY = "add subtract multiply divide scale maximum".split()
EXPONENTS = [0, 1, 2, 3, -1, 2.0, 0.5]
NUMBERS = [1.0, -1.0, 2.0, 0.5, -2, 3, 0.1, 0.0, -0.0, 1, np.float64(2.0)]
SHAPES = [(), (3,), (2, 3), (2, 1)]


def random_program(rng, dtype, length):
    """A graph of random ops that have rules, on values of several shapes and on numbers; and values for it."""
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
    """A simplified graph gives the same values, to the rounding of intermediate results."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        graph, inputs = random_program(rng, dtype, 30)
        found = pipeline.simplify(graph)
        assert_same_results(graph, found, inputs, rtol=1e4 * np.finfo(dtype).eps)
        assert pipeline.simplify(found) is found
