"""The base of the optimizers: a step with checked and clipped gradients, the learning rate, the state."""
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ad._core import Array
from ad.engine.inspection import is_tracing
from ad.engine.tape import Tape
from ad.engine.variable import Variable
from ad.errors import no_assignment
from ad.optimizers import schedules
from ad.optimizers.gradients import clip_by_global_norm, clip_by_norm, clip_by_value, gradient_for, pair_of
from ad.optimizers.schedules import LearningRateSchedule
from ad.optimizers.settings import RANGES, Configured, checked_number
from ad.optimizers.slots import Slots
from ad.transforms.gradient_tape import GradientTape
from ad.trees import flatten

__all__ = ["Optimizer"]

_OPTIONAL = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm")

_Rate: TypeAlias = float | LearningRateSchedule | Callable[[], float]


class Optimizer(Configured):
    """Base of the optimizers.

    An optimizer keeps some arrays for each variable, its slots (say, the mean of past gradients). It also keeps the
    variables themselves, as a model does, so they live as long as the optimizer.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments that gives a float
        Zero or positive. A schedule is called with the number of steps taken so far.
    weight_decay : float, optional
        Before each step, `x = x - weight_decay * learning_rate * x`.
    clipnorm : float, optional
        Each gradient longer than this is scaled to this length.
    clipvalue : float, optional
        The elements of gradients are clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients together are scaled to this length if longer. Only one of the three can be given.
    name : str, optional

    Attributes
    ----------
    iterations : int
        The number of steps taken so far.

    Notes
    -----
    A subclass defines its formula as `update`, and, if it needs them, `slots` and `coefficients`:

    >>> class SignDescent(ad.optimizers.Optimizer):
    ...     def update(self, x, gradient, learning_rate):
    ...         return x - learning_rate * np.sign(gradient)
    >>> x = ad.Variable([1.0, 2.0])
    >>> SignDescent(0.5).minimize(lambda: (x**2).sum(), x)
    >>> x.numpy()
    array([0.5, 1.5])
    """

    _kinds = "f"  # of the dtypes of variables: formulas that square the gradient are wrong for complex ones

    name: str
    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None

    def __init__(self, learning_rate: _Rate = 0.001, *, weight_decay: float | None = None,
                 clipnorm: float | None = None, clipvalue: float | None = None, global_clipnorm: float | None = None,
                 name: str | None = None, **unknown: Never) -> None:
        if unknown:
            raise TypeError(f"ad: {type(self).__name__} has no argument {next(iter(unknown))!r}; "
                            f"those of every optimizer are learning_rate, {', '.join(_OPTIONAL)} and name")
        self.learning_rate = learning_rate
        self.keep(_OPTIONAL, name=type(self).__name__ if name is None else name, weight_decay=weight_decay,
                  clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        clips = [option for option in _OPTIONAL[1:] if getattr(self, option) is not None]
        if len(clips) > 1:
            raise ValueError(f"ad: {type(self).__name__} clips in one way: give only one of {' and '.join(clips)}")
        self.iterations = 0
        self._slots = Slots()

    # -- the formula

    def slots(self) -> dict[str, float]:
        """Return the names of the arrays kept for each variable, with the initial value of each."""
        return {}

    def coefficients(self, learning_rate: float, step: int) -> Any:
        """Return what `update` needs that is the same for all variables.

        Parameters
        ----------
        learning_rate : float
            The rate of this step.
        step : int
            Counted from 1.

        Returns
        -------
        Any
            By default the learning rate.
        """
        return learning_rate

    if TYPE_CHECKING:
        update: Callable[..., Any]  # of (x, gradient, coefficients, *slots): each optimizer names its own slots
    else:
        def update(self, x, gradient, coefficients, *slots):
            """Return the new value of a variable; changes its slots in place.

            Parameters
            ----------
            x, gradient : ndarray or NumPy scalar
                Of the same shape and dtype; must not be changed.
            coefficients
                The result of the method `coefficients`.
            *slots : ndarray
                Of the same shape and dtype.

            Returns
            -------
            ndarray or NumPy scalar
            """
            raise NotImplementedError(f"ad: the optimizer {type(self).__name__} must define update(self, x, gradient, "
                                      "coefficients, *slots)")

    # -- a step

    @property
    def learning_rate(self) -> float:
        """The rate of the next step; can be set to anything that the constructor takes."""
        given = self._learning_rate
        if not callable(given):
            return given
        rate: Any = given(self.iterations) if isinstance(given, schedules.LearningRateSchedule) else given()
        return float(self._checked_rate(rate.item() if hasattr(rate, "item") else rate))

    @learning_rate.setter
    def learning_rate(self, rate: _Rate) -> None:
        self._learning_rate = rate if callable(rate) else self._checked_rate(rate)

    def _checked_rate(self, rate: Any) -> float:
        return checked_number(type(self).__name__, "learning_rate", rate, RANGES["learning_rate"])

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Array | ArrayLike | None, Variable]]) -> None:
        """Take a step: change each variable by its gradient.

        An error, in whichever pair, leaves all variables and the optimizer as they were.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, Variable)
            Gradients are Arrays or array_like, of the shapes of their variables; they are cast to their dtypes. Pairs
            whose gradient is None are left out, with a warning.

        Raises
        ------
        ValueError
            If every gradient is None, one differs from its variable in shape, or a variable is given twice.
        TypeError
            If something other than a variable of floating dtype is given, or a gradient is not numeric.
        """
        self._apply(grads_and_vars)

    def apply(self, grads: Sequence[Array | ArrayLike | None],
              trainable_variables: Sequence[Variable] | None = None) -> None:
        """Take a step as `apply_gradients` does, with two sequences.

        Parameters
        ----------
        grads : sequence of Array, array_like or None
        trainable_variables : sequence of Variable, optional
            By default the variables seen so far, in that order.
        """
        if trainable_variables is None:
            trainable_variables = self._slots.variables
        if len(grads) != len(trainable_variables):
            raise ValueError(f"ad: apply got {len(grads)} gradients for {len(trainable_variables)} variables")
        self._apply(zip(grads, trainable_variables))

    def minimize(self, loss: Array | Callable[[], Any], var_list: Any, tape: Tape | None = None) -> None:
        """Take the gradient of a loss, and apply it.

        Parameters
        ----------
        loss : callable of no arguments, or an Array computed on `tape`
        var_list : Variable, or a nested structure of them
        tape : GradientTape, optional
        """
        if callable(loss):
            with GradientTape() as tape:
                loss = loss()
        elif tape is None:
            raise ValueError("ad: minimize needs the tape on which the loss was computed, or a callable loss")
        variables = flatten(var_list)[0]
        self._apply(zip(tape.gradient(loss, variables), variables))

    def _apply(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> None:
        gradients, variables = self._checked(grads_and_vars)
        rate, step = self.learning_rate, self.iterations + 1
        coefficients = self.coefficients(rate, step)
        # Nothing raises from here on, so that an error leaves all variables as they were. NaN and infinities are kept.
        with np.errstate(all="ignore"):
            for gradient, variable in zip(self._clipped(gradients), variables):
                slots = self._slots.of(variable, self.slots())
                x = variable.numpy()
                if self.weight_decay:
                    x = x - self.weight_decay * rate * x
                variable.assign(self.update(x, gradient, coefficients, *slots))
        self.iterations = step

    def _clipped(self, gradients: Sequence[NDArray[Any]]) -> Iterable[NDArray[Any]]:
        if self.clipvalue is not None:
            return clip_by_value(gradients, self.clipvalue)
        if self.clipnorm is not None:
            return clip_by_norm(gradients, self.clipnorm)
        if self.global_clipnorm is not None:
            return clip_by_global_norm(gradients, self.global_clipnorm)
        return gradients

    def _checked(self, grads_and_vars: Iterable[Any]) -> tuple[tuple[NDArray[Any], ...], tuple[Variable, ...]]:
        """Return the gradients that are not None, as ndarrays, and their variables."""
        pairs = [(gradient, self._checked_variable(variable)) for gradient, variable in map(pair_of, grads_and_vars)]
        if is_tracing() and pairs:
            raise no_assignment(pairs[0][1].name)
        missing = [variable.name for gradient, variable in pairs if gradient is None]
        if len(missing) == len(pairs):
            raise ValueError(f"ad: no gradients provided for any variable: {missing}; "
                             "the loss must be computed from them in the block of the tape")
        if missing:
            warnings.warn(f"ad: gradients do not exist for the variables {missing}; they stay as they are",
                          stacklevel=4)
        pairs = [(gradient_for(variable, gradient), variable) for gradient, variable in pairs if gradient is not None]
        gradients, variables = zip(*pairs)
        if len({id(variable) for variable in variables}) < len(variables):
            raise ValueError("ad: a variable is there twice in one step: "
                             f"{[variable.name for variable in variables]}; add up its gradients")
        return gradients, variables

    def _checked_variable(self, variable: Any) -> Variable:
        if not isinstance(variable, Variable):
            raise TypeError(f"ad: an optimizer changes variables, not {type(variable).__name__} {variable!r:.60}; "
                            "it takes pairs of (gradient, variable)")
        if variable.dtype.kind not in self._kinds:
            raise TypeError(f"ad: {type(self).__name__} does not change variables of dtype {variable.dtype}, as "
                            f"{variable.name!r} is; give it floating ones (of complex values, the two parts)")
        return variable

    # -- the state

    def build(self, var_list: Any) -> None:
        """Make the slots of variables before the first step.

        Parameters
        ----------
        var_list : Variable, or a nested structure of them
        """
        for variable in map(self._checked_variable, flatten(var_list)[0]):
            self._slots.of(variable, self.slots())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that a later run needs to continue from here, except for the variables' values.

        Returns
        -------
        dict of str to ndarray
            "iterations", "learning_rate" if it is a number, and for the i-th variable seen "i/name of a slot". Save it
            by `np.savez(file, **state)`; give what `np.load` returns to `load_state`.
        """
        state = {"iterations": np.array(self.iterations)}
        if not callable(self._learning_rate):
            state["learning_rate"] = np.array(self._learning_rate)
        return state | self._slots.state(self.slots())

    def load_state(self, state: Mapping[str, NDArray[Any]], var_list: Any = None) -> None:
        """Continue from where `state()` was taken; an error leaves the optimizer as it was.

        Parameters
        ----------
        state : mapping of str to ndarray
        var_list : Variable, or a nested structure of them, optional
            The variables of this run, in the order in which the other optimizer first saw its own. By default those
            that this optimizer has seen.

        Raises
        ------
        ValueError
            If the state is of another optimizer, of another number of variables, or of variables of other shapes.
        """
        if var_list is None:
            variables = self._slots.variables
        else:
            variables = [self._checked_variable(variable) for variable in flatten(var_list)[0]]
        slots = Slots.from_state(type(self).__name__, self.slots(), state, variables)
        if "learning_rate" in state:
            self.learning_rate = float(state["learning_rate"])
        self.iterations = int(state["iterations"])
        self._slots = slots

    def get_config(self) -> dict[str, Any]:
        rate: Any = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rate = schedules.serialize(rate)
        return {"learning_rate": rate, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any],
                    custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None) -> Self:
        """Make an optimizer, without state, with the settings that `get_config` returned.

        Parameters
        ----------
        config : dict
        custom_objects : dict, optional
            Classes of schedules that are not in `ad.optimizers.schedules`, by name.
        """
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = {**config, "learning_rate": schedules.deserialize(rate, custom_objects)}
        return cls(**config)
