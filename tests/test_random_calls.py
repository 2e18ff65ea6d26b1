"""Random functions: compiled, a caller sees no difference, whatever he does with arguments and results."""
import collections
import random

import numpy as np
import pytest
from test_random_programs import CONDITIONS, OPS

import ad

Pair = collections.namedtuple("Pair", "first second")
MORE_OPS = [
    "a * s", "a * table", "table[np.argmax(a) % 3] * b", "a.astype(np.float32) + b", "a * len(a)", "np.rint(a * 4)",
    "a % 2 + a // 1", "matrix @ a", "np.where(np.isnan(a), 0.0, a)", "a * np.float32(2)", "a * w", "2.0 ** a",
    "ad.compile(g)(a, s)", "ad.grad(lambda x: np.sum(g(x, s)))(a * 1.0)", "slope(lambda x: g(x, s), a * 1.0)",
    "ad.vmap(g, in_axes=(0, None))(np.stack([a, b]), s)[1]", "ad.jvp(lambda x: g(x, s), (a * 1.0,), (b * 1.0,))[1]",
    "ad.compile(ad.grad(lambda x: np.sum(g(x, s))))(a * 1.0)", "ad.hessian(lambda x: np.sum(g(x, s)))(a * 1.0) @ b",
]
MORE_CONDITIONS = ["s > 0", "round(float(np.sign(s))) == 1", "n > 1", "np.isnan(a).any()", "np.array_equal(a, b)",
                   "0.5 < b[0] < 2"]
TRIES = [  # what may raise, and what
    ("np.linalg.inv(np.rint(np.outer(a, b)) + np.rint(s) * np.eye(3))[0] * 0.01", "np.linalg.LinAlgError"),
    ("np.linalg.solve(np.diag(np.rint(a)), b)", "np.linalg.LinAlgError"),
    ("np.linalg.cholesky(np.outer(a, a) + s * np.eye(3)) @ a", "np.linalg.LinAlgError"),
    ("a * int(np.float64(1.0) / np.rint(s))", "(ValueError, OverflowError)"),
    ("v[np.argmax(a) + int(s > 0)] * 1.0", "IndexError"), ("table[np.argmax(a) + int(s > 0)] * b", "IndexError"),
    ("a[np.argmax(b) + 1] * b", "IndexError"), ("a @ np.ones(4)", "ValueError"),
    ("a * d['key' if s > 0 else 'none']", "KeyError"),
]
BLOCKS = [
    "for part in a:\n    if part > 0.3:\n        v[{i}] = v[{i}] + part\n        break",
    "t = a * 1.0\nt += b\nt *= 0.5\nv[{i}] = t", "t = np.zeros(3)\nt[{i}] = np.rint(s)\nv[{i}] = t + b",
    "d = {{**d, 'key': a[0], 'p': b}}\nv[{i}] = d.get('p', a) * d['key']", "s = s * 0.5 + a[{i}]",
    "v = sorted(v, key=lambda part: part[0])", "if np.sum(a) > 3:\n    raise ValueError('too much')",
]
RESULTS = [
    "v[0] + v[1]", "v[0], v[1][1:], x", "{'x': x, 'v': v, 's': s}", "x", "x[1:]", "[x, x, table]", "np.sum(v[2])",
    "Pair(v[0], {'n': n, 'table': table[1:]})", "float(np.rint(np.sum(v[0])))", "v[0], None, 'text', n, True",
    "v[2] > 0, np.argmax(v[0])", "s, v[0][0]", "w, v[0]", "d, v[1]",
]


def blocks(rng, inner, depth=0):
    """Some statement, with others in it, as lines; those of `inner` functions call no others."""
    i, j, k = [rng.randrange(3) for _ in range(3)]
    kind, first = rng.random(), f"a, b = v[{j}], v[{k}]"
    within = ["    " + line for line in blocks(rng, inner, depth + 1)] if depth < 3 and kind < 0.4 else ["    pass"]
    if kind < 0.2:
        return [first, f"if {rng.choice(CONDITIONS + MORE_CONDITIONS)}:", *within, "else:", f"    v[{i}] = a * 0.25"]
    if kind < 0.4:
        tried, error = rng.choice(TRIES)
        kept = rng.choice([f"v[{i}]", "unused"])
        return [first, "try:", f"    {kept} = {tried}", *within, f"except {error}:", f"    v[{i}] = b * 0.5"]
    if kind < 0.6:
        return [first, *rng.choice(BLOCKS).format(i=i).split("\n")]
    return [first, f"v[{i}] = np.tanh({rng.choice(OPS if inner else OPS + 2 * MORE_OPS)} + np.zeros(3))"]


def slope(f, x):
    x = ad.constant(x)
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = np.sum(f(x))
    return tape.gradient(y, x, unconnected_gradients="zero") * 1.0


def namespace(seed):
    """A function `f(x, y, s, n)`, which calls others and captures arrays and a variable."""
    rng = random.Random(seed)
    inner = [line for _ in range(rng.randrange(1, 3)) for line in blocks(rng, True, 2)]
    outer = [line for _ in range(rng.randrange(1, 7)) for line in blocks(rng, False)]
    source = "\n    ".join(["def g(x, s, n=1):", "v, d = [x, x * 2.0, np.cos(x)], {'key': 1.0}", *inner])
    source += "\n    return v[0] + v[1] * v[2]\n"
    source += "\n    ".join(["def f(x, y, s, n=1):", "v, d = [x, y, x * 1.0], {'key': s}", *outer])
    source += f"\n    return {rng.choice(RESULTS)}"
    names = {"np": np, "ad": ad, "Pair": Pair, "slope": slope, "table": np.array([0.5, -1.0, 2.0]),
             "matrix": np.arange(9.0).reshape(3, 3) / 9, "w": ad.Variable([1.0, -0.5, 0.25]), "source": source}
    exec(source, names)
    return names


def call(rng):
    """Arguments of all kinds: few values or many, the same array twice, nan, other dtypes."""
    x, y, s = rng.normal(size=3), rng.normal(size=3), float(rng.normal())
    kind = rng.integers(8)
    if kind == 0:
        x[rng.integers(3)] = np.nan
    xs = [(x, y), (np.rint(x), y), (x, np.rint(2 * y).astype(int)), (x, x)][kind % 4]
    return [*xs, [s, np.float64(s), float(np.rint(s)), 0.0][rng.integers(4)], *([2] if kind == 5 else [])]


def outcome(f, args):
    """What a call returns, in memory of its own, and as it is; or the type of what it raises."""
    try:
        result = f(*args)
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        return type(error), None
    return ad.trees.map(lambda y: np.array(y.numpy() if isinstance(y, ad.Array) else y), result), result


@pytest.mark.filterwarnings("ignore:ad.compile")
@pytest.mark.parametrize("seed", range(100))
def test_a_caller_sees_no_difference(seed):
    """Repeated and changed arguments, changed variables, results that the caller writes into."""
    names, rng = namespace(seed), np.random.default_rng(seed)
    f, compiled, calls = names["f"], ad.compile(names["f"]), [call(rng) for _ in range(6)]
    for step in range(15):
        args = calls[rng.integers(6)]
        if step % 4 == 3:
            rng.shuffle(args[0])
        if step % 5 == 4:
            names["w"].assign(rng.normal(size=3))
        before = [np.array(part) for part in (*args, names["table"])]
        wanted, _ = outcome(f, args)
        found, result = outcome(compiled, args)
        try:
            assert_same(found, wanted)
            for part in ad.trees.flatten(result)[0]:
                if isinstance(part, np.ndarray):
                    part[...] = 1
            assert_same([np.array(part) for part in (*args, names["table"])], before)
        except AssertionError as error:
            error.add_note(f"{names['source']}\nstep {step}: {args}")
            raise


def assert_same(found, wanted):
    """The same containers, and in them the same values of the same dtype and shape."""
    (found, structure), (wanted, other) = ad.trees.flatten(found), ad.trees.flatten(wanted)
    assert structure == other
    for a, b in zip(found, wanted, strict=True):
        if isinstance(b, np.ndarray) and b.dtype.kind in "fc":
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            low = b.dtype.itemsize == 4
            np.testing.assert_allclose(a, b, rtol=1e-4 if low else 1e-8, atol=1e-5 if low else 1e-9)
        else:
            np.testing.assert_array_equal(a, b)
