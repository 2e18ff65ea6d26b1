"""What the machine takes as inputs, writes as outputs, and calls."""
import array

import numpy as np
import pytest
from machines import BINARY, UNARY, check, vector_program
from programs import Builder

import ad
from ad.compiler.ir.graph import Graph
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.engine.graph import Aval, Op
from ad.ops.nondifferentiable import nondifferentiable_op


@pytest.mark.parametrize("layout", [
    lambda x: x[::-1], lambda x: np.repeat(x, 2)[::2], lambda x: np.asarray(x, ">f8"),
    lambda x: np.frombuffer(b"0" + x.tobytes(), np.uint8)[1:].view(np.float64),
])
def test_input_of_any_layout(layout):
    program, (x,) = vector_program(700)
    check(program, [layout(x)])


def test_number_input_as_float_or_array():
    b = Builder()
    x = b.input(0.5)
    program = b.program(b.do("sin", x), x)
    for value in (0.5, np.float64(0.5), np.array(0.5)):
        found = machine_for(program).run([value])
        assert found == [np.sin(0.5), 0.5]
        assert all(type(y) is np.float64 for y in found)


def test_wrong_inputs_are_named():
    machine = machine_for(vector_program(7)[0])
    with pytest.raises(ValueError, match="input 0 of this program has shape"):
        machine.run([np.ones(8)])
    with pytest.raises(ValueError, match="takes 1 values, not 2"):
        machine.run([np.ones(7), 1.0])


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int64, bool])
def test_other_dtypes_are_calls(dtype):
    b = Builder()
    x = b.input(np.arange(5).astype(dtype))
    y = b.do("multiply", x, x)
    z = b.do("multiply", b.input(np.arange(5.0)), x)
    check(b.program(y, z, x, y), [b.values[slot] for slot in b.inputs])


def test_outputs_own_their_memory():
    b = Builder()
    x, c = b.input(np.arange(6.0)), b.constant(np.arange(3.0))
    view = b.do("getitem", x, params=(slice(1, 4),))
    y = b.do("add", view, c)
    sorted_ = b.do("cumsum", y, params=(0,))
    program = b.program(x, c, view, y, y, b.do("reshape", y, params=((1, 3),)), sorted_, sorted_, b.constant(2.5))
    machine = check(program, [b.values[x]])
    found = machine.run([b.values[x]]) + machine.run([b.values[x]]) + [b.values[x], b.values[c]]
    arrays = [y for y in found if isinstance(y, np.ndarray)]
    assert not any(np.may_share_memory(a, other) for i, a in enumerate(arrays) for other in arrays[:i])


def test_out():
    program, (x,) = vector_program(1000)
    machine = machine_for(program)
    wanted = evaluate(program, [x])
    out, total = np.empty(1000), np.empty(())
    found = machine.run([x], out=[out, total])
    assert found[0] is out and found[1] is total
    np.testing.assert_allclose(out, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(total, wanted[1], rtol=1e-12)
    machine.run([x], out=[x, None])  # an input itself
    np.testing.assert_allclose(x, wanted[0], rtol=1e-12)
    strided = np.empty(2000)[::2]
    machine.run([out], out=[strided, None])
    np.testing.assert_allclose(strided, evaluate(program, [out])[0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"out\[0\] must be a writeable ndarray of shape"):
        machine.run([x], out=[np.empty(3), None])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 0.0])
def test_special_values(special):
    b = Builder()
    x, y = b.input(np.array([special, 1.0, -1.0, special] * 5)), b.input(special)
    outputs = [b.do(name, x, y) for name in BINARY] + [b.do(name, y, x) for name in BINARY]
    outputs += [b.do(name, slot) for name in UNARY for slot in (x, y)]
    outputs += [b.do(name, y, b.constant(float(k))) for name in BINARY for k in (0, 2)]
    outputs += [b.do("sum", x, params=(None, False))]
    check(b.program(*outputs), [b.values[x], b.values[y]])


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_zeros_beside_what_is_not_finite(special):
    b = Builder()
    w = b.input(np.array([special, 2.0, 3.0, special, 1.0]))
    put = b.do("put_zeros", b.input(np.array([1.0, 0.0, 2.0])), params=(slice(1, 4), (5,)))
    both = b.do("add", put, b.do("put_zeros", b.input(np.array([-1.0, 3.0])), params=(slice(1, 3), (5,))))
    diagonal = b.constant(np.eye(5) * 2)
    outputs = [b.do(name, x, w) for name in ("scale", "multiply") for x in (put, both, diagonal)]
    outputs += [b.do("multiply", put, b.constant(special)), b.do("subtract", both, b.do("negative", put))]
    check(b.program(*outputs), [b.values[slot] for slot in b.inputs])


def test_truth_that_something_else_reads():
    b = Builder()
    x = b.input(np.arange(-2.0, 3.0))
    truth = b.do(nondifferentiable_op(np.less), x, b.constant(0.5))
    check(b.program(b.do("where", truth, x, b.constant(0)), truth), [b.values[x]])


def test_sum_is_accurate():
    x = np.full(1_000_001, 0.1)
    b = Builder()
    program = b.program(b.do("sum", b.input(x), params=(None, False)))
    np.testing.assert_allclose(machine_for(program).run([x])[0], 100000.1, rtol=2e-15)


class Failing:
    """An op that fails, when told to."""

    def __init__(self):
        self.fail = False
        self.op = Op("failing", "plain", self.run)

    def run(self, x):
        if self.fail:
            raise ZeroDivisionError("told to")
        return x + 1


def test_exception_in_a_call():
    failing = Failing()
    b = Builder()
    x = b.input(np.arange(4.0))
    program = b.program(b.do("sin", b.do(failing.op, b.do("square", x))))
    machine = machine_for(program)
    failing.fail = True
    for _ in range(20):
        with pytest.raises(ZeroDivisionError, match="told to"):
            machine.run([b.values[x]])
    failing.fail = False
    np.testing.assert_allclose(machine.run([b.values[x]])[0], evaluate(program, [b.values[x]])[0], rtol=1e-14)


def test_call_runs_the_machine_again():
    machines, depth = [], [1]

    def again(x):
        if depth:
            return x
        depth.append(1)
        return machines[0].run([x * 2])[0]

    b = Builder()
    x = b.input(np.arange(4.0))
    program = b.program(b.do("add", b.do(Op("again", "nondifferentiable", again), b.do("square", x)), x))
    depth.clear()
    machines.append(machine_for(program))
    found = machines[0].run([b.values[x]])[0]
    x = b.values[x]
    np.testing.assert_allclose(found, (2 * x**2) ** 2 + 2 * x**2 + x)


def test_call_that_keeps_or_returns_its_argument():
    kept = []

    def keep(x):
        kept.append(x)
        return x[::-1]

    b = Builder()
    x = b.input(np.arange(1.0, 5.0))
    y = b.do(Op("keep", "plain", keep), b.do("square", x))
    program = b.program(y, b.do("add", b.do("square", y), y))
    machine = machine_for(program)
    kept.clear()
    first, _ = machine.run([b.values[x]])
    machine.run([b.values[x] + 1])
    np.testing.assert_array_equal(kept[0], [1, 4, 9, 16])
    np.testing.assert_array_equal(first, [16, 9, 4, 1])


def test_empty_program_and_no_instructions():
    assert machine_for(Graph((), (), (), {}, ())).run([]) == []
    program = Graph((0,), (0, 0), (), {}, (Aval((3,)),))
    x = np.arange(3.0)
    found = machine_for(program).run([x])
    np.testing.assert_array_equal(found, [x, x])
    assert found[0] is not x and found[0] is not found[1]


@pytest.mark.parametrize("names", ["sin cos cos", "cos sin sin", "sin sin cos cos", "cos sin cos sin cos"])
def test_sines_and_cosines_of_one_number_are_all_there(names):
    b = Builder()
    x = b.input(0.3)
    same = [x, b.do("reshape", x, params=((1,),)), b.do("reshape", x, params=((1, 1),))]
    made = [b.do(name, same[i % 3]) for i, name in enumerate(names.split())]
    check(b.program(*made), [1.1])


def test_constant_of_higher_precision_is_compared_as_it_is():
    b = Builder()
    x, above = b.input(np.array([1.0, 2.0])), b.constant(np.longdouble(1) + np.finfo(np.longdouble).eps)
    truth = b.do(nondifferentiable_op(np.less), x, above)
    check(b.program(b.do("where", truth, x, b.constant(0.0))), [b.values[x]])


def test_out_over_an_input_that_is_an_output_too():
    b = Builder()
    x = b.input(np.arange(5))
    program = b.program(b.do("add", x, b.constant(1)), x)
    values = np.arange(5)
    first, second = machine_for(program).run([values], out=[values, None])
    assert first is values
    np.testing.assert_array_equal(first, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(second, [0, 1, 2, 3, 4])


def test_out_over_the_memory_of_an_input_that_is_no_ndarray():
    b = Builder()
    x = b.input(np.arange(5.0))
    program = b.program(b.do("add", b.do("getitem", x, params=(slice(None, None, -1),)), x))
    values = array.array("d", [0, 1, 2, 3, 5])
    (found,) = machine_for(program).run([values], out=[np.frombuffer(values)])
    np.testing.assert_array_equal(found, [5, 4, 4, 4, 5])


def test_out_of_a_dtype_that_loses_something_is_refused_before_anything_is_written():
    b = Builder()
    x = b.input(np.arange(5.0))
    machine, first = machine_for(b.program(b.do("square", x), b.do("cos", x))), np.zeros(5)
    with pytest.raises(TypeError, match=r"out\[1\] has dtype int64, to which a result of dtype float64 cannot be cast"):
        machine.run([b.values[x]], out=[first, np.zeros(5, int)])
    np.testing.assert_array_equal(first, 0)
    found = machine.run([b.values[x]], out=[None, np.zeros(5, np.float32)])[1]
    np.testing.assert_allclose(found, np.cos(b.values[x]), rtol=1e-6)


def test_list_for_an_input_of_integers_becomes_an_array():
    b = Builder()
    x = b.input(np.arange(3))
    single = b.input(np.int64(2))
    values = [1, 2, 3]
    found, number, product = machine_for(b.program(x, single, b.do("multiply", x, single))).run([values, 5])
    assert type(found) is type(product) is np.ndarray and type(number) is np.int64
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(product, [5, 10, 15])


def test_call_whose_result_has_another_shape_is_refused():
    b = Builder()
    x, keep = b.input(np.arange(5.0)), b.input(np.ones(5, bool))
    chosen = b.do(Op("chosen", "plain", lambda x, keep: x[keep]), x, keep)
    machine = machine_for(b.program(b.do("square", chosen)))
    with pytest.raises(ValueError, match=r"chosen gave an array of shape \(2,\), and \(5,\) when it was recorded"):
        machine.run([np.arange(5.0), np.arange(5) < 2])


@pytest.mark.parametrize("function", [np.sin, np.cos])
@pytest.mark.parametrize("reach", [1e-300, 1e-8, 1e-3, 1.0, 3.0, 100.0, 1e4, 9e5, 1e9, 1e300])
def test_sines_of_many_numbers_are_right_to_the_last_place(function, reach, rng):
    x = rng.uniform(-reach, reach, 5000)
    if reach < 1e9:
        quarters = np.rint(x[::3] * 2 / np.pi) * (np.pi / 2)
        x[::3] = np.nextafter(quarters, rng.choice([-np.inf, 0.0, np.inf], quarters.size))
    found, exact = ad.compile(function)(x), function(x.astype(np.longdouble))
    assert np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(float))) < 1


@pytest.mark.parametrize("function", [np.sin, np.cos])
def test_sines_of_what_is_not_finite_or_far_leave_their_neighbours_alone(function):
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e6, -1e6, np.nextafter(1e6, 2e6), 1e22])
    x = np.linspace(-20, 20, 1000)
    x[::90][:len(odd)] = odd[:len(x[::90])]
    found, expected = ad.compile(function)(x), function(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-16)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    for n in (1, 2, 15, 16, 17, 255, 256, 257):
        np.testing.assert_allclose(ad.compile(function)(x[:n]), expected[:n], rtol=0, atol=3e-16)
