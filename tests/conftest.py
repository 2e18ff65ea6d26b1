"""What the tests share."""
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
