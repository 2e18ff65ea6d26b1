"""Directives that read the table of ops: `op-table`, its entries, and `no-rule`, the functions it does not have."""
import importlib

import numpy as np
from docutils import nodes
from docutils.parsers.rst import Directive

from ad.ops import FUNCTIONS, TABLE
from ad.ops.nondifferentiable import NONDIFFERENTIABLE
from ad.ops.writing import WRITERS

MODULES = (
    "ufuncs", "selection", "reductions", "nan_reductions", "scans", "differences", "matrix_products",
    "contractions", "products", "solvers", "factorisations", "matrix_functions", "linalg", "fourier", "shaping",
    "indexing", "writing", "windows", "joining", "splitting", "filling", "sorting", "mapping", "powers", "bessel",
    "special",
)
COLUMNS = {
    "Name": 18, "Stands for": 22, "Form": 12, "Modes": 12, "Where there is a choice": 20, "Where digits are lost": 16,
}


def by_module():
    """Each module that makes entries, with these."""
    modules = [importlib.import_module(f"ad.ops.{name}") for name in MODULES]
    made = {module: [] for module in modules}
    for entry in TABLE.values():
        made[_home(entry, modules)].append(entry)
    return made.items()


def _home(entry, modules):
    """The module that makes an entry: it lists it in `__all__`, or keeps it to itself; others import it."""
    spellings = [entry.function, getattr(entry.function, "__wrapped__", None)]  # what is public may be a wrapper
    for names_of in (lambda module: module.__all__, vars):
        for module in modules:
            if any(getattr(module, name) is function for name in names_of(module) for function in spellings):
                return module
    raise LookupError(f"op-table: no module of ad.ops makes the entry {entry.name!r}")


def called(function):
    """What a user calls a function of NumPy or SciPy."""
    if not isinstance(function, np.ufunc):
        return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    homes = {"np": np, "np.linalg": np.linalg}
    home = next((name for name, home in homes.items() if getattr(home, function.__name__, None) is function),
                "scipy.special")
    return f"{home}.{function.__name__}"


def modes(entry):
    """The modes that an entry has rules for."""
    if entry.op is None:
        return "those of its parts"
    rules = {"forward": entry.op.jvp or entry.op.partials, "reverse": entry.op.vjp or entry.op.partials}
    return ", ".join(mode for mode, rule in rules.items() if rule)


def row(entry):
    """The cells of an entry, as they are shown."""
    stands_for = [part for function in entry.numpy for part in (nodes.Text(", "), _code(called(function)))][1:]
    return [[_code(entry.name)], stands_for, [nodes.Text(entry.form)], [nodes.Text(modes(entry))],
            [nodes.Text(entry.singular)], [nodes.Text(entry.accuracy.reason)]]


def _code(text):
    return nodes.literal(text, text)


def _table(rows):
    group = nodes.tgroup("", *[nodes.colspec(colwidth=width) for width in COLUMNS.values()], cols=len(COLUMNS))
    group += nodes.thead("", _row([[nodes.Text(title)] for title in COLUMNS]))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group, classes=["op-table"])


def _row(cells):
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells])


class OpTable(Directive):
    """A section with a table for every module of `ad.ops`."""

    def run(self):
        sections = []
        for module, entries in by_module():
            name = module.__name__.rpartition(".")[2]
            section = nodes.section("", nodes.title(name, name), ids=[f"op-table-{name}"], names=[f"op-table-{name}"])
            summary = module.__doc__.partition("\n")[0].replace("`", "")
            section += [nodes.paragraph(summary, summary), _table(map(row, entries))]
            sections.append(section)
        return sections


def without_rule(module):
    """The functions of a module of NumPy that raise `MissingRule` where something is being differentiated."""
    functions = [getattr(module, name) for name in sorted(module.__all__)]
    return [function.__name__ for function in functions if _asks_us(function) and function not in NONDIFFERENTIABLE
            and function not in FUNCTIONS and function not in WRITERS]


def _asks_us(function):
    """Whether NumPy asks the arguments of a function that is no ufunc what to do."""
    return hasattr(function, "_implementation") and not isinstance(function, type)


class NoRule(Directive):
    """The functions without a rule of the module that is named."""

    required_arguments = 1

    def run(self):
        names = without_rule(importlib.import_module(self.arguments[0]))
        cells = [part for name in dict.fromkeys(names) for part in (nodes.Text(", "), _code(name))][1:]
        return [nodes.paragraph("", "", *cells)]


def setup(app):
    app.add_directive("op-table", OpTable)
    app.add_directive("no-rule", NoRule)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
