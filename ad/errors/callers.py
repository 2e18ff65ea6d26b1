"""Find the call that asks for the value of an Array, so that error messages can name it and its remedy.

A conversion (`float`, `np.asarray`) does not know who asked for it. The calling frames do: they have the line of the
user's code, the expression that is being evaluated there, and the public function of the library that was called.
"""
import ast
import builtins
import dis
import inspect
import itertools
import linecache
import sys
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Caller", "find_caller"]

PACKAGE = __name__.partition(".")[0]
CONVERSIONS = ("bool", "complex", "float", "int")
# Modules of the standard library that act on behalf of their callers.
TRANSPARENT = {"contextlib", "concurrent", "copy", "functools", "pickle", "threading"}


class Caller(NamedTuple):
    """Where a conversion comes from.

    Attributes
    ----------
    place : str
        File and line of the user's code; empty if there is none.
    text : str
        The call that is evaluated there, or its line; empty if the source is not known.
    function : str
        The function that is called, with its module ("math.sin", "scipy.stats.norm.logpdf"), or the type of what an
        operator is used with ("pandas.Series"); empty if not known.
    is_call : bool
        Whether it is a call.
    writes : bool
        Whether it is an assignment to an element, `out[i] = x`.
    """

    place: str = ""
    text: str = ""
    function: str = ""
    is_call: bool = False
    writes: bool = False


LONGEST = 10_000  # instructions: finding the source position of a later one takes milliseconds


def find_caller() -> Caller:
    """Return the `Caller` of the conversion under way; an empty one if reading the frames fails.

    Returns
    -------
    Caller
    """
    try:
        return _caller_of(sys._getframe(1))
    except Exception:  # code without lines, attributes that raise: the message must not hide its error
        return Caller()


def _caller_of(frame: FrameType | None) -> Caller:
    entered = None
    while frame is not None and _is_foreign(frame):
        if _package(frame) not in (PACKAGE, "numpy") and _package(frame) not in TRANSPARENT:
            entered = frame  # in the end the outermost: the function that the user called
        frame = frame.f_back
    if frame is None:
        return Caller(function="" if entered is None else _name_of_frame(entered))
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    place = f"{frame.f_code.co_filename}, line {frame.f_lineno}"
    segment = _segment(frame)
    node = _parsed(segment)
    is_call = isinstance(node, ast.Call)
    called = _called(node, frame) if isinstance(node, ast.Call) else _builder(node, frame)
    if entered is not None:
        called = _public_name(called, _name_of_frame(entered) if is_call else _type_in_frame(entered))
    return Caller(place, segment if is_call else line, called, is_call, _is_assignment(frame, entered))


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_foreign(frame: FrameType) -> bool:
    """Whether a frame belongs to an installed library, this one or another, and not to the user's code."""
    package = _package(frame)
    if package == "__main__":
        return False
    filename = frame.f_code.co_filename
    return package in (PACKAGE, *TRANSPARENT) or "site-packages" in filename or "dist-packages" in filename


def _name_of_frame(frame: FrameType) -> str:
    """Return the module, class and name of the function that a frame runs."""
    module = _public_module(frame.f_globals.get("__name__", ""))
    return f"{module}.{_owner(frame.f_locals.get('self'))}{frame.f_code.co_name}".removesuffix(".__call__")


def _type_in_frame(frame: FrameType) -> str:
    """Return the library and the type of the object whose method a frame runs."""
    owner = frame.f_locals.get("self")
    module = _public_module(type(owner).__module__ if owner is not None else frame.f_globals.get("__name__", ""))
    return f"{'.'.join(module.split('.')[:2])}.{_owner(owner)}".rstrip(".")


def _owner(owner: Any) -> str:
    """Return the name that a user gives to the owner of a method: a distribution, or a type."""
    if owner is None:
        return ""
    name = type(owner).__name__.removesuffix("_gen")
    if type(owner).__module__.startswith("scipy.stats"):  # others may run code when an attribute is read
        owner = getattr(owner, "dist", owner)  # of a frozen distribution
        name = getattr(owner, "name", None) or type(owner).__name__.removesuffix("_gen")
    return f"{name}."


def _public_module(name: str) -> str:
    """Return a module's name up to its first private part."""
    parts = str(name).split(".")
    if parts[0].startswith("_"):
        return parts[0].lstrip("_")  # what is written in C: _pickle
    return ".".join(parts[: next((i for i, part in enumerate(parts) if part.startswith("_")), len(parts))])


def _public_name(called: str, entered: str) -> str:
    """Return the name by which the user called a library whose functions then called others."""
    library = entered.partition(".")[0]
    return called if called.partition(".")[0] == library else entered


def _segment(frame: FrameType) -> str:
    """Return the source of the expression that a frame is evaluating; empty if it is not known."""
    i = frame.f_lasti // 2
    positions = next(itertools.islice(frame.f_code.co_positions(), i, None), None) if i < LONGEST else None
    if positions is None or None in positions:
        return ""
    first, last, begin, end = (i or 0 for i in positions)
    lines = [linecache.getline(frame.f_code.co_filename, i).encode() for i in range(first, last + 1)]
    if not all(lines):
        return ""
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    return " ".join(b"".join(lines).decode(errors="replace").split())


def _parsed(segment: str) -> ast.expr | None:
    """Return the syntax tree of an expression or an assignment target; None for anything else."""
    try:
        return ast.parse(segment, mode="eval").body if segment else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_assignment(frame: FrameType, entered: FrameType | None) -> bool:
    """Whether the frame is assigning to an element; reading an element converts its index only."""
    return entered is None and dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("STORE_SUBSCR", "STORE_SLICE")


def _called(node: ast.Call, frame: FrameType) -> str:
    """Return the module and name of the function that an expression calls; empty if it is not known."""
    function = _looked_up(node.func, frame)
    if isinstance(node.func, ast.Call) and _looked_up(node.func.func, frame) is np.vectorize:
        return "numpy.vectorize"
    if function is None:
        return _unknown(node.func)
    if isinstance(function, np.vectorize):  # which goes by the name of what it calls
        return "numpy.vectorize"
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if getattr(function, "__module__", None) == "builtins" and owner is builtins:
        return ""  # such as map, which calls something else
    if isinstance(function, type) and function.__module__ == "builtins":
        return name if name in CONVERSIONS else ""  # not a list or tuple of what calls something else
    if inspect.ismodule(owner):
        return f"{_public_module(owner.__name__)}.{name}"
    module = _public_module(getattr(function, "__module__", None) or type(owner).__module__)
    return f"{module}.{_owner(owner)}{name}"


def _builder(node: ast.expr | None, frame: FrameType) -> str:
    """Return `numpy.r_` or `numpy.c_`, which are called by an index; empty for anything else."""
    owner = _looked_up(node.value, frame) if isinstance(node, ast.Subscript) else None
    return "numpy.r_" if owner is np.r_ else "numpy.c_" if owner is np.c_ else ""


def _unknown(node: ast.expr) -> str:
    """Return the name of a method of an unknown object as it is written."""
    if not isinstance(node, ast.Attribute):
        return ""
    text = f"ndarray.{node.attr}" if hasattr(np.ndarray, node.attr) else ast.unparse(node)
    return text if len(text) <= 60 else ""


def _looked_up(node: ast.expr, frame: FrameType) -> Any:
    """Look up the object that a dotted name stands for in a frame, without running code of the user."""
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in names:
                return names[node.id]
        return None
    if not isinstance(node, ast.Attribute):
        return None
    owner = _looked_up(node.value, frame)
    is_library = inspect.ismodule(owner) or type(owner).__module__.partition(".")[0] in ("numpy", "scipy", "pandas")
    return getattr(owner, node.attr, None) if is_library else None
