"""Sparse derivatives of random functions of arrays, against dense ones; and how many entries patterns have too many."""
import random
from dataclasses import dataclass

import numpy as np
import pytest
from test_sparse_table import METHODS, assert_covers, largest, value_of

import ad

pytest.importorskip("scipy.sparse")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ad.IndependentWarning")

# Vectors {v} and {w} of n elements, matrices {m} and {k} of three such rows, numbers {s} and {r}; constants: vectors c
# (half of it zeros) and `mask`, arrays of indices `index` and `places`, and matrices A (sparse), B (3 by 3) and L
# (lower triangular).
EXPRESSIONS = {
    "v": ["{v} + {w}", "{v} * {w}", "np.tanh({v})", "{v}**2 - {w}", "({v} - {w}) * {s}", "{v}[::-1] * {w}",
        "np.cumsum({v}) / n", "np.where({v} > {w} + 0.1, {v}, {s} * {w})", "np.where(mask, {v}, {w})",
        "np.where(mask, {v}, 0.0) * {w}", "{v} * c", "np.concatenate([{v}[1:], {w}[:1]])", "np.roll({v}, 2)", "{m}[1]",
        "np.pad({v}[1:] - {v}[:-1], (1, 0))", "np.pad({v}[2:] * {v}[:-2], 1)", "{m}.sum(0)", "np.max({m}, 0)",
        "{m}.T.reshape(-1)[:n]", "{v}[index]", "np.maximum({v}, {w}[::-1])", "A @ {v}", "{v} @ A",
        "np.linalg.solve(L, {v})", "np.sort({v})", "np.fft.irfft(np.fft.rfft({v}), n)",
        "np.convolve({v}, [1.0, 0.0, -0.5], 'same')", "np.cumprod(1 + 0.1 * {v})", "np.prod({m}, 0)", "put({v}, {w})",
        "scan({v}, {w})", "{v}[np.argsort({w})]", "np.clip({v}, -0.5, 0.5)", "np.einsum('ij,j->j', {m}, {v})",
        "np.bincount(index, {v}, n)", "np.exp(-{v}**2)", "np.real(np.exp(1j * {v}) * {w})", "np.logaddexp({v}, {w})",
        "np.repeat({v}[::2], 2)[:n]", "np.tile({v}, 2)[1 : n + 1]", "np.append({v}[:-1], {s})", "c * {s} + {v}",
        "np.diag(np.outer({v}, {w}))", "np.interp({v}, np.arange(4.0), {w}[:4])", "np.imag(np.fft.fft({v}))",
        "np.linalg.solve(L + np.diag({v}**2), {w})", "np.take_along_axis({m}, np.argsort({k}, 0), 0)[0]", "{v}.copy()",
        "np.diff({v}, append=0.0)", "np.flip({v}) / (1 + {w}**2)", "np.abs({v} + 1j * {w})", "{v} * (c != 0)",
        "np.linalg.norm({m}, axis=0)", "np.where(c > 0.2, {v} * {w}, {s})", "np.gradient({v})", "np.nansum({m}, 0)"],
    "m": ["{m} * {v}", "np.stack([{v}, {w}, {v} * {w}])", "{m}[::-1] - {k}", "{m} - {m}.mean(0)", "{m} * {k}",
        "np.outer({v}[:3], {v})", "{m}.T.reshape({m}.shape)", "{m}[:, ::-1] + {v}", "np.exp(-{m}**2)",
        "{m} / (1 + np.sum({m}**2, 1, keepdims=True))", "np.concatenate([{m}[1:], {k}[:1]]) * {s}", "np.cumsum({m}, 1)",
        "np.cumsum({m}, 0)", "B @ {m}", "{m} @ A", "np.linalg.inv(np.eye(3) * 4 + {m}[:, :3]) @ {k}", "np.triu({m})",
        "np.tril({m}, 1) + {v}", "np.fft.fft({m}, axis=0).real", "np.cross({m}.T, {k}.T).T", "np.where(mask, {m}, {v})",
        "np.linalg.solve(np.eye(3) * 4 + {m}[:, :3], {k})", "{m}[[2, 0, 0]]", "np.sort({m}, 0)", "np.sort({m}, 1)",
        "{m}.reshape(-1)[::-1].reshape(3, -1)", "np.pad({m}[:, 1:], ((0, 0), (0, 1)))", "fill({m}, {v})",
        "np.einsum('ij,jk->ik', {m}, A)", "np.where({m} > {k}, {m}, {v})", "{m}[:, index]",
        "{m}[:, :3][B != 0][0] * {k}", "np.linalg.cholesky({m}[:, :3] @ {m}[:, :3].T + np.eye(3)) @ {k}",
        "np.clip({m}, {v} - 1, {v} + 1)"],
    "s": ["np.sum({v} * {w}) / n", "np.sin({s}) + np.cos({r})", "{v}[1]", "{s} * {r}", "np.sqrt(1 + np.mean({m}**2))",
        "np.max({v})", "{m}[2, 0]", "{v} @ {w} / n", "np.linalg.norm({v} + 1)", "np.prod({v}[:3])", "np.median({v})",
        "np.linalg.det({m}[:, :3] + 2 * np.eye(3))", "np.log(1 + np.sum({v}[mask]**2))", "np.trace({m})", "np.std({v})",
        "np.linalg.slogdet({m}[:, :3] + 3 * np.eye(3))[1]", "{v}[np.argmax({w})]", "np.trapezoid({v}, c)"],
}
POINTS = 8


def put(v, w):
    """Elements written over others, and some added."""
    y = v * 1.0
    y[1:3] = w[-2:]
    y[::2] *= v[0]
    y[-1] += y[0]
    return y


def scan(v, w):
    """A loop in which each element depends on those before it, until it is started again."""
    y, state = [], 0.0
    for i in range(len(v)):
        state = v[i] if i % 3 == 0 else state * w[i] + v[i]
        y.append(state)
    return np.stack(y)


def fill(m, v):
    y = np.zeros(m.shape) * m
    for i in range(3):
        y[i, i:] = m[i, : m.shape[1] - i] * v[i:]
    return y


def constants(rng, n):
    """What the functions use beside their arguments."""
    def matrix(size, density):
        return rng.uniform(-1, 1, (size, size)) * (rng.random((size, size)) < density)

    return {
        "np": np, "n": n, "put": put, "scan": scan, "fill": fill, "index": rng.integers(0, n, n),
        "mask": np.arange(n) % 2 == rng.integers(2), "c": rng.uniform(-1, 1, n) * (rng.random(n) < 0.5),
        "A": matrix(n, 0.25), "B": matrix(3, 0.6), "L": np.tril(matrix(n, 0.3), -1) + 2 * np.eye(n),
    }


def function(seed):
    """A function of a vector x that returns a list of values, the number of elements of x, and the source."""
    rng, n = random.Random(seed), random.Random(seed).randrange(4, 8)
    names = {"v": ["x[:n]", "x[n : 2 * n]"], "m": ["x[-3 * n :].reshape(3, n)"], "s": ["x[-1]"]}
    lines = []
    for i in range(rng.randrange(1, 6)):
        kind = rng.choice("vvvmms")
        draw = {name: rng.choice(names[of][-4:]) for name, of in zip("vwmksr", "vvmmss")}
        expression = rng.choice(EXPRESSIONS[kind]).format(**draw)
        lines.append(f"    {kind}{i} = {expression}" if rng.random() < 0.6 else f"    {kind}{i} = np.sin({expression})")
        names[kind].append(f"{kind}{i}")
    outputs = [lines[-1].split()[0], *[rng.choice(names[kind]) for kind in rng.sample("vms", rng.randrange(2))]]
    source = "\n".join(["def f(x):", *lines, f"    return [{', '.join(outputs)}]"])
    namespace = constants(np.random.default_rng(seed), n)
    exec(source, namespace)
    return namespace["f"], 2 * n + 3 * n, source


@dataclass
class Count:
    """Entries of patterns: all, and those that are zero at all points that were looked at."""

    programs: int = 0
    entries: int = 0
    extra: int = 0

    def add(self, pattern, extra):
        self.programs, self.entries, self.extra = self.programs + 1, self.entries + pattern.sum(), self.extra + extra


def compare(f, sparse, dense, xs, methods, count):
    """Compare a sparse derivative with a dense one at several points; no function branches, so it has one pattern."""
    found = sparse(f).pattern(xs[0]).todense()
    extra = found.copy()
    for x in xs:
        expected = dense(x)
        assert_covers(found, expected)
        extra &= expected == 0
    for method in methods:
        value = value_of(sparse(f, method=method), x)
        np.testing.assert_allclose(value, expected, rtol=1e-8, atol=1e-10 * max(largest(expected), 1))
    count.add(found, np.count_nonzero(extra))


def check(seed, jacobians, hessians, methods=METHODS):
    """Compare Jacobian and Hessian of one function, by patterns and by values, and count their entries."""
    f, size, source = function(seed)
    rng = np.random.default_rng(seed)
    xs = [rng.uniform(-1, 1, size) for _ in range(POINTS)]

    def vector(x):
        return np.concatenate([np.ravel(y) for y in f(x)])

    def scalar(x):
        return sum(np.sum(y**3) for y in f(x))

    try:
        compare(vector, ad.sparse.jacobian, ad.jacobian(vector), xs, methods, jacobians)
        compare(scalar, ad.sparse.hessian, ad.hessian(scalar), xs, methods, hessians)
    except Exception as error:
        error.add_note(f"seed {seed}\n{source}")
        raise


@pytest.mark.parametrize("first", range(0, 240, 40))
def test_sparse_derivatives_of_random_functions(first):
    """Of the extra entries, many are those of elements that are chosen by their values, and not at these points."""
    jacobians, hessians = Count(), Count()
    for seed in range(first, first + 40):
        check(seed, jacobians, hessians)
    assert jacobians.extra <= 0.2 * jacobians.entries
    assert hessians.extra <= 0.4 * hessians.entries
