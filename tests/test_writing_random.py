"""Random sequences of reads, views and writes: values as NumPy's, derivatives as by complex steps through NumPy."""
import os

import numpy as np
import pytest
import writings
import writings_more

import ad

PROGRAMS = int(os.environ.get("AD_FUZZ_WRITING", "150"))
STEP = 1e-30


def start(x):
    """Arrays that depend on x in different ways, and one that does not."""
    return {"x": x, "a": x[:4] * 1.0, "b": np.reshape(x * x, (2, 3)), "c": x[:3, None] * x[None, 3:],
            "columns": np.reshape(x, (2, 3)).T * 2.0}  # in Fortran order


def random_program(seed, kinds=writings):
    """A function of a vector of six elements, which runs the same statements at each call."""

    def f(x):
        rng = np.random.default_rng(seed)
        world = start(np.copy(x))
        plain = start(np.linspace(0.11, 0.63, 6))
        constant = rng.uniform(size=(2, 1, 3))
        world["d"] = constant.astype(complex) if isinstance(x, np.ndarray) else ad.constant(constant)
        plain["d"] = constant.copy()
        writings.run(rng, [plain, world], 12, kinds.views, kinds.writes)
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


def taped(f):
    def gradient(x):
        w = ad.Variable(x)
        with ad.GradientTape() as tape:
            y = f(w)
        return tape.gradient(y, w)

    return gradient


MODES = {
    "grad": ad.grad, "jvp": lambda f: ad.jacobian(f, mode="forward"), "compiled": lambda f: ad.compile(ad.grad(f)),
    "of compiled": lambda f: ad.grad(ad.compile(f)), "tape": taped,
    "dual": lambda f: lambda x: f(ad.Dual(x, np.eye(6))).tangent,
    "vmap": lambda f: lambda x: ad.vmap(ad.grad(f))(np.stack([x + 1e-3, x]))[1],
}


@pytest.mark.parametrize("mode", MODES)
def test_random_writes_in_every_mode(mode):
    x = np.linspace(0.11, 0.63, 6)
    for seed in range(1000, 1000 + PROGRAMS // 3):
        f = random_program(seed, writings_more)
        gradient = MODES[mode](f)
        for at in (x, x + 0.001 * np.cos(x)):  # at the second point, a compiled function is replayed
            slope, given = complex_steps(f, at), at.copy()
            scale = 1.0 + np.abs(slope).max()
            np.testing.assert_allclose(gradient(given), slope, rtol=1e-8, atol=1e-9 * scale, err_msg=f"seed {seed}")
            np.testing.assert_array_equal(given, at)


def test_random_writes_twice_differentiated():
    x, h = np.linspace(0.11, 0.63, 6), 1e-5
    for seed in range(2000, 2000 + PROGRAMS // 10):
        f = random_program(seed, writings_more)
        want = np.array([(complex_steps(f, x + h * e) - complex_steps(f, x - h * e)) / (2 * h) for e in np.eye(6)])
        np.testing.assert_allclose(ad.hessian(f)(x), want, rtol=1e-4, atol=1e-4 * (1.0 + np.abs(want).max()),
                                   err_msg=f"seed {seed}")
