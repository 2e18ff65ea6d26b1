"""Saved programs: files that hold a program as data. Reading one runs nothing in it.

A file is a fixed head (a mark, the version of the format, the length and the SHA-256 digest of the rest), then arrays
in NumPy's own format: first the text of a JSON document, then the arrays that it refers to by number. Ops are saved by
name, those of users by the names of a module and of the op in it. A file is accepted only if its digest is right and
its content makes a consistent program.
"""
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad import errors
from ad.compiler import checking
from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.guards import Guard
from ad.engine.graph import Aval, Op
from ad.ops import nondifferentiable
from ad.ops.own_op import MissingOwnOp, is_own, own_op_at, reference_of
from ad.ops.table import TABLE, find, has_scipy, import_later
from ad.trees import LEAF, PartialTree, TreeDef

__all__ = ["Contents", "decode_structure", "encode_structure", "from_bytes", "load", "save", "to_bytes"]

_Arrays: TypeAlias = list[NDArray[Any]]  # those after the document in a file

MARK, VERSION = b"\x93adprog\n", 1
HEAD = struct.Struct("<8sIQ32s")  # mark, version, length, digest
OPAQUE = "opaque"  # the form of a NumPy function that has a derivative, but no rule for it
_WRITES = {np.save, np.savetxt, np.savez}  # which a file must not name
_NUMPY_FUNCTIONS = {
    nondifferentiable.name_of(f): f
    for f in {*nondifferentiable.NONDIFFERENTIABLE, *[f for f in vars(np).values() if isinstance(f, np.ufunc)]}
    if f not in _WRITES
}


class Contents(NamedTuple):
    """What a file holds: the parameters of a `Program`."""

    graph: Graph
    arguments: PartialTree | None
    results: PartialTree | None
    guards: tuple[Guard, ...]
    has_custom_rules: bool


def save(contents: Contents, path: str | os.PathLike[str]) -> None:
    """Write a program to a file; see `Program.save`."""
    content = to_bytes(contents)
    with open(_checked_path(path, "Program.save"), "wb") as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> Contents:
    """Read what `save` wrote to a file; see `ad.load`."""
    with open(_checked_path(path, "ad.load"), "rb") as file:
        return from_bytes(file.read(), f"ad.load: {path!s}")


def _checked_path(path: Any, function: str) -> Any:
    if not isinstance(path, (str, bytes, os.PathLike)):  # open() takes an int for the number of an open file
        raise TypeError(f"{function} takes the path of a file, not {errors.kind(path)}")
    return path


def to_bytes(contents: Contents) -> bytes:
    """Return the bytes of a file."""
    graph, arrays = contents.graph, _Arrays()
    document = {
        "inputs": graph.inputs, "outputs": graph.outputs,
        "avals": [[aval.shape, _dtype_name(aval.dtype)] for aval in graph.avals],
        "constants": [[slot, _encode(value, arrays)] for slot, value in graph.constants.items()],
        "instructions": [[_op_name(op), _encode(params, arrays), inputs, outputs, line]
                         for op, params, inputs, outputs, line in graph.instructions],
        "arguments": _encode_tree(contents.arguments, arrays), "results": _encode_tree(contents.results, arrays),
        "relays": contents.has_custom_rules,  # the name that version 1 of the format has for it
        "guards": [[kind, _encode(answer, arrays), line] for kind, answer, line in contents.guards],
    }
    stream = io.BytesIO()
    for array in (np.frombuffer(json.dumps(document).encode(), np.uint8), *arrays):
        np.lib.format.write_array(stream, array, allow_pickle=False)
    body = stream.getvalue()
    return HEAD.pack(MARK, VERSION, len(body), hashlib.sha256(body).digest()) + body


def from_bytes(content: bytes, what: str, imports: bool = False) -> Contents:
    """Return what the bytes of a file hold.

    Parameters
    ----------
    content : bytes
    what : str
        The name of the source in error messages.
    imports : bool
        Whether to import the modules that have the ops of users.

    Returns
    -------
    Contents

    Raises
    ------
    ValueError
        If the bytes are no saved program, damaged, cut short, or of a newer version of the format.
    """
    body = _checked(content, what)
    stream = io.BytesIO(body)
    try:
        document = json.loads(_read_array(stream).tobytes())
        arrays = []
        while stream.tell() < len(body):
            arrays.append(_read_array(stream))
        return _contents(document, arrays, imports)
    except MissingOwnOp as error:
        raise ValueError(f"{what}: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
            RecursionError) as error:
        raise ValueError(f"{what} is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def _checked(content: bytes, what: str) -> bytes:
    """Return what follows the head, after checking it against the head."""
    if content[: len(MARK)] != MARK[: len(content)] or not content:
        raise ValueError(f"{what} is no saved program")
    if len(content) < HEAD.size:
        raise ValueError(f"{what} is cut short: {len(content)} bytes are left of it")
    _, version, length, digest = HEAD.unpack_from(content)
    if version > VERSION:
        raise ValueError(f"{what} has version {version} of the format, and this ad knows {VERSION} at most; update ad")
    body = content[HEAD.size :]
    if len(body) < length:
        raise ValueError(f"{what} is cut short: {len(body)} bytes are left of {length}")
    if version < 1 or len(body) > length or hashlib.sha256(body).digest() != digest:
        raise ValueError(f"{what} is damaged: its digest is not that of its content")
    return body


def _read_array(stream: BinaryIO) -> NDArray[Any]:
    return np.lib.format.read_array(stream, allow_pickle=False)


# -- ops, by name -----------------------------------------------------------------------------------


def _op_name(op: Op) -> Any:
    if is_own(op):
        return dict(zip(("module", "name"), reference_of(op)))
    if op.form in ("nondifferentiable", OPAQUE):
        name: Any = [op.name, op.outputs, *op.parameters, *[OPAQUE][op.form != OPAQUE:]]
    else:
        name = op.name
    try:
        known = _op(name)
    except ValueError:
        known = None
    if known is not op and op.name.endswith("_by_lanes"):
        raise TypeError(f"ad: a program with the op {op.name.removesuffix('_by_lanes')!r}, lane by lane, cannot be "
                        "saved; save that of the function for one lane, and use ad.vmap on what ad.load gives")
    if known is not op:
        raise TypeError(f"ad: a program with the op {op.name!r} cannot be saved: it is not in the table, and none of "
                        "NumPy's own functions, where its reader would look; write the function in ops of ad and "
                        "NumPy, or make it an op by ad.ops; not under custom_gradient or as another library's ufunc")
    return name


def _op(encoded: Any, imports: bool = False) -> Op:
    """Return the op of the table with this name, or the op of a user or of NumPy's that `_op_name` described."""
    if type(encoded) is dict:
        return own_op_at(**encoded, imports=imports)
    if type(encoded) is not str:
        return _numpy_op(*encoded)
    if find(TABLE, encoded) is None and has_scipy():
        import_later()
    op = TABLE[encoded].op if encoded in TABLE else None
    if op is None:
        raise ValueError(f"there is no op {encoded!r}")
    return op


def _numpy_op(name: str, outputs: int, *parameters: str) -> Op:
    found: Op
    opaque = OPAQUE in parameters
    if name == "detached" and outputs == 1:
        found = nondifferentiable.DETACHED
    elif name not in _NUMPY_FUNCTIONS or type(outputs) is not int:
        raise ValueError(f"there is no op {name!r}")
    elif len(parameters) > opaque:
        found = nondifferentiable.call_op(_NUMPY_FUNCTIONS[name], outputs, opaque)
    else:
        make = nondifferentiable.opaque_op if opaque else nondifferentiable.nondifferentiable_op
        found = make(_NUMPY_FUNCTIONS[name], outputs)
    return found


# -- values -----------------------------------------------------------------------------------------
# What JSON has is encoded as itself, except floats; anything else as {tag: content}.


def _encode(value: Any, arrays: _Arrays) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": value.hex()}
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if kind in (tuple, list):
        return {kind.__name__: [_encode(part, arrays) for part in value]}
    if kind is slice:
        return {"slice": [_encode(part, arrays) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": None}
    if kind is nondifferentiable.Hole:
        return {"hole": int(value)}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": _dtype_name(np.dtype(value))}
    if isinstance(value, (np.ndarray, np.generic)):
        _dtype_name(value.dtype)
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    raise TypeError(f"ad: a program with the parameter {' '.join(repr(value).split()):.40} cannot be saved: "
                    f"there is no form for a {kind.__name__}")


def _decode(value: Any, arrays: _Arrays) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    ((tag, content),) = value.items()
    return _DECODERS[tag](content, arrays)


_DECODERS: dict[str, Callable[[Any, _Arrays], Any]] = {
    "float": lambda x, _: float.fromhex(x),
    "complex": lambda x, _: complex(float.fromhex(x[0]), float.fromhex(x[1])),
    "tuple": lambda x, arrays: tuple([_decode(part, arrays) for part in x]),
    "list": lambda x, arrays: [_decode(part, arrays) for part in x],
    "slice": lambda x, arrays: slice(*[_decode(part, arrays) for part in x]),
    "ellipsis": lambda x, _: Ellipsis,
    "hole": lambda x, _: nondifferentiable.Hole(x),
    "dtype": lambda x, _: _dtype(x),
    "array": lambda x, arrays: arrays[x],
    "scalar": lambda x, arrays: arrays[x][()],
}


def _dtype_name(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in "biufc":
        raise TypeError(f"ad: a program with values of dtype {dtype} cannot be saved; those of numbers can")
    return dtype.str


def _dtype(name: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(name)
    if type(name) is not str or dtype.kind not in "biufc":
        raise ValueError(f"there is no dtype {name!r}")
    return dtype


# -- programs ---------------------------------------------------------------------------------------


def _contents(document: dict[str, Any], arrays: _Arrays, imports: bool) -> Contents:
    graph = Graph(
        tuple(document["inputs"]), tuple(document["outputs"]),
        tuple([Instruction(_op(op, imports), _decode(params, arrays), tuple(inputs), tuple(outputs), line)
               for op, params, inputs, outputs, line in document["instructions"]]),
        {slot: _decode(value, arrays) for slot, value in document["constants"]},
        tuple([Aval(tuple(shape), _dtype(dtype)) for shape, dtype in document["avals"]]),
    )
    contents = Contents(
        graph, _decode_tree(document["arguments"], arrays), _decode_tree(document["results"], arrays),
        tuple([Guard(kind, _decode(answer, arrays), line) for kind, answer, line in document["guards"]]),
        document["relays"] is True,
    )
    checking.check_program(graph, contents.arguments, contents.results, contents.guards)
    return contents


# -- the trees of arguments and results ------------------------------------------------------------------


def _encode_tree(tree: PartialTree | None, arrays: _Arrays) -> Any:
    if tree is None:
        return None
    return [encode_structure(tree.structure), [[i, _encode(leaf, arrays)] for i, leaf in tree.fixed.items()]]


def _decode_tree(encoded: Any, arrays: _Arrays) -> PartialTree | None:
    if encoded is None:
        return None
    structure, fixed = encoded
    return PartialTree(decode_structure(structure), {int(i): _decode(leaf, arrays) for i, leaf in fixed})


_CONTAINERS: dict[str, Any] = {"dict": dict, "list": list, "tuple": tuple, "NoneType": type(None)}


def encode_structure(structure: TreeDef) -> Any:
    """Return a `trees.TreeDef` of dicts, lists, tuples, None and leaves as JSON has it.

    Raises
    ------
    TypeError
        For other containers: a file could only name their class.
    """
    if structure is LEAF:
        return "leaf"
    if structure.kind not in _CONTAINERS.values():
        raise TypeError(f"ad: a program with a {structure.kind.__name__} among its arguments or results cannot be "
                        "saved; use dicts, lists and tuples")
    keys = _encode([*structure.keys] if structure.kind is dict else None, [])
    return [structure.kind.__name__, keys, [encode_structure(child) for child in structure.children]]


def decode_structure(encoded: Any) -> TreeDef:
    """Return the `trees.TreeDef` that `encode_structure` encoded; raise ValueError for anything else."""
    if encoded == "leaf":
        return LEAF
    try:
        kind, keys, children = encoded
        kind = _CONTAINERS[kind]
        children = tuple([decode_structure(child) for child in children])
        keys = tuple(_decode(keys, [])) if kind is dict else range(len(children)) if kind is not type(None) else ()
        checking.require(len(set(keys)) == len(keys) == len(children), "keys and parts do not match")
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"ad: {encoded!r:.60} is no structure of arguments ({error})") from None
    return TreeDef(kind, keys, children)
