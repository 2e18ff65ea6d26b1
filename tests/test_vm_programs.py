"""The machine computes programs of every kind of step as plain NumPy does."""
import numpy as np
import pytest
from machines import SIZES, check, random_program, rosen, vector_program
from numpy.lib.array_utils import byte_bounds
from programs import Builder

import ad
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.compiler.machine.execution_plan import BUFFERS, AddAtLoop, MatrixProduct, OpaqueCall, TakeLoop
from ad.compiler.machine.lowering import Lowering


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_random_programs(first):
    for seed in range(first, first + 40):
        program, values = random_program(seed)
        check(program, values)


@pytest.mark.parametrize("n", [*SIZES, 100_003])
def test_sizes(n):
    check(*vector_program(n))


def test_matrices():
    rng = np.random.default_rng(3)
    b = Builder()
    a, x = b.input(rng.random((4, 5))), b.input(rng.random(5))
    y = b.do("tanh", b.do("matmul", a, x))
    back = b.do("matmul", b.do("matrix_transpose", a), y)
    row = b.do("multiply", b.do("reshape", y, params=((4, 1),)), b.do("reshape", x, params=((1, 5),)))
    scaled = b.do("sum_to", b.do("add", row, a), params=((5,),))
    check(b.program(back, row, scaled, b.do("sum", row, params=((0,), True))), [b.values[a], b.values[x]])


def scalar_loop(x):
    y, z = x[0], x[1]
    for _ in range(20):
        y, z = np.sin(y) * z + 0.1 * np.cos(y), y * z - np.exp(-y) * z
    return y + z


@pytest.mark.parametrize("f", [rosen, scalar_loop])
@pytest.mark.parametrize("transform", [lambda f: f, ad.grad, ad.hessian])
def test_recorded(f, transform):
    g = transform(f)
    x = np.linspace(0.2, 0.9, 7)
    found = machine_for(ad.record(g)(x)).run([x + 0.125])[0]
    np.testing.assert_allclose(found, g(x + 0.125), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("f", [
    lambda a, b, c: (a + b) * c, lambda a, b, c: c * (a - b), lambda a, b, c: (a - b) * (b + c),
    lambda a, b, c: (a + b) ** 2 - (a - b) * c, lambda a, b, c: 2.0 * (a + b) * (a + b) + c,
])
def test_products_of_sums(f, rng):
    a, b, c = rng.normal(size=(3, 1030))
    program = ad.record(f)(a, b, c)
    np.testing.assert_array_equal(program(b, c, a), evaluate(program, [b, c, a])[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_arrays_in_parts_are_joined_in_parts(axis, rng):
    b = Builder()
    x, y = b.input(rng.normal(size=(40, 3))), b.input(rng.normal(size=(3, 40)))
    pieces = [b.do("put_zeros", x, params=((slice(2, 42), slice(1, 4)), (60, 60))),
              b.do("put_zeros", b.do("getitem", x, params=((slice(None), 1),)), params=((7, slice(3, 43)), (60, 60))),
              b.do("put_zeros", y, params=((slice(None, None, 20), slice(10, 50)), (60, 60)))]
    ends = (60, 120, 180)
    parts = b.do("concatenate", *pieces, params=(axis, ends))
    scaled = b.do("multiply", b.do("concatenate", *pieces, params=(axis, ends)), b.constant(2.0))
    mixed = b.do("concatenate", pieces[0], b.do("add", pieces[1], b.constant(1.0)), pieces[2], params=(axis, ends))
    machine = check(b.program(parts, scaled, mixed), [b.values[x], b.values[y]])
    calls = [step for step in machine.plan.steps if isinstance(step, OpaqueCall)]
    assert len(calls) == 1  # of NumPy's function, for the mixed ones


def test_shadows_of_reversed_views_lie_in_their_memory():
    """A reshape that copies reads them."""
    b = Builder()
    x = b.do("square", b.input(np.ones((20, 30))))
    back = b.do("getitem", x, params=(slice(None, None, -1),))
    b.do("reshape", b.do("identity", back), params=((-1,),))
    shadows = Lowering(b.program()).view_lowering.shadows.values()
    assert any(shadow.strides == (-240, 8) for shadow in shadows)
    for shadow in shadows:
        owner = shadow
        while owner.base is not None:
            owner = owner.base
        low, high = byte_bounds(owner)
        assert low <= byte_bounds(shadow)[0] <= byte_bounds(shadow)[1] <= high


INDICES = [np.array([5, 0, 0, -1]), np.array([[3, 1], [4, 1]]), (slice(None), np.array([2, 0, 2])), np.arange(3, 6),
           np.array([0, 5, 10]), np.array([7]), np.array([9, 7, 5]), np.zeros(4, int), np.arange(11) % 3 == 0,
           (np.array([0, 3]), np.array([[1], [2]])), (np.array([8, 8, 2]), None, slice(None, None, -1)),
           np.zeros(0, int)]


@pytest.mark.parametrize("index", INDICES, ids=repr)
@pytest.mark.parametrize("seen", [lambda x: x, lambda x: x[::-1], lambda x: x[:, ::-2]])
def test_elements_by_indices_that_are_known(index, seen, rng):
    def f(x):
        y = seen(x)[index]
        return np.sum(np.sin(y) * y) + np.sum(seen(x)[index] ** 3)

    for x in rng.normal(size=(2, 11, 7)):
        for g in (f, ad.grad(f), ad.value_and_grad(f), ad.hessian(f)):
            wanted, found = g(x), ad.record(g)(x / 2)(x)
            for y, want in zip(found, wanted) if isinstance(wanted, tuple) else [(found, wanted)]:
                np.testing.assert_allclose(y, want, rtol=1e-11, atol=1e-12)


def test_a_few_elements_of_a_vast_array_are_not_worth_to_clear_it(rng):
    x, i = rng.normal(size=(90_000, 50)), rng.integers(90_000, size=20)
    program = ad.record(ad.grad(lambda x: np.sum(x[i] ** 3)))(x)
    np.testing.assert_allclose(program(2 * x), ad.grad(lambda x: np.sum(x[i] ** 3))(2 * x), rtol=1e-12)
    assert any(isinstance(step, OpaqueCall) for step in program.machine.plan.steps)


def _turned(b, slot, how):
    """A matrix as a view of one, its rows or columns apart, backwards or in each other's place."""
    shape = np.shape(b.values[slot])
    if how == "plain" or len(shape) == 1 and how == "turned":
        return slot
    if how == "turned":
        return b.do("transpose", b.input(np.ascontiguousarray(b.values[slot].T)), params=(None,))
    big = np.zeros([2 * n for n in shape])
    part = (slice(None, None, -2),) * len(shape)
    big[part] = b.values[slot]
    return b.do("getitem", b.input(big), params=(part,))


@pytest.mark.parametrize("shapes", [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((2, 30), (30, 2)), ((16, 16), (16, 16)), ((7,), (7,)), ((7,), (7, 9)),
    ((9, 7), (7,)), ((1, 300), (300, 13)), ((2, 17), (17, 1)), ((4, 1), (1, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 2)),
    ((17, 16), (16, 16)), ((2, 3, 4), (4, 2)),
], ids=repr)
@pytest.mark.parametrize("first", ["plain", "turned", "apart"])
@pytest.mark.parametrize("second", ["plain", "turned", "apart"])
def test_products_of_small_matrices(shapes, first, second, rng):
    if len(shapes[0]) > 2 and "turned" in (first, second):
        pytest.skip("one transpose of matrices is enough")
    b = Builder()
    a, c = [_turned(b, b.input(rng.normal(size=shape)), how) for shape, how in zip(shapes, (first, second))]
    product = b.do("matmul", a, c)
    twice = b.do("add", product, product)
    machine = check(b.program(product, twice, b.do("sin", a)), [b.values[slot] for slot in b.inputs], rtol=1e-11)
    small = len(shapes[0]) < 3 and 0 < np.prod([*shapes[0], *shapes[1][1:]]) <= 4096
    assert small != any(isinstance(step, OpaqueCall) for step in machine.plan.steps)


def test_products_of_products_are_steps_one_after_another(rng):
    b = Builder()
    a, c = b.input(rng.normal(size=(3, 3))), b.input(rng.normal(size=(3, 3)))
    product = b.do("matmul", a, c)
    machine = check(b.program(b.do("matmul", product, b.do("matmul", c, product))), [b.values[a], b.values[c]])
    assert [type(step).__name__ for step in machine.plan.steps] == 3 * ["MatrixProduct"]


def test_products_keep_nan_and_infinity():
    b = Builder()
    a = b.input(np.array([[np.nan, 0.0, 1.0], [0.0, 2.0, np.inf]]))
    c = b.input(np.array([[0.0, 1.0], [np.inf, 2.0], [3.0, 4.0]]))
    check(b.program(b.do("matmul", a, c), b.do("matmul", c, a)), [b.values[a], b.values[c]])


CHOSEN = np.array([3, 0, 7, 7, 2, 9])


def test_elements_that_are_taken_and_stored_in_a_part():
    b = Builder()
    x = b.input(np.arange(10.0))
    taken = b.do("getitem", x, params=(CHOSEN,))
    late = b.do("put_zeros", taken, params=(slice(1, 7), (8,)))
    early = b.do("put_zeros", b.do("sin", taken), params=(slice(0, 6), (8,)))
    check(b.program(late, b.do("add", late, early)), [b.values[x]])


def test_numbers_of_elements_are_kept_once(rng):
    """Those of one index and one view: where they are taken and where they are added to."""
    b = Builder()
    x = b.input(rng.normal(size=(5, 5)))
    turned, chosen = b.do("transpose", x, params=(None,)), np.array([4, 0, 4])
    columns = slice(None), chosen
    places = [(x, chosen), (b.do("sin", x), chosen), (turned, chosen), (x, chosen // 2), (x, columns), (x, columns)]
    taken = [b.do("getitem", slot, params=(index,)) for slot, index in places]
    put = b.do("put_zeros", taken[0], params=(chosen, (5, 5)))
    machine = check(b.program(*taken, put), [b.values[x]])
    loops = [loop for step in machine.plan.steps for loop in step.loops]
    tables = [loop.indices for loop in loops if isinstance(loop, TakeLoop | AddAtLoop)]
    assert len(tables) == 7 and len({table.ctypes.data for table in tables}) == 4


def test_scattered_elements_are_subtracted():
    b = Builder()
    x = b.input(np.arange(1.0, 7.0))
    part = b.do("put_zeros", x, params=(slice(1, 7), (10,)))
    scattered = b.do("put_zeros", b.do("sin", x), params=(CHOSEN, (10,)))
    check(b.program(b.do("subtract", part, scattered), b.do("subtract", scattered, part)), [b.values[x]])


def test_product_that_nothing_reads_has_memory():
    b = Builder()
    x = b.input(np.arange(36.0).reshape(6, 6))
    b.do("matmul", x, x)
    total = b.do("sum", x, params=(None, False))
    program = b.program(b.do("sin", total), b.do("cos", total))
    plan = machine_for(program).plan
    (product,) = [step for step in plan.steps if isinstance(step, MatrixProduct)]
    assert product.out.base == BUFFERS and plan.arena_size >= 36
    check(program, [b.values[x]])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 2), (1, 2), (0, 1, 2), None])
def test_sums_of_an_array_in_parts_are_sums_of_its_parts(axis, keepdims, rng):
    b = Builder()
    x, y = b.input(rng.normal(size=(2, 3, 4))), b.input(rng.normal(size=5))
    pieces = [b.do("put_zeros", x, params=((slice(1, 5, 3), slice(0, 3), slice(None, None, 2)), (6, 5, 8))),
              b.do("put_zeros", y, params=((2, slice(None), 7), (6, 5, 8))),
              b.do("put_zeros", y, params=((2, slice(None, None, -1), 7), (6, 5, 8)))]
    joined = b.do("add", b.do("add", *pieces[:2]), pieces[2])
    total = b.do("sum", joined, params=(axis, keepdims))
    check(b.program(total, b.do("square", total)), [b.values[x], b.values[y]])
    check(b.program(total, joined), [b.values[x], b.values[y]])
