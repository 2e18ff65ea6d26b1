"""Saved programs: what was saved is loaded, and any other file is refused."""
import collections
import copy
import dataclasses
import hashlib
import json
import pickle

import crash_saved_programs
import numpy as np
import pytest
from programs import Builder, assert_same_results, names
from test_table import CALLS, arrays, flat

import ad
from ad import trees
from ad.compiler import serialization
from ad.compiler.program import Program, from_bytes, to_bytes
from ad.engine.graph import Op
from ad.ops import nondifferentiable


def program():
    """A program with every kind of constant and parameter, and values for it."""
    b, x = Builder(), None
    x = b.input(np.arange(12.0).reshape(3, 4))
    rows = b.getitem(x, params=((slice(1, None), ..., None, np.array([0, 2])),), line="model.py:7")
    y = b.add(b.astype(rows, params=(np.dtype("c16"),)), 0.1 + np.nan * 1j)
    parts = b.eigh_parts(b.contract(x, x, params=("...ab,...cb->...ac",)), params=("L",))
    z = b.multiply(np.float32(3.0), b.multiply(-0.0, b.add(np.inf, b.multiply(2, np.linspace(0, 1, 4, dtype="f4")))))
    less = b.run(nondifferentiable.nondifferentiable_op(np.less), (x, 3.0))
    found = b.run(nondifferentiable.call_op(np.argmax, 1), (x,), ((nondifferentiable.Hole(0),), (("axis", 1),)))
    return b.program(y, *parts, z, less, found, x), [np.arange(12.0).reshape(3, 4)]


def assert_same_program(a, b):
    assert str(a) == str(b)
    assert (a.inputs, a.outputs) == (b.inputs, b.outputs)
    assert [(i.op, i.line) for i in a.instructions] == [(i.op, i.line) for i in b.instructions]
    for slot, value in a.constants.items():
        assert type(b.constants[slot]) is type(value)
        assert np.asarray(b.constants[slot]).tobytes() == np.asarray(value).tobytes()


def test_a_file_holds_every_field_of_a_program():
    fields = [field.name for field in dataclasses.fields(Program) if field.init]
    assert [*serialization.Contents._fields] == fields


def test_load_gives_what_was_saved(tmp_path):
    saved, inputs = program()
    saved.save(tmp_path / "model.ad")
    loaded = ad.load(tmp_path / "model.ad")
    assert_same_program(saved, loaded)
    assert_same_results(saved, loaded, inputs)


@pytest.mark.parametrize("again", [lambda p: pickle.loads(pickle.dumps(p)), copy.copy, copy.deepcopy])
def test_pickle_and_copy(again):
    saved, inputs = program()
    assert_same_program(saved, again(saved))
    assert_same_results(saved, again(saved), inputs)


def test_an_op_that_has_no_name_cannot_be_saved(tmp_path):
    for name in ("mine", "sin"):  # as `custom_gradient` names its op after the function
        b = Builder()
        unknown = b.program(b.run(Op(name, "custom", np.sin), (b.input(1.0),)))
        with pytest.raises(TypeError, match=f"{name}.*not in the table"):
            unknown.save(tmp_path / "model.ad")
    assert not list(tmp_path.iterdir())


def test_objects_cannot_be_saved():
    b = Builder()
    x = b.input(np.ones(2))
    with pytest.raises(TypeError, match="no form for a range"):
        to_bytes(b.program(b.getitem(x, params=(range(1),))))
    with pytest.raises(TypeError, match="dtype object"):
        to_bytes(b.program(b.add(x, np.array([None, 1], object)[1:])))


def test_programs_of_every_op_are_loaded(rng):
    """Loading computes each shape and dtype again, and finds the same."""
    for call in CALLS:
        xs = arrays(args := call.sample(rng))
        if xs:
            saved = ad.record(lambda *xs, call=call, args=args: flat(call, args)(*xs))(*xs)
            if not {instruction.op.name for instruction in saved.instructions} & {"quantile", "spectral_sum"}:
                assert_same_program(saved, from_bytes(to_bytes(saved)))


# -- files that are refused --------------------------------------------------------------------


def one_line(error):
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("ad")


def test_every_damaged_byte_is_seen():
    saved, _ = program()
    content = to_bytes(saved)
    for position in [*range(80), *range(80, len(content), 37), len(content) - 1]:
        for flip in (1, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= flip
            with pytest.raises(ValueError) as error:
                from_bytes(bytes(damaged))
            one_line(error)


def test_every_shortened_file_is_seen():
    saved, _ = program()
    content = to_bytes(saved)
    for length in [*range(80), *range(80, len(content), 53), len(content) - 1]:
        with pytest.raises(ValueError, match="cut short" if length else "no saved program"):
            from_bytes(content[:length])
    with pytest.raises(ValueError, match="damaged"):
        from_bytes(content + b"\0")


@pytest.mark.parametrize("content", [b"", b"import os\n", pickle.dumps([1]), b"\x93NUMPY\x01\x00"], ids=repr)
def test_foreign_files(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match="ad.load: .*other is no saved program") as error:
        ad.load(tmp_path / "other")
    one_line(error)


def test_a_newer_file():
    saved, _ = program()
    content = bytearray(to_bytes(saved))
    content[len(serialization.MARK)] += 1
    with pytest.raises(ValueError, match="has version 2 of the format, .*update ad"):
        from_bytes(bytes(content))


def forged(change):
    """A file with the right digest whose document was changed by hand."""
    b = Builder()
    x = b.input(np.ones(3))
    content = to_bytes(b.program(b.multiply(b.getitem(x, params=(slice(1, None),)), 2.0)))
    body = content[serialization.HEAD.size:]
    start = body.index(b'{"')
    document = json.loads(body[start:])
    change(document)
    body = json.dumps(document).encode()
    stream = serialization.io.BytesIO()
    np.lib.format.write_array(stream, np.frombuffer(body, np.uint8))
    body = stream.getvalue()
    head = (serialization.MARK, serialization.VERSION, len(body), hashlib.sha256(body).digest())
    return serialization.HEAD.pack(*head) + body


FORGERIES = {
    "nothing changed": None,
    "an unknown op": lambda d: d["instructions"][0].__setitem__(0, "os.system"),
    "a function of NumPy that writes": lambda d: d["instructions"][0].__setitem__(0, ["save", 1, "args", "kwargs"]),
    "a function outside NumPy": lambda d: d["instructions"][0].__setitem__(0, ["builtins.eval", 1]),
    "a composite": lambda d: d["instructions"][0].__setitem__(0, "mean"),
    "an unknown tag": lambda d: d["instructions"][0].__setitem__(1, {"object": "x"}),
    "an array that is not there": lambda d: d["constants"][0].__setitem__(1, {"array": 3}),
    "a slot read before it is written": lambda d: d["instructions"].reverse(),
    "a slot written twice": lambda d: d["instructions"].append(d["instructions"][0]),
    "a slot beyond the last": lambda d: d["instructions"][0].__setitem__(3, [99]),
    "a slot that is no number": lambda d: d.__setitem__("inputs", ["0"]),
    "an output that is not there": lambda d: d.__setitem__("outputs", [99]),
    "too many outputs": lambda d: d["instructions"][0].__setitem__(3, [1, 4]),
    "too few inputs": lambda d: d["instructions"][1].__setitem__(2, [1]),
    "another shape": lambda d: d["avals"][3].__setitem__(0, [5]),
    "a negative shape": lambda d: d["avals"][0].__setitem__(0, [-1]),
    "a dtype of objects": lambda d: d["avals"][0].__setitem__(1, "|O"),
    "another shape of a constant": lambda d: d["avals"][2].__setitem__(0, [1]),
    "a part missing": lambda d: d.pop("avals"),
    "a list for a number": lambda d: d["constants"][0].__setitem__(1, {"float": [1]}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files(name):
    if name == "nothing changed":
        assert names(from_bytes(forged(lambda d: None))) == ["getitem", "multiply"]
        return
    with pytest.raises(ValueError, match="is damaged") as error:
        from_bytes(forged(FORGERIES[name]))
    one_line(error)


def aval(slot, shape=None, dtype=None):
    def change(document):
        found = document["avals"][slot]
        document["avals"][slot] = [found[0] if shape is None else shape, dtype or found[1]]
    return change


def params(old, new):
    def change(document):
        text = json.dumps(document["instructions"])
        assert old in text
        document["instructions"] = json.loads(text.replace(old, new))
    return change


def x(shape=(3, 4)):
    return np.linspace(0.1, 2.0, np.prod(shape, dtype=int)).reshape(shape)


# A function, its argument, and what is changed in the file of its program: slot 0 is the argument, the last the result.
LIES = {
    "a slice beyond the end": (lambda a: a[2:], x((8,)), params('"slice": [2', '"slice": [9')),
    "a longer slice": (lambda a: a[2:], x((8,)), aval(-1, [7])),
    "an index out of bounds": (lambda a: a[[0, 2]], x(), aval(0, [2, 4])),
    "a shorter argument": (lambda a: a[[0, 2]] * 2.0, x(), aval(0, [1, 4])),
    "a larger place for zeros": (ad.grad(lambda a: np.sum(a[2:] ** 3)), x((8,)),
                                 params('{"tuple": [8]}', '{"tuple": [9]}')),
    "a smaller place for zeros": (ad.grad(lambda a: np.sum(a[2:] ** 3)), x((8,)),
                                  params('{"tuple": [8]}', '{"tuple": [3]}')),
    "other axes": (lambda a: np.transpose(a, (1, 0)), x(), params('{"tuple": [1, 0]}', '{"tuple": [0, 1]}')),
    "an axis that is not there": (lambda a: np.sum(a, axis=1), x(), params("[1, false]", "[2, false]")),
    "another axis": (lambda a: np.sum(a, axis=1), x(), params("[1, false]", "[0, false]")),
    "a larger shape": (lambda a: np.reshape(a, (4, 3)), x(), params("[4, 3]", "[4, 4]")),
    "a shape of as many elements": (lambda a: np.reshape(a, (4, 3)), x(), params("[4, 3]", "[6, 2]")),
    "a broadcast to more": (lambda a: np.broadcast_to(a, (2, 3, 4)), x(), aval(-1, [5, 3, 4])),
    "a longer join": (lambda a: np.concatenate([a, a]), x(), aval(-1, [9, 4])),
    "a join that ends later": (lambda a: np.concatenate([a, a]), x(), params("[3, 6]", "[3, 9]")),
    "more rows": (lambda a: a @ np.ones((4, 2)), x(), aval(-1, [5, 2])),
    "a product that does not fit": (lambda a: a @ np.ones((4, 2)), x(), aval(0, [3, 5])),
    "a larger inverse": (np.linalg.inv, np.eye(3), aval(-1, [4, 4])),
    "a longer running sum": (np.cumsum, x((5,)), aval(-1, [6])),
    "another dtype of a result": (np.sin, x(), aval(-1, dtype="<f4")),
    "another dtype of an argument": (np.sin, x(), aval(0, dtype="<f4")),
    "a truth that is a number": (lambda a: a > 1.0, x(), aval(-1, dtype="<f8")),
    "an integer that is a number": (np.argmax, x(), aval(-1, dtype="<f8")),
    "a shape too large for memory": (np.sin, x(), aval(0, [1 << 40, 1 << 40])),
}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_contradicts_itself(name):
    f, value, change = LIES[name]
    content = to_bytes(ad.record(f)(value))
    document, constants = crash_saved_programs.parts(content)
    from_bytes(crash_saved_programs.assembled(document, constants))
    change(document)
    with pytest.raises(ValueError, match="is damaged: ") as error:
        from_bytes(crash_saved_programs.assembled(document, constants))
    one_line(error)


# -- the nesting of arguments and results -------------------------------------------------------------


@pytest.mark.parametrize("tree", [
    1.0, None, [], (), {}, [1.0, (2.0, None), {"a": [3.0], 1: 4.0, (1, "b"): None}], ((1.0, 2.0), {})], ids=str)
def test_structures(tree):
    leaves, structure = trees.flatten(tree)
    decoded = serialization.decode_structure(json.loads(json.dumps(serialization.encode_structure(structure))))
    assert decoded == structure
    assert decoded(leaves) == tree


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Layer:
    weight: float


@pytest.mark.parametrize("tree", [Point(1.0, 2.0), [Layer(1.0)], collections.OrderedDict(a=1.0)], ids=str)
def test_structures_with_classes_cannot_be_saved(tree):
    with pytest.raises(TypeError, match="cannot be saved; use dicts, lists and tuples"):
        serialization.encode_structure(trees.flatten(tree)[1])


@pytest.mark.parametrize("encoded", [
    None, "root", [], ["set", None, []], ["list", None, 3], ["dict", ["a"], []], ["dict", {"list": ["a", "a"]},
    ["leaf", "leaf"]], ["dict", {"object": []}, []]], ids=str)
def test_what_is_no_structure(encoded):
    with pytest.raises(ValueError, match="is no structure") as error:
        serialization.decode_structure(encoded)
    one_line(error)


@pytest.mark.parametrize("path", [3, None, 2.5])
def test_a_path_is_no_number_of_an_open_file(path):
    with pytest.raises(TypeError, match=r"^ad.load takes the path of a file, not (an int|None|a float)"):
        ad.load(path)
    with pytest.raises(TypeError, match=r"^Program.save takes the path of a file, not (an int|None|a float)"):
        ad.record(np.sin)(1.0).save(path)


def test_ops_lane_by_lane_are_not_saved(tmp_path):
    program = ad.record(ad.vmap(lambda a: np.linalg.lstsq(a, np.ones(2), None)[0]))(np.stack([np.eye(2), np.eye(2)]))
    with pytest.raises(TypeError, match="the op 'least_squares', lane by lane, cannot be saved; .* use ad.vmap on"):
        program.save(tmp_path / "p.ad")
    assert not list(tmp_path.iterdir())
