"""Arrays of symbols with NumPy's indices and shapes: problems written for NumPy in CasADi and in SparseDiffEngine.

`Symbols` keeps a column of the engine and a shape. An index is carried out on the numbers of the elements, so that the
engine is asked for elements of its column and nothing else.
"""
import numpy as np


class Symbols:
    """An array of symbols: an engine's column of them, in C order, and a shape."""

    __array_ufunc__ = None  # NumPy's arrays leave operators to this class

    def __init__(self, engine, column, shape):
        self.engine, self.column, self.shape = engine, column, tuple(shape)
        self.size = int(np.prod(self.shape))

    def __getitem__(self, index):
        numbers = np.arange(self.size).reshape(self.shape)[index]
        return Symbols(self.engine, self.engine.pick(self.column, self.size, numbers.ravel()), numbers.shape)

    def reshape(self, *shape):
        return Symbols(self.engine, self.column, np.empty(self.shape, bool).reshape(*shape).shape)

    def with_column(self, column):
        return Symbols(self.engine, column, self.shape)

    def broadcast(self, other):
        """Both as columns of one length, and their shape."""
        shape = np.broadcast_shapes(self.shape, np.shape(other) if not isinstance(other, Symbols) else other.shape)
        size = int(np.prod(shape))
        if not isinstance(other, Symbols):
            other = np.asarray(other, float)
            other = float(other) if other.ndim == 0 else np.broadcast_to(other, shape).ravel()
        else:
            other = self.engine.promote(other.column, other.size, size)
        return self.engine.promote(self.column, self.size, size), other, shape

    def __add__(self, other):
        mine, other, shape = self.broadcast(other)
        return Symbols(self.engine, self.engine.add(mine, other, int(np.prod(shape))), shape)

    def __mul__(self, other):
        mine, other, shape = self.broadcast(other)
        return Symbols(self.engine, self.engine.multiply(mine, other, int(np.prod(shape))), shape)

    def __neg__(self):
        return self.with_column(self.engine.negative(self.column))

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * (1 / other)

    def __pow__(self, exponent):
        return self.with_column(self.engine.power(self.column, exponent))

    __radd__, __rmul__ = __add__, __mul__


class Namespace:
    """The functions of NumPy that the problems call, for the symbols of an engine."""

    def __init__(self, engine):
        self.engine = engine

    def sum(self, a, axis=None):
        if axis is None:
            return Symbols(self.engine, self.engine.total(a.column), ())
        columns = [a[(slice(None),) * axis + (i,)] for i in range(a.shape[axis])]
        return sum(columns[1:], columns[0])

    def concatenate(self, parts):
        size = sum(part.size for part in parts)
        return Symbols(self.engine, self.engine.stack([part.column for part in parts]), (size,))

    def __getattr__(self, name):
        return lambda a: a.with_column(self.engine.function(name, a.column))


class Casadi:
    """Columns of CasADi, of kind "SX" or "MX"."""

    def __init__(self, casadi, kind):
        self.casadi, self.symbol = casadi, getattr(casadi, kind)

    def pick(self, column, size, numbers):
        if numbers.size > 1 and np.all(np.diff(numbers) == numbers[1] - numbers[0]) and numbers[1] > numbers[0]:
            return column[numbers[0] : numbers[-1] + 1 : numbers[1] - numbers[0]]
        return column[numbers]

    def constant(self, value):
        return value if isinstance(value, float) or not isinstance(value, np.ndarray) else self.casadi.DM(value)

    def promote(self, column, _size, _wanted):
        return column  # its scalars are broadcast

    def add(self, a, b, _size):
        return a + self.constant(b)

    def multiply(self, a, b, _size):
        return a * self.constant(b)

    def negative(self, a):
        return -a

    def power(self, a, exponent):
        return a**exponent

    def total(self, a):
        return self.casadi.sum1(a)

    def stack(self, parts):
        return self.casadi.vertcat(*parts)

    def function(self, name, a):
        return getattr(self.casadi, name)(a)


class SparseDiffEngine:
    """Columns of SparseDiffEngine, of n variables."""

    def __init__(self, module, n):
        self.module, self.n = module, n

    def variables(self):
        return Symbols(self, self.module.make_variable(self.n, 1, 0, self.n), (self.n,))

    def constant(self, value, size):
        return self.module.make_parameter(size, 1, -1, self.n, np.broadcast_to(value, size).astype(float))

    def pick(self, column, _size, numbers):
        return self.module.make_index(column, numbers.size, 1, numbers.astype(np.int32))

    def promote(self, column, size, wanted):
        return column if size == wanted else self.module.make_promote(column, wanted, 1)

    def add(self, a, b, size):
        return self.module.make_add(a, self.constant(b, size) if isinstance(b, (float, np.ndarray)) else b)

    def multiply(self, a, b, size):
        if isinstance(b, float):
            return self.module.make_param_scalar_mult(self.constant(b, 1), a)
        if isinstance(b, np.ndarray):
            return self.module.make_param_vector_mult(self.constant(b, size), a)
        return self.module.make_multiply(a, b)

    def negative(self, a):
        return self.module.make_neg(a)

    def power(self, a, exponent):
        return self.module.make_power(a, float(exponent))

    def total(self, a):
        return self.module.make_sum(a, -1)

    def function(self, name, a):
        return self.power(a, 0.5) if name == "sqrt" else getattr(self.module, f"make_{name}")(a)
