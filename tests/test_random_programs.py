"""Random functions: with branches and loops, compiled, alone and in threads; and of arrays of any size, as programs."""
import random

import numpy as np
import pytest
from recordings import assert_close, in_threads

import ad
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.compiler.machine.loops import get_num_threads, set_num_threads
from ad.compiler.passes.pipeline import simplify
from ad.compiler.record import program_of
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording

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


# -- arrays ----------------------------------------------------------------------------------------
# Vectors {v} and {w} of n elements, matrices {m} of three such rows, numbers {s} and {r}.

ARRAYS = {
    "v": ["{v} + {w}", "{v} * {w}", "np.tanh({v})", "{v}**2 - {w}", "({v} - {w}) * {s}", "{v}[::-1] * {w}",
        "np.cumsum({v}) / n", "np.where({v} > {w} + 0.1, {v}, {s} * {w})", "np.concatenate([{v}[1:], {w}[:1]])",
        "np.roll({v}, 2)", "{m}[1]", "np.pad({v}[1:] - {v}[:-1], (1, 0))", "np.pad({v}[2:] * {v}[:-2], 1)",
        "{v}[::2].repeat(2)[:n]", "{m}.sum(0)", "np.ones(3) @ {m}", "{m}.T.reshape(-1)[:n]",
        "np.real({v}[::-1]).reshape(-1)", "{v}[index]", "{m}[:, ::-1][0]", "np.append({v}[:-1], {s})",
        "np.maximum({v}, {w}[::-1])", "{v} * sparse", "np.full(n, 0.5) * {s} + {v}"],
    "m": ["{m} * {v}", "np.stack([{v}, {w}, {v} * {w}])", "{m}[::-1]", "{m} - {m}.mean(0)",
        "np.outer({v}[:3], {v})[:3]", "{m}.T.reshape({m}.shape)", "np.exp(-{m}**2)", "{m}[:, ::-1] + {v}",
        "{m}.reshape(-1)[::-1].reshape(3, -1)", "{m} / (1 + np.sum({m}**2, 1, keepdims=True))",
        "np.concatenate([{m}[1:], {m}[:1]]) * {s}"],
    "s": ["np.sum({v} * {w}) / n", "np.sin({s}) + np.cos({s})", "{v}[1]", "{s} * {r}", "np.sqrt(1 + np.mean({m}**2))",
        "np.max({v})", "np.cos({s}) - np.sin({r})", "{m}[2, 0]", "{v} @ {w} / n"],
}
SIZES = (3, 8, 64, 65, 1023, 1025, 3073, 30_001)


def function_of_arrays(rng, n):
    """A function of a vector, a matrix and a number that returns a list of such."""
    names, lines = {"v": ["x"], "m": ["y"], "s": ["z"]}, []
    for i in range(rng.randrange(2, 14)):
        kind = rng.choice("vvvmms")
        draw = {name: rng.choice(names[of][-4:]) for name, of in zip("vwmsr", "vvmss")}
        lines.append(f"    {kind}{i} = {rng.choice(ARRAYS[kind]).format(**draw)}")
        names[kind].append(f"{kind}{i}")
    outputs = [rng.choice(names[kind]) for kind in "vms"]
    source = "\n".join(["def f(x, y, z):", *lines, f"    return [{lines[-1].split()[0]}, {', '.join(outputs)}]"])
    namespace = {"np": np, "n": n, "index": np.arange(n)[::-1] // 2, "sparse": 1.5 * (np.arange(n) % 5 == 2)}
    exec(source, namespace)
    return namespace["f"], source


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_programs_of_arrays_are_run_as_numpy_evaluates_them(first):
    """The machine on a simplified program, by one to three threads, against the recorded instructions one by one."""
    threads = get_num_threads()
    try:
        for seed in range(first, first + 10):
            f, source = function_of_arrays(random.Random(seed), SIZES[seed % len(SIZES)])
            set_num_threads(1 + seed % 3)
            check_program(f, source, np.random.default_rng(seed), SIZES[seed % len(SIZES)])
    finally:
        set_num_threads(threads)


def check_program(f, source, rng, n):
    def pulled(*xs):
        y, pull = ad.vjp(f, *xs)
        return [*y, *pull([np.cos(part) for part in y])]

    for g in (f, pulled):
        inputs, others = [[rng.normal(size=n), rng.normal(size=(3, n)), rng.normal()] for _ in range(2)]
        signature = CallSignature(inputs, {})
        program = program_of(Recording(g, signature), signature)
        machine = machine_for(simplify(program.graph))
        for found, wanted in zip(machine.run(others), evaluate(program, others), strict=True):
            assert np.shape(found) == np.shape(wanted), source
            np.testing.assert_allclose(found, wanted, 1e-8, 1e-10 * np.max(np.abs(wanted), initial=1), err_msg=source)
