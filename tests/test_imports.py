"""Imports run one way, in functions too: a module imports from its own layer and from those below it."""
import ast
import graphlib
import re
from pathlib import Path

import pytest

import ad

ROOT = Path(ad.__file__).parent
# From the lowest to the highest. A module belongs to the longest of these names that it begins with.
LAYERS = (
    ("ad.errors", "ad.trees", "ad.data", "ad.mirrors"),
    ("ad._core", "ad.engine"),
    ("ad.ops",),
    ("ad.linalg", "ad.fft", "ad.special"),
    ("ad.transforms",),
    ("ad.compiler.ir",),
    ("ad.compiler.passes", "ad.compiler.machine", "ad.compiler.tracing"),
    ("ad.compiler",),
    ("ad.sparse",),
    ("ad.optimize", "ad.optimizers", "ad.testing"),
    ("ad.scipy",),
    ("ad.numpy",),
    ("ad", "ad.__main__"),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# Imports that run the other way: (importer, imported) -> why it has to be.
HOOKS = {
    ("ad.ops.matrix_functions", "ad.transforms"):
        "the derivative of a function of matrices takes derivatives of the scalar function that the caller gives",
    ("ad.ops.standard", "ad.numpy"): "`Array.__array_namespace__` returns it",
}
CIMPORT = re.compile(r"^\s*(?:from\s+(ad[\w.]*)\s+c?import\s+(\([^)]*\)|[^\n#]*)|c?import\s+(ad[\w.]*))", re.MULTILINE)
BY_NAME = re.compile(r'import_module\("(ad[\w.]*)"\)')


def module_name(path):
    return ".".join(("ad", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


FILES = [path for path in ROOT.rglob("*") if path.suffix in (".py", ".pyx", ".pxd")]
MODULES = {module_name(path) for path in FILES}


def imported_by_python(tree):
    """Dotted names of what a syntax tree imports: (module, name in it) or (module, "")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def imported_by_cython(text):
    for source, names, module in CIMPORT.findall(text):
        yield from [(source, name) for name in re.findall(r"\w+(?:\s+as\s+\w+)?", names)] if source else [(module, "")]


def imports_of(path):
    text = path.read_text(encoding="utf-8")
    found = imported_by_python(ast.parse(text)) if path.suffix == ".py" else imported_by_cython(text)
    for module, name in [*found, *((name, "") for name in BY_NAME.findall(text))]:
        member = f"{module}.{name.split()[0]}" if name else module
        if member in MODULES or module in MODULES:
            yield member if member in MODULES else module


def import_graph():
    graph = {name: set() for name in MODULES}
    for path in FILES:
        name = module_name(path)
        graph[name].update(set(imports_of(path)) - {name})
    return graph


GRAPH = import_graph()


def level_of(name):
    while name not in LEVELS:
        name = name.rpartition(".")[0]
    return LEVELS[name]


def test_every_module_is_read():
    assert {"ad._core", "ad.engine.graph", "ad.ops", "ad.ops.forms", "ad.compiler.program"} <= set(GRAPH)
    assert "ad.engine.graph" in GRAPH["ad._core"] and "ad.ops.forms" in GRAPH["ad.ops.ufuncs"]


def test_no_layer_imports_from_one_above():
    upwards = {(a, b) for a, found in GRAPH.items() for b in found if level_of(b) > level_of(a)}
    assert upwards <= set(HOOKS), sorted(upwards - set(HOOKS))


def test_there_is_no_circle():
    one_way = {a: {b for b in found if (a, b) not in HOOKS} for a, found in GRAPH.items()}
    try:
        graphlib.TopologicalSorter(one_way).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_hook_is_still_there():
    assert all(b in GRAPH[a] for a, b in HOOKS), [hook for hook in HOOKS if hook[1] not in GRAPH[hook[0]]]
