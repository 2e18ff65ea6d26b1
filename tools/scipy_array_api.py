"""Write docs/scipy_array_api.md: which of SciPy's functions for the array API standard run on values of ours.

    python tools/scipy_array_api.py                      # write the page
    python tools/scipy_array_api.py special.erf fft.dct  # print the rows of these functions

The calls that are tried are in scipy_calls.txt, beside this file.
"""
import contextlib
import dataclasses
import importlib
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

os.environ["SCIPY_ARRAY_API"] = "1"  # which SciPy reads when it is imported

import numpy
import scipy
from scipy._lib._array_api import xp_capabilities_table
from scipy.stats import qmc

import ad
import ad.numpy as np

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scipy_array_api.md"
CALLS = Path(__file__).with_name("scipy_calls.txt")
UFUNC_ARGUMENTS = ("x", "x + 1, x", "x + 1, x + 2, x", "x + 1, x + 2, x + 3, x")
MODES = ("value", "reverse", "forward", "compiled", "vmap")
SECONDS = 20  # for one function in one mode
NONE = "–"  # of a function whose result has no derivative

X = 0.5 + 0.4 * numpy.sin(numpy.arange(12.0) ** 2)
OTHER_X = X + 0.01 * numpy.cos(numpy.arange(12.0))
DIRECTION = numpy.sin(numpy.arange(12.0) + 1)

HEAD = """\
# SciPy's functions for the array API standard

% Made by tools/scipy_array_api.py; change that, not this page.

Some of SciPy's functions are written for every library that follows the array API standard. They ask their arguments
whose arrays they are, if the environment has `SCIPY_ARRAY_API=1` before SciPy is imported. For values of ours the
answer is [`ad.numpy`](numpy_namespace.md), and many of these functions can be differentiated as they are.

All arrays that one call is given have to be ours, constants as well: SciPy refuses a mixture of libraries. Inside a
function that is being differentiated `ad.numpy` makes such arrays, and `np.array(values, like=x)` does everywhere. With
`SCIPY_ARRAY_API=1`, arrays of integers and truths are ours there, too: comparisons, `argsort` and `arange` give Arrays.

The tables are what happens with SciPy {scipy} and NumPy {numpy}: {reverse} of {all} functions run in reverse mode.

- *value*: on an `Array` outside differentiation. *reverse*: `ad.grad`. *forward*: `ad.jvp`. *compiled*:
  `ad.compile(ad.grad(f))`, called again with other values. *vmap*: `ad.vmap`.
- *yes*: the value is what SciPy gives for NumPy's arrays, and the derivative that of central differences.
- *–*: it runs, and the result has no derivative: it is of integers, or does not depend on the values.
- *converts*: the function converts to NumPy's arrays, for compiled code. That is an error for a value that is being
  differentiated; [an op of your own](own_ops.md) can call it.
- *mixes*: SciPy itself makes a plain array, and refuses it beside ours.
"""
TAIL = """\
## Not tried

SciPy says of these functions, too, that they follow the standard: {names}.
"""


class Call(NamedTuple):
    """A call that is tried."""

    module: str
    name: str
    expression: str

    @property
    def title(self) -> str:
        return f"{self.module.removeprefix('scipy.')}.{self.name}"


# -- which calls ---------------------------------------------------------------------------------


def follows(function: Any) -> bool:
    """Whether SciPy says that a function follows the standard."""
    try:
        entry = xp_capabilities_table.get(function)
    except TypeError:  # not hashable
        return False
    return entry is not None and not entry["np_only"] and not entry["out_of_scope"]


def functions_of(module: str) -> list[str]:
    """The names of the functions of a module that follow the standard."""
    found = importlib.import_module(module)
    return sorted({name for name in found.__all__ if follows(getattr(found, name, None))})


def calls() -> tuple[list[Call], list[str]]:
    """The calls that can be tried, and the titles of the functions for which there is none."""
    tried, untried = [], []
    for module, expressions in _written().items():
        names = functions_of(module)
        here = {call.name: call for call in (_call(module, expression) for expression in expressions)}
        for name in sorted({*names, *here}):
            call = here.get(name) or _call_of_ufunc(module, name)
            if call is None:
                untried.append(Call(module, name, "").title)
            else:
                tried.append(call)
    return tried, untried


def _written() -> dict[str, list[str]]:
    """module -> the calls in the file."""
    found: dict[str, list[str]] = {}
    for line in CALLS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            module = line.strip("[]")
            found[module] = []
        elif line and not line.startswith("#"):
            found[module].append(line)
    return found


def _call(module: str, line: str) -> Call:
    titled = re.match(r"([\w.]+): (.*)", line)
    name, expression = titled.groups() if titled else (line.partition("(")[0], line)
    return Call(module, name, expression)


def _call_of_ufunc(module: str, name: str) -> Call | None:
    function = getattr(importlib.import_module(module), name)
    ufunc = getattr(function, "__wrapped__", function)
    if not isinstance(ufunc, numpy.ufunc) or ufunc.nin > len(UFUNC_ARGUMENTS):
        return None
    return Call(module, name, f"{name}({UFUNC_ARGUMENTS[ufunc.nin - 1]})")


# -- what is compared ----------------------------------------------------------------------------


def function_of(call: Call) -> Callable[[Any], list[Any]]:
    """The call as a function of `x` that returns the arrays of real or complex numbers in the result."""
    code = compile(call.expression, call.title, "eval")
    names = vars(importlib.import_module(call.module))

    def function(x: Any) -> list[Any]:
        def constant(values: Any) -> Any:
            return np.array(numpy.array(values, float), like=x)

        scope = {**names, "x": x, "X": np.reshape(x, (3, 4)), "c": constant, "xp": x.__array_namespace__(),
                 "seeded": lambda d: qmc.Sobol(d, rng=1)}
        return list(arrays_in(eval(code, scope)))

    return function


def arrays_in(y: Any) -> Iterator[Any]:
    """The arrays in a result: in tuples, in dicts and in the fields of a dataclass."""
    if dataclasses.is_dataclass(y):
        y = [getattr(y, field.name) for field in dataclasses.fields(y)]
    if isinstance(y, dict):
        y = tuple(y.values())
    if isinstance(y, (tuple, list)):
        for part in y:
            yield from arrays_in(part)
    elif isinstance(y, (float, complex)) or hasattr(y, "dtype"):
        yield y


def loss_of(function: Callable[[Any], list[Any]]) -> Callable[[Any], Any]:
    """A number with every element of the result in it."""

    def loss(x: Any) -> Any:
        total = 0.0 * np.sum(x)
        for y in function(x):
            if np.asarray(y).dtype.kind in "fc":
                flat = np.reshape(np.asarray(y), (-1,))
                weights = numpy.cos(numpy.arange(flat.size))
                total = total + np.sum(np.real(flat) * weights)
                if flat.dtype.kind == "c":
                    total = total + np.sum(np.imag(flat) * numpy.sin(1 + weights))
        return total

    return loss


def central_differences(loss: Callable[[Any], Any], x: Any) -> Any:
    h = 1e-5
    return numpy.array([(loss(x + h * e) - loss(x - h * e)) / (2 * h) for e in numpy.eye(x.size)])


def require(got: Any, want: Any, tolerance: float) -> None:
    """Raise if two arrays differ."""
    got, want = numpy.asarray(got), numpy.asarray(want)
    if got.shape != want.shape:
        raise Difference("another shape")
    scale = 1 + numpy.max(numpy.abs(want), initial=0, where=numpy.isfinite(want))
    if not numpy.allclose(got, want, rtol=0, atol=tolerance * scale, equal_nan=True):
        raise Difference("another result")


class Difference(Exception):
    """Two results differ."""


# -- the modes -----------------------------------------------------------------------------------


def try_value(call: Call, _gradient: Any) -> None:
    function = function_of(call)
    got, want = function(ad.constant(X)), function(X)
    if len(got) != len(want):
        raise Difference("another result")
    for y, wanted in zip(got, want):
        require(y, wanted, 1e-12)


def try_reverse(call: Call, gradient: Any) -> None:
    loss = loss_of(function_of(call))
    value, found = ad.value_and_grad(loss)(X)
    require(value, loss(X), 1e-12)
    require(found, gradient, 1e-4)


def try_forward(call: Call, gradient: Any) -> None:
    loss = loss_of(function_of(call))
    value, found = ad.jvp(loss, (X,), (DIRECTION,))
    require(value, loss(X), 1e-12)
    require(found, gradient @ DIRECTION, 1e-4)


def try_compiled(call: Call, gradient: Any) -> None:
    loss = loss_of(function_of(call))
    compiled = ad.compile(ad.grad(loss))
    require(compiled(X), gradient, 1e-4)
    require(compiled(OTHER_X), central_differences(loss, OTHER_X), 1e-4)


def try_vmap(call: Call, _gradient: Any) -> None:
    loss = loss_of(function_of(call))
    require(ad.vmap(loss)(numpy.stack([X, OTHER_X])), [loss(X), loss(OTHER_X)], 1e-10)


TRIES = dict(zip(MODES, (try_value, try_reverse, try_forward, try_compiled, try_vmap)))


def row(call: Call) -> str:
    """The row of the table for a call."""
    loss = loss_of(function_of(call))
    if not function_of(call)(X):
        raise ValueError(f"{call.title}: no array in the result of the sample call {call.expression}")
    with quiet():
        gradient = central_differences(loss, X)
    if not numpy.all(numpy.isfinite(gradient)):
        raise ValueError(f"{call.title}: the sample call {call.expression} has no finite derivative")
    cells = [cell(call, mode, gradient) for mode in MODES]
    if not numpy.any(gradient):
        cells = [cells[0], *[NONE if found == "yes" else found for found in cells[1:]]]
    return f"| `{call.title}` | {' | '.join(cells)} |"


def cell(call: Call, mode: str, gradient: Any) -> str:
    """Yes, or why a mode does not work, in a few words."""
    try:
        with quiet(), alarm():
            TRIES[mode](call, gradient)
    except Exception as error:
        return reason_of(error)
    return "yes"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Raise if it takes too long."""

    def ring(*_: Any) -> NoReturn:
        raise Difference("too slow")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


REASONS = {
    "would make a constant of": "converts", "could not convert b, a, and x": "converts",
    "Multiple namespaces": "mixes", "is not a supported array type": "mixes",
}


def reason_of(error: Exception) -> str:
    if isinstance(error, Difference):
        return str(error)
    text = str(error)
    for part, reason in REASONS.items():
        if part in text:
            return reason
    missing = re.search(r"no rule for (?:NumPy's )?([\w.]+)|([\w.]+) has no rule", text)
    if missing:
        return f"no rule for `{missing[1] or missing[2]}`"
    first = re.split(r"\. |[;:\n(|]", text.removeprefix("ad: "))[0].strip()
    return f"{type(error).__name__}: {first[:50].strip()}".rstrip(": ")


# -- the page ------------------------------------------------------------------------------------


def page() -> str:
    """The whole page."""
    tried, untried = calls()
    rows = {call: row(call) for call in tried}
    head = HEAD.format(scipy=scipy.__version__, numpy=numpy.__version__, all=len(rows), reverse=sum(
        line.split("|")[2 + MODES.index("reverse")].strip() in ("yes", NONE) for line in rows.values()))
    sections = []
    for module in dict.fromkeys(call.module for call in tried):
        lines = [line for call, line in rows.items() if call.module == module]
        sections.append("\n".join([
            f"## {module}\n", f"| function | {' | '.join(MODES)} |", "|---" * (1 + len(MODES)) + "|", *lines, ""]))
    names = ", ".join(f"`{name}`" for name in untried)
    return "\n".join([head, *sections, TAIL.format(names=names)])


def main(titles: list[str]) -> None:
    if not titles:
        PAGE.write_text(page(), encoding="utf-8")
        return
    for call in calls()[0]:
        if call.title in titles:
            print(row(call))


if __name__ == "__main__":
    main(sys.argv[1:])
