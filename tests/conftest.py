"""What the tests share."""
import importlib.util
import sys

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def quiet_numpy():
    """Singular points are visited on purpose."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def measured(monkeypatch):
    """Every application of a rule is held to the measures by which rewriting ends."""
    from termination import MeasuredRewriting  # which imports ad: some tests run before it is built

    monkeypatch.setattr(sys.modules["ad.compiler.passes.algebra"], "Rewriting", MeasuredRewriting)


@pytest.fixture
def own_entries():
    """The tables, which a test may add entries to."""
    from ad.ops.table import FUNCTIONS, TABLE, UFUNCS, import_later  # here, as some tests run before ad is built

    if importlib.util.find_spec("scipy"):
        import_later()  # what a test made later would be lost
    tables = TABLE, UFUNCS, FUNCTIONS
    saved = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, saved):
        table.clear()
        table.update(entries)
