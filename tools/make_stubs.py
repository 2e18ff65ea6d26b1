"""Write the type stubs of the functions that the table of ops makes.

    python tools/make_stubs.py            # after a new op, or a changed signature
    python tools/make_stubs.py --check    # fail if a stub differs from the table

The head of each stub is written by hand: imports, and what is not in the table. Everything below MARK comes from the
signatures of the functions, and from the types by parameter name in this file.
"""
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from numpy._globals import _NoValueType

ROOT = Path(__file__).parent.parent
MODULES = ("ad", "ad.linalg", "ad.fft", "ad.special")
MARK = "# Made by tools/make_stubs.py from the table of ops; the lines above are written by hand.\n"
WIDTH = 120

# The types of parameters by name; a name that is not here gets `Any`. `_A` is the type of the result, too.
TYPES = {
    **dict.fromkeys("A a arr array ary b m p v x x1 x2 y z".split(), "_A"),
    **dict.fromkeys("arrays choicelist tup".split(), "Sequence[_A]"),
    **dict.fromkeys("base condition default dx exponent f fill_value fp indices initial nan posinf neginf prepend "
                    "append q start stop to_begin to_end values weights xp a_min a_max min max mean".split(),
                    "ArrayLike"),
    **dict.fromkeys("compute_uv deg endpoint equal_nan full_matrices hermitian keepdims overwrite_input retstep "
                    "return_counts return_index return_inverse returned stable subok upper".split(), "bool"),
    **dict.fromkeys("axis1 axis2 axisa axisb axisc decimals edge_order ind k minlength n num offset".split(), "int"),
    **dict.fromkeys("UPLO casting device kind method mode norm order".split(), "str"),
    **dict.fromkeys("correction ddof left period rcond right".split(), "float"),
    **dict.fromkeys("destination kth reps shape shift source".split(), "_Shape"),
    **dict.fromkeys("indices_or_sections obj repeats".split(), "_Indices"),
    "axis": "_Axis", "condlist": "Sequence[ArrayLike]", "copy": "bool", "dtype": "DTypeLike",
    "function": "Callable[..., Any]", "out": "None", "s": "Sequence[int]", "where": "_Mask",
}
EXCEPTIONS: dict[str, dict[str, str]] = {  # function -> types of parameters that differ from those above
    **dict.fromkeys("fft2 fftn ifft2 ifftn irfft2 irfftn rfft2 rfftn".split(), {"axes": "Sequence[int] | None"}),
    **dict.fromkeys("fftshift ifftshift".split(), {"axes": "_Shape"}),
    **dict.fromkeys("append compress cross cumprod cumsum delete insert repeat sort take".split(), {
        "axis": "int"}),
    **dict.fromkeys("average eigh qr slogdet svd".split(), {"a": "ArrayLike"}),
    "astype": {"dtype": "DTypeLike | None"}, "bincount": {"x": "ArrayLike"}, "block": {"arrays": "Any"},
    "clip": dict.fromkeys("a_min a_max min max".split(), "ArrayLike | None"),
    "divmod": {"x1": "ArrayLike", "x2": "ArrayLike"}, "logsumexp": {"b": "ArrayLike"},
    "partition": {"kind": "str | None"}, "polyval": {"p": "_A | Sequence[_A]"},
    "rollaxis": {"axis": "int", "start": "int"}, "trapezoid": {"x": "ArrayLike"},
    "unique": {"ar": "ArrayLike", "axis": "int"},
}
RESULTS = {  # function -> its result, if that is not of type _A
    **dict.fromkeys("atleast_1d atleast_2d atleast_3d average bincount block eigh einsum gradient linspace logspace qr "
                    "slogdet svd unique".split(), "Any"),
    **dict.fromkeys("array_split dsplit hsplit split vsplit".split(), "list[_A]"),
    "broadcast_arrays": "tuple[_A, ...]", "divmod": "tuple[Any, Any]", "frexp": "tuple[_A, Any]",
    "lstsq": "tuple[_A, Any, Any, Any]", "modf": "tuple[_A, _A]",
}
BY_HAND = {  # function -> its whole stub
    "apply_along_axis": "def apply_along_axis(\n    func1d: Callable[..., Any], axis: int, arr: _A, *args: Any, "
                        "**kwargs: Any\n) -> Any: ...",
    "apply_over_axes": "def apply_over_axes(func: Callable[..., Any], a: _A, axes: int | Sequence[int]) -> Any: ...",
    "piecewise": "def piecewise(x: _A, condlist: ArrayLike, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any: "
                 "...",
    "where": "@overload\ndef where(condition: ArrayLike) -> tuple[NDArray[np.intp], ...]: ...\n"
             "@overload\ndef where(condition: ArrayLike, x: _A, y: _A) -> _A: ...",
}


def functions_of(module: Any) -> dict[str, Any]:
    """Return the functions of a public module that the table makes."""
    names = (*module._FUNCTIONS, *module._RARE) if module.__name__ == "ad" else module.__all__
    return {name: getattr(module, name) for name in names}


def stub_path(module: Any) -> Path:
    return Path(module.__file__).with_suffix(".pyi")


def generated(module: Any) -> str:
    """Return the part of a module's stub below its head."""
    functions = functions_of(module)
    listed = [f'"{name}"' for name in sorted(module.__all__)]
    every = "\n".join(["__all__ = [", *_filled(listed, "    "), "]"])
    return "\n".join([every, "", *[stub_of(name, function) for name, function in functions.items()], ""])


def stub_of(name: str, function: Any) -> str:
    """Return the stub of a function."""
    if name in BY_HAND:
        return BY_HAND[name]
    parameters = list(inspect.signature(function).parameters.values())
    names = [p.name for p in parameters]
    if names == ["x1", "x2", "kwargs"]:
        return f"{name}: _Elementwise2"
    if names in (["a", "b"], ["x1", "x2"]) and name not in RESULTS:
        return f"{name}: _Product"
    parts, result = _parameters(name, parameters), f") -> {RESULTS.get(name, '_A')}: ..."
    line = f"def {name}({', '.join(parts)}{result}"
    return line if len(line) <= WIDTH else "\n".join([f"def {name}(", *_filled(parts, "    "), result])


def _parameters(name: str, parameters: list[inspect.Parameter]) -> list[str]:
    types = TYPES | EXCEPTIONS.get(name, {})
    parts: list[str] = []
    for p, following in zip(parameters, [*parameters[1:], None]):
        if p.kind is p.KEYWORD_ONLY and "*" not in parts and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts.append(_parameter(p, types.get(p.name, "Any")))
        if p.kind is p.POSITIONAL_ONLY and (following is None or following.kind is not p.POSITIONAL_ONLY):
            parts.append("/")
    return parts


def _parameter(p: inspect.Parameter, kind: str) -> str:
    if p.kind is p.VAR_KEYWORD:
        return f"**{p.name}: Any"
    if p.kind is p.VAR_POSITIONAL:
        kind = {"args": "_A", "arys": "ArrayLike"}.get(p.name, "Any")
        return f"*{p.name}: {kind}"
    if p.default is p.empty:
        return f"{p.name}: {kind}"
    if isinstance(p.default, _NoValueType):
        return f"{p.name}: {kind} | _NoValueType = ..."
    if p.name == "axis" and type(p.default) is int:
        kind = "int"
    if p.default is None and kind not in ("Any", "None", "_Axis") and "None" not in kind:
        kind += " | None"
    text = '"' + p.default + '"' if isinstance(p.default, str) else repr(p.default)
    return f"{p.name}: {kind} = {text}"


def _filled(items: list[str], indent: str) -> list[str]:
    """Join items by commas into lines of at most WIDTH characters."""
    lines = [indent]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > WIDTH:
            lines.append(indent)
        lines[-1] += item + ", "
    return [line.rstrip() for line in lines][:-1] + [lines[-1].rstrip(", ")]


def main(arguments: list[str]) -> int:
    """Write the stubs, or check them; return the exit status."""
    stale = []
    for name in MODULES:
        module = importlib.import_module(name)
        path = stub_path(module)
        head, mark, rest = path.read_text(encoding="utf-8").partition(MARK)
        made = f"\n{generated(module)}"
        if rest != made or not mark:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(head + MARK + made, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(stale)}: not as the table has it; run python tools/make_stubs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
