"""The table: an entry for every op and every function written in ops, by name and by the callables it stands for."""
from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ad.engine.graph import Op
from ad.engine.public_functions import add_method
from ad.ops.documentation import EXACT, Accuracy, Point
from ad.ops.domains import REAL
from ad.ops.traits import TRAITS, Traits, traits_of

__all__ = [
    "FAMILIES", "FUNCTIONS", "LATER", "TABLE", "UFUNCS", "Entry", "find", "has_scipy", "import_families",
    "import_later", "op_named", "ops_named", "register",
]

_Function = Callable[..., Any]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Entry:
    """One op or function: its name, what it stands for, its traits, where to sample it, what to watch out for.

    Attributes
    ----------
    name, form : str
    function : callable
        The public function.
    numpy : tuple of callables
        The functions of NumPy and SciPy that it stands for.
    op : Op or None
        None for a composite.
    traits : Traits
    domain : callable or tuple of callables, optional
        `domain(rng, shape)` samples an input; in a tuple there is one for each input.
    cases : sequence
        Calls to test it with (`case`); an elementwise entry needs none.
    points : sequence of Point
        Singular points with the derivatives there.
    singular : str
        All that is known of singular points, `points` included.
    accuracy : Accuracy
        Of the first derivatives of an elementwise op.
    """

    def __init__(self, name: str, function: _Function, form: str, *, numpy: tuple[_Function, ...] = (),
                 op: Op | None = None, domain: Any = None, cases: Sequence[Any] = (), points: Sequence[Point] = (),
                 singular: str = "", accuracy: Accuracy = EXACT) -> None:
        self.name, self.function, self.form, self.op, self.accuracy = name, function, form, op, accuracy
        self.numpy, self.domain, self.cases, self.points, self.singular = numpy, domain, cases, points, singular

    @property
    def traits(self) -> Traits:
        return Traits() if self.op is None else traits_of(self.op)

    def sample(self, rng: np.random.Generator, inputs: Sequence[Any] | None = None,
               dtype: Any = np.float64) -> list[Any]:
        """Positional arguments to call the entry with.

        Parameters
        ----------
        rng : numpy.random.Generator
        inputs : sequence, optional
            As in a case: tuples are shapes to sample. By default those of the first case; for an elementwise entry
            without cases, vectors.
        dtype : dtype_like
            The floating or complex dtype of what is sampled.
        """
        if inputs is None:
            inputs = self.cases[0][0] if self.cases else ((10,),) * (self.op.arity if self.op else 1)
        domains = self.domain if isinstance(self.domain, tuple) else (self.domain,)
        return [_sample(x, domains[min(i, len(domains) - 1)] or REAL, rng, dtype) for i, x in enumerate(inputs)]

    def __repr__(self) -> str:
        return f"<table entry {self.name} ({self.form})>"


def _sample(x: Any, domain: _Function, rng: np.random.Generator, dtype: Any) -> Any:
    if isinstance(x, list):
        return [_sample(part, domain, rng, dtype) for part in x]
    if not isinstance(x, tuple):
        return x
    value = np.asarray(domain(rng, x))
    if value.dtype.kind != "f":
        return value
    if np.dtype(dtype).kind == "c":
        value = value + 0.25j * REAL(rng, x)
    return np.asarray(value, dtype)


TABLE: dict[str, Entry] = {}
UFUNCS: dict[_Function, _Function] = {}  # NumPy ufunc -> public function
FUNCTIONS: dict[_Function, _Function] = {}  # NumPy function -> public function
# Modules whose entries are made when one is first used; their names are taken from the start.
FAMILIES: list[str] = []  # those of NumPy's rarer functions, in the order in which one is looked for
LATER: list[str] = []  # those of SciPy's functions


def _is_importing_later() -> bool:
    """Whether SciPy's entries are being made, or are there: all their modules import this one first."""
    return "ad.ops.scipy_support" in sys.modules


def import_families() -> None:
    """Make the entries of the modules in `FAMILIES`."""
    for module in FAMILIES:
        importlib.import_module(module)


def find(table: dict[_Key, _Value], key: _Key) -> _Value | None:
    """Return what one of the tables has for a key, or None; families are imported until one has made its entry."""
    for module in FAMILIES:
        if key in table:
            break
        importlib.import_module(module)
    return table.get(key)


def has_scipy() -> bool:
    """Whether SciPy is installed."""
    from importlib.util import find_spec  # not with the library, for the time that it takes

    return find_spec("scipy") is not None


def import_later() -> None:
    """Make the entries of the modules in `LATER`: those of SciPy's functions."""
    for module in LATER:
        importlib.import_module(module)


def op_named(name: str) -> Any:
    """Return the op of an entry of the table; entries that are made later are made when they are first asked for."""
    if find(TABLE, name) is None:
        import_later()
    return TABLE[name].op


def ops_named(names: str) -> list[Op]:
    """Return the ops of entries whose names are separated by blanks, without composites, which have none.

    For modules that look their ops up once, when they are imported; from there on an op is told by its identity.
    """
    return [op for name in names.split() if (op := op_named(name)) is not None]


def _make_later_entries() -> None:
    """Make all entries that are made later, SciPy's if it is installed."""
    import_families()
    if LATER and not _is_importing_later() and has_scipy():
        import_later()


def register(entry: Entry, method: bool | str = False, function: _Function | None = None,
             traits: Traits | None = None) -> None:
    """Add an entry to the tables.

    Parameters
    ----------
    entry : Entry
    method : bool or str
        Whether the function is a method of Array, or under what name.
    function : callable, optional
        What NumPy's protocol and the methods call, if not the entry's own function.
    traits : Traits, optional
    """
    function = function or entry.function
    if entry.name not in TABLE and not entry.function.__module__.startswith("ad.ops."):
        _make_later_entries()  # whose names are taken
    if TABLE.setdefault(entry.name, entry) is not entry:
        raise ValueError(f"ad: the table has an op {entry.name!r} already; give this one another name")
    if entry.op is not None and traits is not None:
        TRAITS[entry.op] = traits
    for callable_ in entry.numpy:
        (UFUNCS if isinstance(callable_, np.ufunc) else FUNCTIONS)[callable_] = function
    if method:
        add_method(entry.name if method is True else method, function)
