"""Every public function, class and method says in NumPy's style what it takes: all of it, and nothing else."""
import ast
import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest

import ad
from ad.ops import TABLE

pytest.importorskip("scipy")  # ad.optimize

MODULES = [ad, ad.optimize, ad.optimizers, ad.optimizers.schedules, ad.testing,
           importlib.import_module("ad.ops.own_forms")]
SOURCES = [ast.parse(path.read_text(encoding="utf-8")) for ending in ("py", "pyi")
           for path in Path(ad.__file__).parent.rglob(f"*.{ending}")]
CLASSES = {node.name: node for source in SOURCES for node in source.body if isinstance(node, ast.ClassDef)}
ELSEWHERE = re.compile("As (`numpy|ndarray)")  # of a docstring that says where the parameters are described
FUNCTIONS = [entry.function for entry in TABLE.values()]
OF_TABLE = {*FUNCTIONS, *map(inspect.unwrap, FUNCTIONS)}  # methods of Array too, with the same docstring
STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}


def public():
    """What can be called, by its name: what the modules list, but not the table, and the methods of their classes."""
    found = {f"{module.__name__}.{name}": getattr(module, name) for module in MODULES for name in module.__all__
             if module is not ad or name not in TABLE}
    classes = [value for value in found.values() if inspect.isclass(value) and not issubclass(value, enum.Enum)]
    bases = {base for of_module in classes for base in of_module.__mro__}
    for cls in [base for base in bases if base.__module__.partition(".")[0] == "ad"]:
        found |= {f"{cls.__name__}.{name}": getattr(cls, name) for name in vars(cls)
                  if not name.startswith("_") and not is_described_above(cls, name)}
    return {name: value for name, value in sorted(found.items()) if callable(value)}


def is_described_above(cls, name):
    """Whether a method has its docstring from the one whose place it takes."""
    return not vars(cls)[name].__doc__ and any(name in vars(base) for base in cls.__mro__[1:])


def parameters(name, value):
    """The names in the signature; for a compiled class, which has none, in that of its stub."""
    try:
        found = [STARS.get(x.kind.name, "") + x.name for x in inspect.signature(value).parameters.values()]
    except ValueError:
        return parameters_of_stub(CLASSES[value.__name__])
    has_self = not (name.startswith("ad.") or inspect.ismethod(value) or value in OF_TABLE)
    return [x for x in found[has_self:] if x != "**unknown"]  # which are refused


def parameters_of_stub(node):
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            return [x.arg for x in function.args.args[1:]]
    return parameters_of_stub(CLASSES[node.bases[0].id]) if node.bases[0].id in CLASSES else []


def documented(text):
    """The names in the section Parameters."""
    section = re.search(r"^Parameters\n-{10}\n(.*?)(?=\n\n\S|\Z)", text, re.MULTILINE | re.DOTALL)
    entries = re.findall(r"^\S.*", section[1], re.MULTILINE) if section else []
    return [name for entry in entries for name in entry.split(" : ")[0].split(", ")]


@pytest.mark.parametrize("name, value", public().items(), ids=public())
def test_the_parameters_are_described(name, value):
    text = inspect.getdoc(value)
    assert text
    if value is not ad.UnconnectedGradients and not ELSEWHERE.search(text):
        assert documented(text) == parameters(name, value)


def test_there_is_something_to_describe():
    assert {"ad.grad", "ad.Dual", "Array.item", "Variable.assign", "Tape.gradient", "GradientTape.jacobian",
            "ForwardAccumulator.jvp", "Optimizer.update", "ad.optimize.root", "ad.testing.check_grads"} <= set(public())
    assert documented("") == []
    assert parameters("ad.Dual", ad.Dual) == ["primal", "tangent"]
    assert parameters("Array.item", ad.Array.item) == ["*args"]
