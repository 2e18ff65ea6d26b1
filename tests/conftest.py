"""What the tests share."""
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
