"""Functions of the flat vector with their derivatives, in the forms in which SciPy calls them."""
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ad import trees
from ad._core import Array, constant
from ad.engine.boundary import pull
from ad.errors import differences_instead, is_untraceable, kind
from ad.optimize.packing import Packing
from ad.transforms import gradient_of, hessian_of, linearize
from ad.transforms.differentiated_call import DifferentiatedCall, Function
from ad.transforms.gradient_tape import GradientTape
from ad.transforms.jacobians import matrix

__all__ = ["Outputs", "Point", "RecordedFunction", "Residuals", "Scalar", "Vector", "differentiable_call"]

Vector: TypeAlias = NDArray[np.float64]
_E = TypeVar("_E", bound=Exception)

# From this size on, a point is compared with a copy of the last one: allocating bytes of that size takes longer.
LARGE = 1 << 12


class Point:
    """The last point at which something was computed; SciPy asks for more at copies of it."""

    def __init__(self) -> None:
        self.copy: Any = None
        self.bytes: bytes | None = None

    def is_at(self, x: Vector) -> bool:
        if x.size < LARGE:
            return x.tobytes() == self.bytes
        return self.copy is not None and np.array_equal(x, self.copy)

    def move(self, x: Vector) -> None:
        if x.size < LARGE:
            self.bytes = x.tobytes()
        elif self.copy is None:
            self.copy = np.array(x)
        else:
            self.copy[...] = x

    def forget(self) -> None:
        self.bytes = None
        if self.copy is not None:
            self.copy[...] = np.nan  # equal to nothing


def differentiable_call(caller: str, f: Function, x: Any, name: str = "f", instead: str | None = None) -> Any:
    """Call f(x); if `ad` cannot differentiate it, raise an error that names the alternative."""
    try:
        return f(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        if is_untraceable(error):
            raise differences_instead(caller, error, name, instead) from error
        raise


class _Function:
    """Base of the functions that SciPy calls: checks the first evaluation."""

    # How the user gets finite differences, if not as errors say by default; empty where there are none.
    instead: str | None = None

    def __init__(self, packing: Packing, f: Function) -> None:
        self.packing, self.f = packing, f
        self.is_first = True

    def result(self, x: Any) -> Any:
        """Call f at a flat vector, an ndarray or an Array."""
        return differentiable_call(self.packing.caller, self.f, self.packing.unpack(x), instead=self.instead)

    def call(self, x: Any) -> Any:
        """Return the value at a flat vector, an ndarray or an Array, in the form that SciPy takes."""
        raise NotImplementedError

    def value_only(self, x: Vector) -> Any:
        """Return the value, without preparing for a derivative."""
        y = self.call(x)
        if self.is_first:
            self._check_value(y)
            self.is_first = False
        return y

    def _check_value(self, y: Any) -> None:
        if y.dtype.kind not in "biuf":
            remedy = "return its real part, or abs()" if y.dtype.kind == "c" else "return numbers"
            raise self._error(f"f returned a value of dtype {y.dtype}; {remedy}", TypeError)
        bad = np.flatnonzero(~np.isfinite(y))
        if bad.size:
            where = f" in element {bad[0]} of {y.size}" if y.ndim else ""
            raise self._error(f"f is {y.reshape(-1)[bad[0]]}{where} at x0; start where it is finite", ValueError)

    def _check_gradient(self, x_bar: Vector) -> None:
        bad = np.flatnonzero(~np.isfinite(x_bar))
        if bad.size:
            raise self._error(f"the derivative of f by {self.packing.name(bad[0])} is {x_bar[bad[0]]} at x0, where f "
                              "is finite; start from another point, or guard f there with np.where", ValueError)

    def _constant(self) -> TypeError:
        return self._error("f does not depend on x: what it returns is a constant, or an integer; compute it from the "
                           "argument of f, without x.numpy() or ad.stop_gradient", TypeError)

    def _error(self, message: str, error: type[_E]) -> _E:
        return error(f"{self.packing.caller}: {message}")


class Scalar(_Function):
    """A function to minimise: value and gradient come from one evaluation, and are kept for the last point.

    `f` takes the container alone. SciPy asks for the value and for the gradient of a point one after the other, and for
    a Hessian or its products at the point where it has the gradient.
    """

    def __init__(self, packing: Packing, f: Function) -> None:
        super().__init__(packing, f)
        self.at, self.linear_at = Point(), Point()
        # f may be constant in places, but not at x0: `_first` checks that
        self.value_and_grad = gradient_of("value_and_grad", self.call, 0, False, with_value=True, warns=False)
        self._grad = gradient_of("grad", self.call, 0, False, with_value=False, warns=False)
        self._hessian = hessian_of(self.call, 0, False, warns=False)

    def call(self, x: Any) -> Any:
        """Return the value at a flat vector, an ndarray or an Array, without axes."""
        y = self.result(x)
        return y if isinstance(y, Array) and not y.ndim else self._one_number(y)

    def value(self, x: Vector) -> Any:
        if not self.at.is_at(x):
            self._evaluate(x)
        return self.y

    def gradient(self, x: Vector) -> Any:
        if not self.at.is_at(x):
            self._evaluate(x)
        return self.x_bar

    def _evaluate(self, x: Vector) -> None:
        self.at.forget()  # f may raise
        self.x_bar = None  # frees a large one before the next is computed
        if self.is_first:
            self.y, self.x_bar = self._first(x)
            self._check_gradient(self.x_bar)
        else:
            self.y, self.x_bar = self.value_and_grad(x)
        self.at.move(x)

    def _first(self, x: Vector) -> tuple[Any, Any]:
        """Compute value and gradient at the first point on a tape, which tells if they are unconnected."""
        watched = constant(x)
        with GradientTape() as tape:
            tape.watch(watched)
            y = self.call(watched)
            values = y.numpy() if isinstance(y, Array) else y
            self._check_value(values)
        x_bar = tape.gradient(y, watched) if isinstance(y, Array) else None
        if x_bar is None:
            raise self._constant()
        self.is_first = False
        return values, x_bar.numpy()

    def hessian(self, x: Vector) -> Any:
        return self._hessian(x)

    def product(self, x: Vector, v: Any) -> Any:
        """Return the Hessian times `v`; the gradient is recorded once for all products at a point."""
        if not self.linear_at.is_at(x):
            self.linear_at.forget()
            _, self.linear = linearize(self._grad, x)
            self.linear_at.move(x)
        return self.linear(np.asarray(v))

    def _one_number(self, y: Any) -> Any:
        """Return a value that is one number without axes; raise if it is anything else."""
        if trees.flatten(y)[1] is not trees.LEAF or isinstance(y, (str, bytes)):
            found = "None: is there a return missing?" if y is None else f"{kind(y)}; return one number"
            raise self._error(f"f returned {found}", TypeError)
        if not isinstance(y, Array):
            y = np.asarray(y)
        if y.size != 1:
            raise self._error(f"f returned an array of shape {y.shape}; return one number: np.sum it, or, for a sum of "
                              "squares, give the array itself to ad.optimize.least_squares", ValueError)
        if y.dtype.kind in "biu":
            y = y.astype(float)
        return np.reshape(y, ()) if isinstance(y, Array) else y.reshape(())[()]


class RecordedFunction:
    """A function of a vector, recorded at each point for the Jacobian that SciPy asks for after the value.

    Parameters
    ----------
    f : callable
    """

    def __init__(self, f: Function) -> None:
        self.f, self.at = f, Point()
        self.evaluation: Any = None  # at the last point: (DifferentiatedCall, plan, outputs)

    def value(self, x: Vector) -> Any:
        """Return the value of `f`, an ndarray or a container of ndarrays."""
        call, _, ys = self._evaluated_at(x)
        return call.values(ys)

    def is_connected(self) -> bool:
        """Whether the value of the last evaluation, one array, depends on `x`."""
        _, plan, (y,) = self.evaluation
        return y.dtype.kind == "f" and pull(plan, [np.ones(y.shape, y.dtype)])[0] is not None

    def jacobian(self, x: Vector) -> Any:
        return matrix(*self._evaluated_at(x))

    def _evaluated_at(self, x: Vector) -> Any:
        if not self.at.is_at(x):
            self.at.forget()  # f may raise
            self.evaluation = None  # frees a large one before the next is computed
            call = DifferentiatedCall("jacobian", self.f, (x.copy(),), {}, 0, False)
            self.evaluation = call, *call.record()
            self.at.move(x)
        return self.evaluation


class Outputs(_Function):
    """A function with many outputs as a flat vector, with its derivatives."""

    def __init__(self, packing: Packing, f: Function) -> None:
        super().__init__(packing, f)
        self._recorded = RecordedFunction(self.call)

    def call(self, x: Any) -> Any:
        """Return all outputs at a flat vector, an ndarray or an Array, as a flat vector."""
        leaves = trees.flatten(self.result(x))[0]
        if not leaves:
            raise self._error("f returned nothing; return an array, or a container of arrays", TypeError)
        rows = [np.reshape(leaf, -1) for leaf in leaves]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def value(self, x: Vector) -> Any:
        return self._recorded.value(x)

    def jacobian(self, x: Vector) -> Any:
        return self._recorded.jacobian(x)

    def hessian(self, x: Vector, v: Any) -> Any:
        """Return the Hessian of the sum of the outputs weighted by `v`."""
        return hessian_of(lambda x: np.dot(v, self.call(x)), 0, False, warns=False)(x)


class Residuals(Outputs):
    """Outputs that must be finite at the start, and depend on `x`.

    Parameters
    ----------
    packing : Packing
    f : callable
    n_wanted : int, optional
        The number of outputs that it must have.
    records : bool
        Whether SciPy asks for a Jacobian at most of the points where it asks for the value. If not, only the first
        evaluation is recorded.
    """

    def __init__(self, packing: Packing, f: Function, n_wanted: int | None = None, records: bool = True) -> None:
        super().__init__(packing, f)
        self.n_wanted, self.records = n_wanted, records
        self._recorded = RecordedFunction(self._checked_call)

    def value(self, x: Vector) -> Any:
        if not (self.is_first or self.records):
            return self.call(x)
        y = self._recorded.value(x)
        if self.is_first and not self._recorded.is_connected():
            raise self._constant()
        self.is_first = False
        return y

    def _checked_call(self, x: Any) -> Any:
        y = self.call(x)
        if self.is_first:
            self._check_value(y.numpy() if isinstance(y, Array) else y)
        return y

    def _check_value(self, y: Any) -> None:
        if self.n_wanted not in (None, y.size):
            raise self._error(f"f must return one number for each of the {self.n_wanted} unknowns, not {y.size}; where "
                              "there are more than unknowns use ad.optimize.least_squares", ValueError)
        super()._check_value(y)
