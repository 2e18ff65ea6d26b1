"""Random functions with branches and loops: compiled, alone and in threads, they agree with themselves."""
import random

import numpy as np
import pytest
from test_recording_composed import assert_close, in_threads

import ad

OPS = [
    "a + b", "a * b", "a - b", "np.sin(a)", "np.exp(-a * a)", "np.sum(a)", "a * 0.5", "np.maximum(a, b)", "a ** 2",
    "np.where(a > b, a, b)", "a / (1 + b * b)", "np.cumsum(a)", "a[::-1]", "np.sqrt(1 + a * a)", "np.mean(a) * b",
    "np.sort(a)", "a @ b", "np.outer(a, b)[0]", "np.concatenate([a[1:], b[:1]])", "abs(a)", "np.prod(a)",
    "np.linalg.solve(4 * np.eye(3) + np.outer(a, b), a)", "np.clip(a, -1, 1)", "a[np.argmax(b)] * b", "np.roll(a, 1)",
    "a * (int(3 * b[0]) + 1)", "np.stack([a, b]).sum(0)", "a[a > -9]", "np.max(a) + b", "np.logaddexp(a, b)",
]
CONDITIONS = ["np.sum(a) > 0", "a[0] > b[1]", "np.any(a > 1)", "(a < 0.3).all()", "int(3 * a[0]) == 1", "a[0]",
              "len(a) == 3 and b[2] < 0.2"]


def statements(rng, indent, depth=0):
    """One statement, or an `if` or `while` with others in it, as lines."""
    kind, a, b = rng.random(), rng.randrange(3), rng.randrange(3)
    lines = [f"{indent}a, b = v[{a}], v[{b}]"]
    if kind < 0.7 or depth > 2:
        return [*lines, f"{indent}v[{rng.randrange(3)}] = np.tanh(np.ones(3) * ({rng.choice(OPS)}))"]
    if kind > 0.9:
        return [*lines, f"{indent}n = 0", f"{indent}while np.sum(v[{a}] * v[{a}]) > 0.2 and n < 4:",
                f"{indent}    n, v[{a}] = n + 1, v[{a}] * 0.6 + 0.01 * v[{b}]",
                *statements(rng, indent + "    ", depth + 1)]
    return [*lines, f"{indent}if {rng.choice(CONDITIONS)}:", *statements(rng, indent + "    ", depth + 1),
            f"{indent}else:", *statements(rng, indent + "    ", depth + 1)]


def function(seed):
    rng = random.Random(seed)
    body = [line for _ in range(rng.randrange(2, 8)) for line in statements(rng, "    ")]
    source = "\n".join(["def f(x, y):", "    v = [x, y, x * 1.0]", *body, "    return v[0] + 2 * v[1] - v[2] * v[0]"])
    namespace = {"np": np}
    exec(source, namespace)
    return namespace["f"], source


@pytest.mark.parametrize("seed", range(40))
def test_compiled_functions_agree_with_themselves(seed):
    f, source = function(seed)
    rng = np.random.default_rng(seed)
    inputs = [tuple(rng.normal(size=(2, 3))) for _ in range(12)]

    def pulled(x, y):
        return ad.vjp(f, x, y)[1](np.array([1.0, 2.0, 3.0]))

    def pushed(x, y):
        return ad.jvp(f, (x, y), (y, x))

    for g in (f, pulled, pushed):
        compiled, wanted = ad.compile(g), [g(*xs) for xs in inputs]

        def work(_, compiled=compiled, wanted=wanted):
            for xs, y in zip(inputs * 2, wanted * 2):
                assert_close(compiled(*xs), y, rtol=1e-9, atol=1e-11)

        try:
            in_threads(work, n=1 if seed % 4 else 4)
        except AssertionError as error:
            error.add_note(source)
            raise
