"""The arrays that an optimizer keeps for each variable."""
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.engine.variable import Variable

__all__ = ["Slots"]


class Slots:
    """The variables that an optimizer has seen, each with its slots: arrays of its shape and dtype."""

    def __init__(self, entries: Iterable[tuple[Variable, list[NDArray[Any]]]] = ()) -> None:
        self._entries = {id(variable): (variable, slots) for variable, slots in entries}

    @property
    def variables(self) -> list[Variable]:
        """The variables in the order in which they were first seen."""
        return [variable for variable, _ in self._entries.values()]

    def of(self, variable: Variable, initial: Mapping[str, float]) -> list[NDArray[Any]]:
        """Return the slots of a variable; those of one that is seen first are filled with the `initial` values."""
        if id(variable) not in self._entries:
            slots = [np.full(variable.shape, value, variable.dtype) for value in initial.values()]
            self._entries[id(variable)] = variable, slots
        return self._entries[id(variable)][1]

    def state(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return copies of all slots, under "i/name" for the i-th variable and each name."""
        names = list(names)
        return {f"{i}/{name}": np.array(slot) for i, (_, slots) in enumerate(self._entries.values())
                for name, slot in zip(names, slots)}

    @classmethod
    def from_state(cls, owner: str, names: Iterable[str], state: Mapping[str, NDArray[Any]],
                   variables: list[Variable]) -> "Slots":
        """Return the slots of `variables` that `state` gave; other items of it are ignored.

        Raises
        ------
        ValueError
            If the items are those of another optimizer than `owner`, or of other variables.
        """
        names = list(names)
        known = {f"{i}/{name}" for i in range(len(variables)) for name in names} | {"iterations"}
        unmatched = sorted((set(state) - {"learning_rate"}) ^ known)
        if unmatched:
            raise ValueError(f"ad: the state is not one of {owner} with {len(variables)} variables: "
                             f"{unmatched[0]!r} is in one of them only; give the variables as var_list, in order")
        return cls((variable, [_slot(state[f"{i}/{name}"], variable, name) for name in names])
                   for i, variable in enumerate(variables))

    def __reduce__(self) -> tuple[Any, ...]:  # the ids are those of this process
        return type(self), (list(self._entries.values()),)


def _slot(value: NDArray[Any], variable: Variable, name: str) -> NDArray[Any]:
    if value.shape != variable.shape:
        raise ValueError(f"ad: the state's {name} is of shape {value.shape}, for variable {variable.name!r} "
                         f"of shape {variable.shape}")
    return np.array(value, variable.dtype)
