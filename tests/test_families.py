"""Entries that are made when one of their functions is first used: the tables are complete for who asks for them."""
import subprocess
import sys

import numpy as np
import pytest

import ad
from ad.ops import FUNCTIONS, TABLE, UFUNCS
from ad.ops.nondifferentiable import NONDIFFERENTIABLE
from ad.ops.table import FAMILIES, find, has_scipy

LATER = [name for name in TABLE if name in ad._RARE]


def run(code):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", f"import numpy as np, ad\n{code}"], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.split()


def families_after(code):
    """The families that are there after some code has run in a fresh interpreter."""
    return run(f"{code}\nimport sys\nprint(*[name for name in {FAMILIES} if name in sys.modules])")


def test_an_import_makes_no_family():
    assert families_after("") == []


def test_the_names_of_numpys_functions_that_are_made_later():
    names = run("from ad.ops import TABLE; print(*[name for name, entry in TABLE.items() if entry.numpy])")
    later = {name for name in names if callable(getattr(np, name, None))} - {*ad._FUNCTIONS}
    assert later == {*ad._RARE} and len(later) == len(ad._RARE)


@pytest.mark.parametrize("name", LATER)
def test_a_name_is_that_of_the_entry(name):
    assert getattr(ad, name) is TABLE[name].function and name in dir(ad) and name in ad.__all__


@pytest.mark.parametrize("use, family", [
    ("ad.grad(lambda x: np.linalg.det(x))(np.eye(2))", "ad.ops.linalg"),
    ("ad.grad(lambda x: np.sum(np.fft.rfft(x).real))(np.ones(3))", "ad.ops.fourier"),
    ("ad.grad(lambda x: np.vecdot(x, x))(np.ones(3))", "ad.ops.products"),
    ("ad.grad(lambda x: np.dot(x, np.ones((2, 3, 2))).sum())(np.ones(3))", "ad.ops.products"),
    ("ad.einsum", "ad.ops.contractions"), ("ad.linalg.det", "ad.ops.linalg"), ("ad.fft.fft", "ad.ops.fourier"),
    ("from ad import sort", "ad.ops.sorting"), ("import ad.linalg", "ad.ops.linalg"),
    ("from ad.engine.graph import op_named; op_named('contract')", "ad.ops.contractions"),
    ("ad.compile(lambda x: np.sort(x))(np.ones(3))", "ad.ops.sorting"),
])
def test_the_first_use_of_a_function_makes_its_entry(use, family):
    assert run(f"import sys\nassert {family!r} not in sys.modules\n{use}\nprint({family!r} in sys.modules)") == ["True"]


@pytest.mark.parametrize("use", [
    "x = ad.constant(np.ones(3)); x > 0; np.isnan(x); np.argmax(x); np.full_like(x, 1.0); x.dot(x); x @ x",
    "ad.grad(lambda x: np.sum(np.where(x > 0, np.exp(x), x)))(np.ones(3))",
])
def test_other_functions_make_no_family(use):
    assert families_after(use) == []


@pytest.mark.parametrize("table", ["TABLE", "FUNCTIONS", "UFUNCS"])
def test_the_tables_of_the_package_are_complete(table):
    assert families_after(f"from ad.ops import {table}") == FAMILIES
    assert run(f"from ad.ops import {table}; print(len({table}))") == [
        run(f"from ad.ops import TABLE, table; print(len(table.{table}))")[0]]


def test_a_function_without_a_derivative_is_in_no_family():
    """The protocol asks for these first."""
    fresh = run("from ad.ops.table import FUNCTIONS, TABLE; print(*TABLE)")
    later = [entry for name, entry in TABLE.items() if name not in fresh and "special" not in entry.function.__module__]
    assert len(later) > 80
    assert not [entry for entry in later if NONDIFFERENTIABLE.intersection(entry.numpy)]


def test_only_generalised_ufuncs_are_in_families():
    fresh = run("from ad.ops.table import UFUNCS; print(*[f.__name__ for f in UFUNCS])")
    later = [f for f in UFUNCS if getattr(np, f.__name__, None) is f and f.__name__ not in fresh]
    assert later and all(f.signature for f in later)


def test_a_name_of_a_family_is_taken():
    code = """if True:
        from ad.ops.forms import composite
        def svd(a):
            return a
        try:
            composite()(svd)
        except ValueError as error:
            print(error)
    """
    assert " ".join(run(code)) == "ad: the table has an op 'svd' already; give this one another name"


def test_find_returns_none_for_what_no_table_has():
    assert find(FUNCTIONS, np.meshgrid) is None and find(TABLE, "no such op") is None


def test_scipy_is_found_where_it_is():
    try:
        import scipy  # noqa: F401
    except ImportError:
        assert not has_scipy()
    else:
        assert has_scipy()
