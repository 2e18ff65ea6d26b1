"""Functions of the flat vector, with their derivatives, as SciPy calls them."""
import numpy as np

from ad import trees
from ad._core import Array, constant
from ad.engine.boundary import pull
from ad.errors import differences_instead, is_untraceable, kind
from ad.transforms import gradient_of, hessian_of, linearize
from ad.transforms.differentiated_call import DifferentiatedCall
from ad.transforms.gradient_tape import GradientTape
from ad.transforms.jacobians import matrix

__all__ = ["Outputs", "Recorded", "Residuals", "Scalar", "followed"]

# Elements from which on a point is compared in the memory of its copy: bytes of that size take longer to come by.
LARGE = 1 << 12


class _Point:
    """A point at which something was computed; SciPy asks again with copies of it."""

    def __init__(self):
        self.copy = self.bytes = None

    def is_at(self, x):
        if x.size < LARGE:
            return x.tobytes() == self.bytes
        return self.copy is not None and np.array_equal(x, self.copy)

    def move(self, x):
        if x.size < LARGE:
            self.bytes = x.tobytes()
        elif self.copy is None:
            self.copy = np.array(x)
        else:
            self.copy[...] = x

    def forget(self):
        self.bytes = None
        if self.copy is not None:
            self.copy[...] = np.nan  # equal to nothing


def followed(caller, f, x):
    """f(x); where `ad` cannot follow the function, an error that names what else there is."""
    try:
        return f(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        if is_untraceable(error):
            raise differences_instead(caller, error) from error
        raise


class _Function:
    """What both kinds share: a look at the first evaluation, after which SciPy can be left to itself."""

    def __init__(self, packing, f):
        self.packing, self.f = packing, f
        self.is_first = True

    def result(self, x):
        """What f returns of a flat vector, plain or one of ours."""
        return followed(self.packing.caller, self.f, self.packing.unpack(x))

    def plain(self, x):
        """The value alone, by NumPy."""
        y = self.call(x)
        if self.is_first:
            self._look_at(y)
            self.is_first = False
        return y

    def _look_at(self, y):
        if y.dtype.kind not in "biuf":
            remedy = "return its real part, or abs()" if y.dtype.kind == "c" else "return numbers"
            raise self._error(f"f returned a value of dtype {y.dtype}; {remedy}", TypeError)
        bad = np.flatnonzero(~np.isfinite(y))
        if bad.size:
            where = f" in element {bad[0]} of {y.size}" if y.ndim else ""
            raise self._error(f"f is {y.reshape(-1)[bad[0]]}{where} at x0; start where it is finite", ValueError)

    def _look_at_gradient(self, x_bar):
        bad = np.flatnonzero(~np.isfinite(x_bar))
        if bad.size:
            raise self._error(f"the derivative of f by {self.packing.name(bad[0])} is {x_bar[bad[0]]} at x0, where f "
                              "is finite; start from another point, or guard f there with np.where", ValueError)

    def _constant(self):
        return self._error("f does not depend on x: what it returns is a constant, or an integer; compute it from the "
                           "argument of f, without x.numpy() or ad.stop_gradient", TypeError)

    def _error(self, message, error):
        return error(f"{self.packing.caller}: {message}")


class Scalar(_Function):
    """A function to minimise: value and gradient from one evaluation, kept for the point that was last asked for.

    `f` takes the container alone. SciPy asks for the value and for the gradient of a point one after the other, and for
    a Hessian or its products at the point where it has the gradient.
    """

    def __init__(self, packing, f):
        super().__init__(packing, f)
        self.at, self.linear_at = _Point(), _Point()
        # f may be constant in places: whether it is at x0 is asked in `_first`
        self.value_and_grad = gradient_of("value_and_grad", self.call, 0, False, with_value=True, warns=False)
        self._grad = gradient_of("grad", self.call, 0, False, with_value=False, warns=False)
        self._hessian = hessian_of(self.call, 0, False, warns=False)

    def call(self, x):
        """The value at a flat vector, plain or one of ours, as something without axes."""
        y = self.result(x)
        return y if isinstance(y, Array) and not y.ndim else self._one_number(y)

    def value(self, x):
        if not self.at.is_at(x):
            self._evaluate(x)
        return self.y

    def gradient(self, x):
        if not self.at.is_at(x):
            self._evaluate(x)
        return self.x_bar

    def _evaluate(self, x):
        self.at.forget()  # f may raise
        self.x_bar = None  # a large one makes room for the next
        if self.is_first:
            self.y, self.x_bar = self._first(x)
            self._look_at_gradient(self.x_bar)
        else:
            self.y, self.x_bar = self.value_and_grad(x)
        self.at.move(x)

    def _first(self, x):
        """The value and the gradient at the first point, from a tape, which knows what is unconnected."""
        watched = constant(x)
        with GradientTape() as tape:
            tape.watch(watched)
            y = self.call(watched)
            values = y.numpy() if isinstance(y, Array) else y
            self._look_at(values)
        x_bar = tape.gradient(y, watched) if isinstance(y, Array) else None
        if x_bar is None:
            raise self._constant()
        self.is_first = False
        return values, x_bar.numpy()

    def hessian(self, x):
        return self._hessian(x)

    def product(self, x, v):
        """The Hessian times `v`; the gradient is recorded once for all products at a point."""
        if not self.linear_at.is_at(x):
            self.linear_at.forget()
            _, self.linear = linearize(self._grad, x)
            self.linear_at.move(x)
        return self.linear(np.asarray(v))

    def _one_number(self, y):
        """A value that is not an Array without axes: as such a number, if it is one."""
        if trees.flatten(y)[1] is not trees.LEAF or isinstance(y, (str, bytes)):
            shown = "None: is there a return missing?" if y is None else f"{kind(y)}; return one number"
            raise self._error(f"f returned {shown}", TypeError)
        if not isinstance(y, Array):
            y = np.asarray(y)
        if y.size != 1:
            raise self._error(f"f returned an array of shape {y.shape}; return one number: np.sum it, or, for a sum of "
                              "squares, give the array itself to ad.optimize.least_squares", ValueError)
        if y.dtype.kind in "biu":
            y = y.astype(float)
        return np.reshape(y, ()) if isinstance(y, Array) else y.reshape(())[()]


class Recorded:
    """A function of a vector, and its Jacobian: SciPy asks for that where it has just had the value.

    Parameters
    ----------
    f : callable
    """

    def __init__(self, f):
        self.f, self.at = f, _Point()
        self.record = None

    def value(self, x):
        """What `f` returned, plain."""
        call, _, ys = self._record_at(x)
        return call.values(ys)

    def is_connected(self):
        """Whether the value, an array that was evaluated last, depends on `x`."""
        _, plan, (y,) = self.record
        return y.dtype.kind == "f" and pull(plan, [np.ones(y.shape, y.dtype)])[0] is not None

    def jacobian(self, x):
        return matrix(*self._record_at(x))

    def _record_at(self, x):
        if not self.at.is_at(x):
            self.at.forget()  # f may raise
            self.record = None  # a large one makes room for the next
            call = DifferentiatedCall("jacobian", self.f, (x.copy(),), {}, 0, False)
            self.record = call, *call.record()
            self.at.move(x)
        return self.record


class Outputs(_Function):
    """A function with many outputs as a flat vector, with its derivatives."""

    def __init__(self, packing, f):
        super().__init__(packing, f)
        self._recorded = Recorded(self.call)

    def call(self, x):
        """All outputs at a flat vector, plain or one of ours, in a row."""
        leaves = trees.flatten(self.result(x))[0]
        if not leaves:
            raise self._error("f returned nothing; return an array, or a container of arrays", TypeError)
        rows = [np.reshape(leaf, -1) for leaf in leaves]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def value(self, x):
        return self._recorded.value(x)

    def jacobian(self, x):
        return self._recorded.jacobian(x)

    def hessian(self, x, v):
        """The Hessian of the sum of the outputs weighted by `v`."""
        return hessian_of(lambda x: np.dot(v, self.call(x)), 0, False, warns=False)(x)


class Residuals(Outputs):
    """What must be finite at the start, and depend on `x`.

    Parameters
    ----------
    packing : Packing
    f : callable
    n_wanted : int, optional
        How many outputs it must have.
    records : bool
        Whether a Jacobian is wanted at most of the points where there is a value; else the first value alone is
        recorded.
    """

    def __init__(self, packing, f, n_wanted=None, records=True):
        super().__init__(packing, f)
        self.n_wanted, self.records = n_wanted, records
        self._recorded = Recorded(self._call_and_look)

    def value(self, x):
        if not (self.is_first or self.records):
            return self.call(x)
        y = self._recorded.value(x)
        if self.is_first and not self._recorded.is_connected():
            raise self._constant()
        self.is_first = False
        return y

    def _call_and_look(self, x):
        y = self.call(x)
        if self.is_first:
            self._look_at(y.numpy() if isinstance(y, Array) else y)
        return y

    def _look_at(self, y):
        if self.n_wanted not in (None, y.size):
            raise self._error(f"f must return one number for each of the {self.n_wanted} unknowns, not {y.size}; where "
                              "there are more than unknowns use ad.optimize.least_squares", ValueError)
        super()._look_at(y)
