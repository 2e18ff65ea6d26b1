"""Programs made by hand, for tests of what is done to them."""
import numpy as np

from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.program import Program
from ad.engine.graph import Aval
from ad.ops import TABLE

__all__ = ["Builder", "assert_same_results", "names", "total", "values_of"]


class Builder:
    """Builds a program, and evaluates it on the way to know the shapes.

    `b.add(x, 2.0)` is the slot of a sum, in which numbers and arrays become constants. `b.do("add", x, y, params=())`
    takes slots only, and any op for a name.
    """

    def __init__(self):
        self.values, self.inputs, self.constants, self.instructions = [], [], {}, []

    def _slot(self, value):
        self.values.append(value)
        return Value(self, len(self.values) - 1)

    def input(self, value):
        self.inputs.append(self._slot(np.asarray(value)))
        return self.inputs[-1]

    def constant(self, value):
        slot = self._slot(value)
        self.constants[slot] = value
        return slot

    def run(self, op, inputs, params=(), line=""):
        slots = [x if isinstance(x, Value) else self.constant(x) for x in inputs]
        with np.errstate(all="ignore"):
            y = op.fn(*[self.values[slot] for slot in slots], *params)
        outputs = [self._slot(part) for part in (y if op.outputs > 1 else (y,))]
        self.instructions.append(Instruction(op, params, tuple(map(int, slots)), tuple(map(int, outputs)), line))
        return outputs if op.outputs > 1 else outputs[0]

    def do(self, op, *slots, params=()):
        return self.run(TABLE[op].op if isinstance(op, str) else op, [Value(self, slot) for slot in slots], params)

    def of_shape(self, shape):
        """The slots of float64 values of a shape."""
        return [slot for slot, value in enumerate(self.values)
                if np.shape(value) == shape and np.asarray(value).dtype == np.float64]

    def __getattr__(self, name):
        if name not in TABLE:
            raise AttributeError(name)
        return lambda *inputs, params=(), line="": self.run(TABLE[name].op, inputs, params, line)

    def graph(self, *outputs):
        avals = tuple(Aval(np.shape(value), np.asarray(value).dtype) for value in self.values)
        return Graph(tuple(map(int, self.inputs)), tuple(map(int, outputs)), tuple(self.instructions),
                     {int(slot): value for slot, value in self.constants.items()}, avals)

    def program(self, *outputs):
        return Program(self.graph(*outputs))


class Value(int):
    """A slot of a builder."""

    def __new__(cls, builder, slot):
        value = super().__new__(cls, slot)
        value.builder = builder
        return value

    @property
    def slot(self):
        return int(self)

    @property
    def shape(self):
        return np.shape(self.builder.values[self])

    @property
    def dtype(self):
        return np.asarray(self.builder.values[self]).dtype


def names(program):
    """The names of the ops, in order."""
    return [instruction.op.name for instruction in program.instructions]


def values_of(program, inputs):
    return [np.asarray(y) for y in evaluate(program, inputs)]


def total(b, x, axis):
    return b.sum(x, params=(axis, False))


def assert_same_results(program, other, inputs, rtol=0.0):
    """The same values in the same shapes and dtypes; to this relative error, of the largest finite value."""
    for y, expected in zip(values_of(other, inputs), values_of(program, inputs), strict=True):
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(y, expected, rtol, rtol * max(finite, default=0.0))
