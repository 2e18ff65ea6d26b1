"""Random sequences of reads, views and writes: values as NumPy's, derivatives as by complex steps through NumPy."""
import os

import numpy as np
import pytest
import writings

import ad

PROGRAMS = int(os.environ.get("AD_FUZZ_WRITING", "150"))
STEP = 1e-30


def start(x):
    """Arrays that depend on x in different ways, and one that does not."""
    return {"x": x, "a": x[:4] * 1.0, "b": np.reshape(x * x, (2, 3)), "c": x[:3, None] * x[None, 3:]}


def random_program(seed):
    """A function of a vector of six elements, which runs the same statements at each call."""

    def f(x):
        rng = np.random.default_rng(seed)
        world = start(np.copy(x))
        plain = start(np.linspace(0.11, 0.63, 6))
        constant = rng.uniform(size=(2, 1, 3))
        world["d"] = constant.astype(complex) if isinstance(x, np.ndarray) else ad.constant(constant)
        plain["d"] = constant.copy()
        writings.run(rng, [plain, world], 12)
        for name, value in world.items():
            assert np.shape(value) == np.shape(plain[name]), name
        return writings.total(world)

    return f


def complex_steps(f, x):
    found = []
    for i in range(x.size):
        moved = x.astype(complex)
        moved[i] += STEP * 1j
        found.append(f(moved).imag / STEP)
    return np.array(found)


@pytest.mark.parametrize("part", range(10))
def test_random_writes(part):
    x = np.linspace(0.11, 0.63, 6)
    for seed in range(part, PROGRAMS, 10):
        f = random_program(seed)
        want, slope = f(x.astype(complex)), complex_steps(f, x)
        value, gradient = ad.value_and_grad(f)(x)
        message = f"seed {seed}"
        np.testing.assert_allclose(value, want.real, rtol=1e-10, err_msg=message)
        np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-9, err_msg=message)
