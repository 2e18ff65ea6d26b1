"""The optimizer that CONTRIBUTING.md adds is an optimizer like any other."""
import inspect
from pathlib import Path

import numpy as np
import pytest
import test_docstrings

import ad
from ad.optimizers import methods, settings

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def lion():
    """The class that the page's snippet makes."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## An optimizer is one class")[1]
    names = dict(vars(methods))
    exec(section.split("```python\n")[1].split("```")[0], names)
    return names["Lion"]


def test_steps_are_those_of_the_formula(lion, rng):
    x, target = ad.Variable(rng.normal(size=3)), rng.normal(size=3)
    optimizer, expected, momentum = lion(0.1, beta_1=0.8), x.numpy(), np.zeros(3)
    for _ in range(20):
        g = 2 * (expected - target)
        expected = expected - 0.1 * np.sign(0.8 * momentum + 0.2 * g)
        momentum = 0.99 * momentum + 0.01 * g
        optimizer.minimize(lambda: ((x - target) ** 2).sum(), x)
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state()["0/momentum"], momentum, rtol=1e-12)


def test_settings_are_checked_and_make_a_copy(lion):
    optimizer = lion(0.1, weight_decay=0.5)
    assert optimizer.get_config() == lion.from_config(optimizer.get_config()).get_config()
    assert {"beta_1", "beta_2", "weight_decay"} <= set(optimizer.get_config())
    with pytest.raises(ValueError, match=r"beta_2 of Lion must lie in \[0, 1\), not be 1"):
        lion(beta_2=1)


def test_its_parameters_are_described(lion):
    text = inspect.getdoc(lion)
    assert test_docstrings.documented(text) == test_docstrings.parameters("ad.Lion", lion)


def test_a_setting_of_one_class_has_its_range_there():
    class Scaled(ad.optimizers.SGD):
        _ranges = {"gamma": settings.POSITIVE}

        def __init__(self, gamma):
            super().__init__()
            self.keep(gamma=gamma)

    assert Scaled(2).get_config()["gamma"] == 2
    with pytest.raises(ValueError, match="gamma of Scaled must be positive, not be 0"):
        Scaled(0)


def test_the_package_has_all_optimizers():
    assert set(ad.optimizers.__all__) == {*methods.__all__, "Optimizer", "schedules"}
