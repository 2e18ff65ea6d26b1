"""Saved programs: a file that holds a program as data, and from which nothing is ever run.

The file is a fixed head (a mark, the version of the format, the length and the SHA-256 digest of the rest), then arrays
in NumPy's own format: first the text of a JSON document, then those that it refers to by number. Ops are saved by
name. A file is believed only if its digest is right and what it says makes a program.
"""
import hashlib
import importlib.util
import io
import json
import os
import struct

import numpy as np

from ad import errors
from ad.compiler.ir import checking
from ad.compiler.ir.graph import Instruction
from ad.compiler.ir.guards import Guard
from ad.compiler.program import Program
from ad.engine.graph import Aval
from ad.ops import nondifferentiable
from ad.ops.forms import TABLE
from ad.trees import LEAF, PartialTree, TreeDef

__all__ = ["decode_structure", "encode_structure", "from_bytes", "load", "save", "to_bytes"]

MARK, VERSION = b"\x93adprog\n", 1
HEAD = struct.Struct("<8sIQ32s")  # mark, version, length, digest
OPAQUE = "opaque"  # the form of an op by NumPy that has a derivative, and no rule for it
_WRITES = {np.save, np.savetxt, np.savez}  # which no file may ask for
_PLAIN = {
    nondifferentiable.name_of(f): f
    for f in {*nondifferentiable.PLAIN, *[f for f in vars(np).values() if isinstance(f, np.ufunc)]} if f not in _WRITES
}


def save(program, path):
    """Write a program to a file; see `Program.save`."""
    content = to_bytes(program)
    with open(_checked_path(path, "Program.save"), "wb") as file:
        file.write(content)


def load(path):
    """The program that `Program.save` wrote to a file. Nothing in the file is run.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        If the file is no saved program, damaged, cut short, or of a newer version of the format.
    TypeError
        If `path` is no path.
    """
    with open(_checked_path(path, "ad.load"), "rb") as file:
        return from_bytes(file.read(), f"ad.load: {path}")


def _checked_path(path, function):
    if not isinstance(path, (str, bytes, os.PathLike)):  # open() takes an int for the number of an open file
        raise TypeError(f"{function} takes the path of a file, not {errors.kind(path)}")
    return path


def to_bytes(program):
    """What a file of this program holds."""
    arrays = []
    document = {
        "inputs": program.inputs, "outputs": program.outputs,
        "avals": [[aval.shape, _dtype_name(aval.dtype)] for aval in program.avals],
        "constants": [[slot, _encode(value, arrays)] for slot, value in program.constants.items()],
        "instructions": [[_op_name(op), _encode(params, arrays), inputs, outputs, line]
                         for op, params, inputs, outputs, line in program.instructions],
        "arguments": _encode_frame(program.arguments, arrays), "results": _encode_frame(program.results, arrays),
        "relays": program.relays,
        "guards": [[kind, _encode(answer, arrays), line] for kind, answer, line in program.guards],
    }
    body = io.BytesIO()
    for array in (np.frombuffer(json.dumps(document).encode(), np.uint8), *arrays):
        np.lib.format.write_array(body, array, allow_pickle=False)
    body = body.getvalue()
    return HEAD.pack(MARK, VERSION, len(body), hashlib.sha256(body).digest()) + body


def from_bytes(content, what="ad: a pickled program"):
    """The program in the bytes of a file; `what` is it called in errors."""
    body = _checked(content, what)
    stream = io.BytesIO(body)
    try:
        document = json.loads(_read_array(stream).tobytes())
        arrays = []
        while stream.tell() < len(body):
            arrays.append(_read_array(stream))
        return _program(document, arrays)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
            RecursionError) as error:
        raise ValueError(f"{what} is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def _checked(content, what):
    """What follows the head, if the head is right about it."""
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


def _read_array(stream):
    return np.lib.format.read_array(stream, allow_pickle=False)


# -- ops, by name -----------------------------------------------------------------------------------


def _op_name(op):
    if op.form in ("nondifferentiable", OPAQUE):
        name = [op.name, op.outputs, *op.parameters, *[OPAQUE][op.form != OPAQUE:]]
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
                        "NumPy, not under custom_gradient or as another library's ufunc")
    return name


def _op(name):
    """The op of this name: of the table, or with the number of its outputs that of a NumPy function."""
    if type(name) is str:
        if name not in TABLE and importlib.util.find_spec("scipy"):
            importlib.import_module("ad.ops.special")
        if name not in TABLE or TABLE[name].op is None:
            raise ValueError(f"there is no op {name!r}")
        return TABLE[name].op
    name, outputs, *parameters = name
    if name == "detached" and outputs == 1:
        return nondifferentiable.DETACHED
    if name not in _PLAIN or type(outputs) is not int:
        raise ValueError(f"there is no op {name!r}")
    opaque = OPAQUE in parameters
    if len(parameters) > opaque:
        return nondifferentiable.call_op(_PLAIN[name], outputs, opaque)
    return (nondifferentiable.opaque_op if opaque else nondifferentiable.plain_op)(_PLAIN[name], outputs)


# -- values -----------------------------------------------------------------------------------------
# What JSON has stands for itself, but for floats; anything else is {tag: content}.


def _encode(value, arrays):
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


def _decode(value, arrays):
    if value is None or type(value) in (bool, int, str):
        return value
    ((tag, content),) = value.items()
    return _DECODERS[tag](content, arrays)


_DECODERS = {
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


def _dtype_name(dtype):
    if dtype.kind not in "biufc":
        raise TypeError(f"ad: a program with values of dtype {dtype} cannot be saved; those of numbers can")
    return dtype.str


def _dtype(name):
    dtype = np.dtype(name)
    if type(name) is not str or dtype.kind not in "biufc":
        raise ValueError(f"there is no dtype {name!r}")
    return dtype


# -- programs ---------------------------------------------------------------------------------------


def _program(document, arrays):
    program = Program(
        tuple(document["inputs"]), tuple(document["outputs"]),
        tuple([Instruction(_op(op), _decode(params, arrays), tuple(inputs), tuple(outputs), line)
               for op, params, inputs, outputs, line in document["instructions"]]),
        {slot: _decode(value, arrays) for slot, value in document["constants"]},
        tuple([Aval(tuple(shape), _dtype(dtype)) for shape, dtype in document["avals"]]),
        _decode_frame(document["arguments"], arrays), _decode_frame(document["results"], arrays),
        tuple([Guard(kind, _decode(answer, arrays), line) for kind, answer, line in document["guards"]]),
        document["relays"] is True,
    )
    checking.validate(program)
    return program


# -- the nesting of arguments and results --------------------------------------------------------------


def _encode_frame(frame, arrays):
    if frame is None:
        return None
    return [encode_structure(frame.structure), [[i, _encode(leaf, arrays)] for i, leaf in frame.fixed.items()]]


def _decode_frame(encoded, arrays):
    if encoded is None:
        return None
    structure, fixed = encoded
    return PartialTree(decode_structure(structure), {int(i): _decode(leaf, arrays) for i, leaf in fixed})


def encode_structure(structure):
    """A `trees.TreeDef` as JSON has it: of dicts, lists, tuples, None and leaves.

    Raises
    ------
    TypeError
        For other containers, whose class a file could only name.
    """
    if structure is LEAF:
        return "leaf"
    if structure.kind not in (dict, list, tuple, type(None)):
        raise TypeError(f"ad: a program with a {structure.kind.__name__} among its arguments or results cannot be "
                        "saved; use dicts, lists and tuples")
    keys = _encode([*structure.keys] if structure.kind is dict else None, None)
    return [structure.kind.__name__, keys, [encode_structure(child) for child in structure.children]]


def decode_structure(encoded):
    """The `trees.TreeDef` that `encode_structure` encoded; a ValueError for anything else."""
    if encoded == "leaf":
        return LEAF
    try:
        kind, keys, children = encoded
        kind = {"dict": dict, "list": list, "tuple": tuple, "NoneType": type(None)}[kind]
        children = tuple([decode_structure(child) for child in children])
        keys = tuple(_decode(keys, ())) if kind is dict else range(len(children)) if kind is not type(None) else ()
        checking.require(len(set(keys)) == len(keys) == len(children), "keys and parts do not match")
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"ad: {encoded!r:.60} is no structure of arguments ({error})") from None
    return TreeDef(kind, keys, children)
