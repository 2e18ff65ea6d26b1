"""Loops of groups: how they are fused, and where their results are stored."""
import numpy as np
import pytest
from machines import check, rosen
from programs import Builder

import ad
from ad.compiler.machine import machine_for
from ad.compiler.machine.execution_plan import AddSliceLoop, AddViewLoop, KernelLoop, LoopGroup, SumLoop


def test_the_gradient_of_rosenbrock_takes_five_loops():
    """Products and sums are one loop, and what is stored in a part of the result is made there and read there."""
    program = ad.record(ad.grad(rosen))(np.arange(5000.0))
    (group,) = program.machine.plan.steps
    kernels = [loop.kernel for loop in group.loops if isinstance(loop, KernelLoop)]
    assert sorted(kernels) == sorted(["multiply_then_subtract_from", "multiply", "scale", "subtract_then_add"])
    assert [type(loop) for loop in group.loops if not isinstance(loop, KernelLoop)] == [AddSliceLoop]


@pytest.mark.parametrize("from_scratch", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_scale_keeps_its_zeros_in_every_strip(from_scratch, adds):
    """Of a cotangent or a partial of zero comes zero, whatever the other; NaN beside anything else stays NaN."""
    special = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]
    x, y = np.ones((2, 3000))
    at = 7 * np.arange(0, 3000 // 7, 40)  # in some strips there is nothing to see
    for k, i in enumerate(at):
        x[i : i + 7], y[i : i + 7] = special[k % 7], special
    b = Builder()
    slots = [b.input(x), b.input(y), b.input(np.full(3000, 0.5))]
    left, right = [b.do("subtract", slot, b.constant(0.0)) if from_scratch else slot for slot in slots[:2]]
    scaled = b.do("scale", left, right)
    y = b.do("add", scaled, slots[2]) if adds else scaled
    check(b.program(b.do("negative", y) if from_scratch else y), [b.values[slot] for slot in slots])


@pytest.mark.parametrize("offset", range(8))
def test_blocks_begin_on_lines_of_the_cache_wherever_the_input_does(offset, rng):
    x = rng.normal(size=5008)[offset : offset + 5000]
    program = ad.record(ad.grad(rosen))(x)
    np.testing.assert_allclose(program(x), ad.grad(rosen)(x), rtol=1e-12)


def test_a_product_is_made_before_another_part_is_added_to_where_its_factor_is_stored():
    b = Builder()
    x, y = b.input(np.linspace(0.5, 1.5, 100)), b.input(np.linspace(1.0, 2.0, 100))

    def sum_of_parts(early, late):
        return b.do("add", *[b.do("put_zeros", slot, params=(slice(k, k + 100), (101,)))
                             for k, slot in enumerate([early, late])])

    factor = b.do("sin", x)
    product = b.do("multiply", factor, y)
    stored, later = sum_of_parts(b.do("square", y), factor), sum_of_parts(product, b.do("cos", y))
    machine = check(b.program(stored, later), [b.values[slot] for slot in b.inputs])
    (group,) = machine.plan.steps
    assert [loop.kernel for loop in group.loops if isinstance(loop, KernelLoop)].count("multiply") == 1


def test_value_that_is_squared_stored_in_a_part_and_read_once_more():
    b = Builder()
    x, y, z = [b.input(np.linspace(low, 2, 100)) for low in (0.5, 1.0, 0.0)]
    product = b.do("multiply", x, y)
    norm = b.do("add", b.do("square", product), z)
    part = b.do("sin", b.do("put_zeros", product, params=(slice(1, 101), (102,))))
    total = b.do("sum", b.do("sin", product), params=(None, False))
    check(b.program(norm, part, total), [b.values[slot] for slot in b.inputs])


@pytest.mark.parametrize("axis", [1, 0, None])
def test_sums_do_not_depend_on_where_an_input_begins(axis, rng):
    x = rng.normal(size=(5, 3000))
    program = ad.record(lambda x: np.sum(np.sin(x), axis))(x)
    memory = np.empty(x.size + 8)
    for start in range(8):
        moved = memory[start : start + x.size].reshape(x.shape)
        moved[...] = x
        np.testing.assert_array_equal(program(moved), program(x))


def test_parts_that_cancel_are_added_before_they_are_scaled():
    """Of their sum, zero, comes zero; of each, infinity."""
    b = Builder()
    x, factor = b.input(np.arange(1.0, 7.0)), b.input(np.full(10, np.inf))
    late, early = [b.do("put_zeros", slot, params=(slice(k, k + 6), (10,)))
                   for k, slot in [(2, x), (0, b.do("getitem", x, params=([2, 3, 0, 1, 2, 3],)))]]
    check(b.program(b.do("scale", b.do("subtract", late, early), factor)), [b.values[x], b.values[factor]])


def test_parts_that_overlap_minus_themselves_are_zero(rng):
    b = Builder()
    x = b.input(rng.normal(size=60))
    low, high = b.do("put_zeros", x, params=(slice(1, 61), (64,))), b.do("put_zeros", x, params=(slice(2, 62), (64,)))
    both = b.do("add", low, b.do("add", high, b.do("put_zeros", x, params=(slice(0, 60), (64,)))))
    (found,) = machine_for(b.program(b.do("sqrt", b.do("subtract", both, both)))).run([b.values[x]])
    np.testing.assert_array_equal(found, 0.0)


def test_a_sum_over_the_lanes_of_an_identity_reads_no_zeros(rng):
    x = rng.random(300)
    program = ad.record(ad.hessian(lambda x: np.log(np.sum(np.exp(x)))))(x)
    read = [loop for step in program.machine.plan.steps if isinstance(step, LoopGroup) and step.n == x.size ** 2
            for loop in step.loops if isinstance(loop, SumLoop | AddViewLoop)]
    assert not read
    np.testing.assert_allclose(program(x), ad.hessian(lambda x: np.log(np.sum(np.exp(x))))(x), atol=1e-15)
