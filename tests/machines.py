"""Programs for tests of the machine, and checks of what it computes."""
import threading

import numpy as np
from programs import Builder

from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.compiler.machine.execution_plan import LoopGroup
from ad.ops.nondifferentiable import nondifferentiable_op

__all__ = [
    "BINARY", "SIZES", "UNARY", "at_once", "check", "has_loop", "matrix_program", "random_program", "rosen",
    "stencil_program", "sums_program", "vector_program",
]

SIZES = (0, 1, 2, 7, 511, 512, 513, 2049)
UNARY = ("negative", "square", "sin", "cos", "tanh", "absolute", "exp", "identity", "arctan", "sqrt", "reciprocal")
BINARY = ("add", "subtract", "multiply", "divide", "scale", "maximum", "minimum", "arctan2")
COMPARISONS = (np.less, np.greater_equal, np.equal)


def check(program, values, rtol=1e-12, **kwargs):
    """Two runs of one machine, against plain evaluation."""
    machine = machine_for(program)
    with np.errstate(all="ignore"):
        wanted = evaluate(program, values)
        for _ in range(2):
            found = machine.run(values, **kwargs)
            assert len(found) == len(wanted)
            for y, want in zip(found, wanted):
                scale = np.max(np.abs(want), initial=0, where=np.isfinite(want)) if np.size(want) else 0
                assert np.shape(y) == np.shape(want)
                assert np.asarray(y).dtype == np.asarray(want).dtype
                np.testing.assert_allclose(y, want, rtol=rtol, atol=1e-13 * scale)
    return machine


def has_loop(step, kind):
    """Whether a step is a group with a loop of this class."""
    return isinstance(step, LoopGroup) and any(isinstance(loop, kind) for loop in step.loops)


def at_once(work, n):
    """`work(k)` for k below n, each in a thread of its own."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _random_slice(rng, n):
    """A slice of n - 1 elements, or of every element backwards, or of a stride."""
    return [slice(1, None), slice(None, -1), slice(None, None, -1), slice(None, None, 2), slice(2, None, -1),
            slice(1, None, 3), slice(n // 2, None)][rng.integers(7)]


def pick_sparse(rng, b, shape):
    """What put_zeros made, or a constant with few nonzeros, scaled."""
    put = [i.outputs[0] for i in b.instructions if i.op.name == "put_zeros"]
    made = [slot for slot in put if np.shape(b.values[slot]) == shape]
    if not made or rng.random() < 0.5:
        constant = np.zeros(shape)
        constant.reshape(-1)[rng.integers(3) :: rng.integers(4, 9)] = rng.uniform(0.5, 1.5)
        made.append(b.constant(constant))
    slot = int(rng.choice(made[-3:]))
    return b.do("multiply", b.constant(-1.5), slot) if rng.random() < 0.3 else slot


def _unary(rng, b, shape, pick):
    name = UNARY[rng.integers(len(UNARY))]
    return b.do(name, b.do("cosh", pick(shape)) if name == "reciprocal" else pick(shape))


def _binary(rng, b, shape, pick):
    operands = [pick(shape), pick(shape if rng.random() < 0.7 else ())]
    rng.shuffle(operands)
    name = BINARY[rng.integers(len(BINARY))]
    second = b.do("cosh", operands[1]) if name in ("divide", "arctan2") else operands[1]
    return b.do(name, operands[0], second)


def _sum(rng, b, shape, pick):
    axis = None if rng.random() < 0.5 or not shape else int(rng.integers(len(shape)))
    return b.do("sum", pick(shape), params=(axis, bool(rng.random() < 0.3)))


def _slice_or_reshape(rng, b, shape, pick):
    if len(shape) == 1:
        index = _random_slice(rng, shape[0])
        piece = b.do("getitem", pick(shape), params=(index,))
        return b.do("add", b.do("put_zeros", b.do("sin", piece), params=(index, shape)), pick(shape))
    if shape and rng.random() < 0.5:
        return b.do("transpose", pick(shape), params=(None,))
    return b.do("reshape", pick(shape), params=((-1,),)) if shape else None


def _row(rng, b, shape, pick):
    if not shape or not shape[0]:
        return None
    index = int(rng.integers(shape[0]))
    return b.do("put_zeros", b.do("getitem", pick(shape), params=(index,)), params=(index, shape))


def _columns(rng, b, shape, pick):
    if len(shape) != 2 or not shape[1]:
        return None
    index = (slice(None), [slice(1, None), slice(None, -1), slice(None, None, 2)][rng.integers(3)])
    piece = b.do("getitem", pick(shape), params=(index,))
    return b.do("put_zeros", b.do("scale", piece, pick(())), params=(index, shape))


def _where(rng, b, shape, pick):
    x = pick(shape)
    return b.do("where", b.do(nondifferentiable_op(COMPARISONS[rng.integers(3)]), x, pick(())), x, pick(()))


def _broadcast(rng, b, shape, pick):
    return b.do("broadcast_to", pick(()), params=(shape,))


def _with_sparse(rng, b, shape, pick):
    name = ("add", "subtract", "scale", "multiply")[rng.integers(4)]
    return b.do(name, pick_sparse(rng, b, shape), pick(shape))


def _difference_of_sparse(rng, b, shape, pick):
    return b.do("subtract", pick_sparse(rng, b, shape), b.do("scale", pick_sparse(rng, b, shape), pick(shape)))


def _call_or_power(rng, b, shape, pick):
    power = [2, 3, 0.5, -1][rng.integers(4)]
    return b.do("cumsum", pick(shape), params=(0,)) if shape else b.do("power", pick(shape), b.constant(power))


# Each adds ops to a builder and returns the result, or returns None for a shape that it does not take.
GENERATORS = (3 * [_unary] + 3 * [_binary] + [
    _sum, _slice_or_reshape, _row, _columns, _where, _broadcast, _with_sparse, _difference_of_sparse])


def random_step(rng, b, shapes):
    """Add an instruction of a random kind. No result depends on the sign of a zero."""
    shape = shapes[rng.integers(len(shapes))]
    args = rng, b, shape, lambda shape: int(rng.choice(b.of_shape(shape)))
    slot = GENERATORS[rng.integers(len(GENERATORS))](*args)
    return _call_or_power(*args) if slot is None else slot


def random_program(seed):
    rng = np.random.default_rng(seed)
    n = SIZES[rng.integers(len(SIZES))]
    b = Builder()
    shapes = [(n,), (), (3, n), (max(n - 1, 0),)]
    values = [rng.uniform(0.5, 1.5, shape)[()] for shape in shapes]
    for value in values:
        b.input(value)
    b.constant(rng.uniform(0.5, 1.5, (n,)))
    b.constant(rng.uniform(0.5, 1.5, (3, n)))
    b.constant(0.75)
    made = [random_step(rng, b, shapes) for _ in range(rng.integers(1, 40))]
    outputs = rng.choice(made, rng.integers(1, 5)).tolist() + rng.choice(b.inputs, 1).tolist()
    return b.program(*outputs), values


def vector_program(n):
    """A group with a sum, slices that add up, and a scalar that depends on the sum."""
    b = Builder()
    x = b.input(np.random.default_rng(n).random(n))
    low, high = b.do("getitem", x, params=(slice(None, -1),)), b.do("getitem", x, params=(slice(1, None),))
    d = b.do("subtract", high, b.do("square", low))
    total = b.do("sum", b.do("square", d), params=(None, False))
    scaled = b.do("scale", b.do("exp", b.do("negative", total)), d)
    put = b.do("put_zeros", scaled, params=(slice(1, None), (n,)))
    back = b.do("put_zeros", b.do("multiply", scaled, low), params=(slice(None, -1), (n,)))
    return b.program(b.do("add", put, back), total), [b.values[x]]


def stencil_program(n):
    """Three slices whose cotangents overlap, and a sum."""
    b = Builder()
    x = b.input(np.random.default_rng(n).random(n))
    slices = [slice(2, None), slice(1, -1), slice(None, -2)]
    parts = [b.do("getitem", x, params=(part,)) for part in slices]
    bend = b.do("add", b.do("subtract", parts[0], b.do("multiply", b.constant(2.0), parts[1])), parts[2])
    total = b.do("sum", b.do("square", bend), params=(None, False))
    puts = [b.do("put_zeros", b.do("multiply", b.constant(k), b.do("exp", bend)), params=(part, (n,)))
            for k, part in zip((2.0, -4.0, 2.0), slices)]
    slope = b.do("add", b.do("add", puts[1], puts[0]), puts[2])
    return b.program(slope, total, b.do("multiply", slope, x)), [b.values[x]]


def matrix_program(n):
    """Rows that are normalised: broadcast operands, and sums along the last axis."""
    b = Builder()
    x, w = b.input(np.random.default_rng(n).random((n // 40, 40))), b.input(np.random.default_rng(0).random(40))
    y = b.do("exp", b.do("multiply", x, w))
    total = b.do("sum", y, params=(1, True))
    p = b.do("divide", y, total)
    spread = b.do("multiply", b.do("transpose", p, params=(None,)), b.do("sum", p, params=(1, False)))
    return b.program(p, total, b.do("sum", p, params=(0, False)), spread), [b.values[x], b.values[w]]


def sums_program(n):
    b = Builder()
    x = b.input(np.random.default_rng(n).normal(size=n))
    made = [b.do(name, x) for name in ("sin", "cos", "exp", "tanh", "square")]
    return b.program(*[b.do("sum", y, params=(None, False)) for y in made]), [b.values[x]]


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
