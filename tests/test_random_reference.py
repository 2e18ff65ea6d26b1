"""Random programs over all dtypes, eager, compiled, forward, reverse, second order and in lanes, against hyper-duals.

`python tests/test_random_reference.py FIRST LAST` tries the programs of these seeds and prints those that are wrong.
"""
import math
import random
import sys
import traceback

import hyperduals
import numpy as np
import pytest
from hyperduals import Hyperdual

import ad

LONGER = {"f": "d", "d": "g", "F": "D", "D": "G"}  # the dtype in which the reference is computed
SHAPES = [(), (), (1,), (3,), (3,), (2, 3), (2, 3), (3, 3), (2, 1), (0,), (0, 3), (2, 1, 3)]
ORDINARY = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3, -2, 0, 1, 0.1, math.pi]
EXTREME = {"d": [1e-200, 1e200, 1e308, 1e-308, 5e-324, -1e155, 6.62607015e-34, 1.380649e-23, 1e16],
           "f": [1e-30, 1e30, 3e38, 1e-38, 1e-45, -1e20, 6.62607015e-34, 1.380649e-23, 1e8]}
REAL_ONLY = {"arctan", "arcsinh", "expm1", "log1p", "arcsin", "hypot", "arctan2", "logaddexp", "maximum", "minimum"}
STRUCTURAL = {  # linear functions of an array, with what is drawn for them; drawing raises where the shape does not do
    "sum": (lambda x, p: np.sum(x, axis=p), lambda rng, shape: rng.choice([None, *range(-len(shape), len(shape))])),
    "sums": (lambda x, p: np.sum(x, axis=p, keepdims=True), lambda rng, shape: rng.randrange(len(shape))),
    "mean": (lambda x, p: np.mean(x, axis=p), lambda rng, shape: rng.choice([n and None for n in shape])),
    "cumsum": (np.cumsum, lambda rng, shape: rng.randrange(len(shape))),
    "row": (lambda x, p: x[p], lambda rng, shape: rng.randrange(-shape[0], shape[0])),
    "slice": (lambda x, p: x[..., p], lambda rng, shape: slice(rng.choice([None, 0, 1]), None, rng.choice([1, 2, -1]))),
    "take": (lambda x, p: x[p], lambda rng, shape: np.array([rng.randrange(shape[0]) for _ in range(3)])),
    "mask": (lambda x, p: x[p], lambda rng, shape: np.array([rng.random() < 0.6 for _ in range(shape[0])], bool)),
    "roll": (np.roll, lambda rng, shape: rng.choice([-1, 1, 2])),
    "repeat": (np.repeat, lambda rng, shape: rng.choice([0, 1, 2])),
    "broadcast": (lambda x, p: np.broadcast_to(x, (p, *x.shape)), lambda rng, shape: rng.choice([0, 1, 2])),
    "pad": (np.pad, lambda rng, shape: rng.choice([0, 1])),
    **{name: (function, None) for name, function in {
        "transpose": np.transpose, "ravel": np.ravel, "flip": np.flip, "squeeze": np.squeeze, "diff": np.diff,
        "tril": np.tril, "newaxis": lambda x: x[..., None], "concatenate": lambda x: np.concatenate([x, x]),
        "stack": lambda x: np.stack([x, x])}.items()},
}
PRODUCTS = {"matmul": np.matmul, "outer": np.outer, "inner": np.inner, "dot": np.dot}


# -- programs: lists of steps: a function of NumPy, one of hyper-duals, and the slots of their operands --------------


class Program:
    """A random program of some inputs; what it computes on plain NumPy is `values`, one for each slot."""

    def __init__(self, seed):
        self.rng, self.seed = random.Random(seed), seed
        self.steps, self.text = [], []
        self.char = self.rng.choice("dddffDF")
        self.extreme = self.rng.random() < 0.3
        self.inputs = [self.sample() for _ in range(self.rng.choice([1, 1, 2, 3]))]
        self.values = list(self.inputs)
        while len(self.steps) < self.rng.randrange(1, 9):
            self.grow()
        self.drop_unused()
        self.eps = np.finfo(self.char).eps
        self.is_extreme = not all(map(_is_ordinary, self.values))
        self.is_finite = all(np.all(np.isfinite(value)) for value in self.values)
        self.v, self.w = [directions(np.random.default_rng(seed + i), self.inputs) for i in (0, 1)]
        self.short, self.longer = [self.reference(longer) for longer in (False, True)]

    def drop_unused(self):
        """Keep the steps that the result depends on."""
        used, n = {len(self.values) - 1}, len(self.inputs)
        for i in reversed(range(len(self.steps))):
            if n + i in used:
                used.update(self.steps[i][2])
        kept = [*range(n), *sorted(slot for slot in used if slot >= n)]
        place = {slot: i for i, slot in enumerate(kept)}
        self.steps = [(f, reference, tuple([place[slot] for slot in operands]))
                      for i, (f, reference, operands) in enumerate(self.steps) if n + i in place]
        self.values = [self.values[slot] for slot in kept]
        self.text = [text for i, text in enumerate(self.text) if n + i in place]

    def sample(self):
        values = np.random.default_rng(self.rng.randrange(1 << 30))
        shape = self.rng.choice(SHAPES)
        kind = self.rng.random()
        x = values.uniform(0.2, 2, shape) if kind < 0.4 else values.normal(size=shape)
        if self.char in "FD":
            x = x + 1j * values.normal(size=shape)
        if kind > 0.8:  # zeros, and values that are repeated
            x = np.where(values.random(shape) < 0.5, self.rng.choice([0.0, 1.0, -1.0]), x)
        return np.asarray(x).astype(self.char)

    def constant(self):
        kind = self.rng.random()
        real = self.char.lower()
        if self.extreme and kind < 0.5:
            c = self.rng.choice(EXTREME[real])
            return c if kind < 0.4 else np.asarray(c).astype(real)[()]
        if kind < 0.7:
            c = self.rng.choice(ORDINARY)
            return c * 1j if self.char in "FD" and kind < 0.1 else c
        return self.sample() if kind < 0.9 else np.asarray(self.rng.choice(ORDINARY)).astype(self.rng.choice("fd"))[()]

    def operand(self):
        return self.rng.randrange(len(self.values)) if self.rng.random() < 0.6 else len(self.values) - 1

    def grow(self):
        """Add a step, if NumPy can do what was drawn."""
        try:
            step = self.draw()
            if step is None:
                return
            name, function, reference, operands = step
            with np.errstate(all="ignore"):
                y = function(*[self.values[i] for i in operands])
        except (ValueError, TypeError, IndexError):
            return
        if np.size(y) > 200 or np.asarray(y).dtype.char not in "fdFD":
            return
        self.values.append(y)
        self.steps.append((function, reference, operands))
        self.text.append(f"{name}{operands}")

    def draw(self):
        kind, i = self.rng.random(), self.operand()
        is_complex = np.iscomplexobj(self.values[i])
        if kind < 0.3:
            name = self.rng.choice([*hyperduals.UNARY, "absolute", "real", "imag", "conjugate"])
            if name in REAL_ONLY and is_complex:
                return None
            if name == "imag" and not is_complex:
                return None
            if name in ("real", "imag", "conjugate"):
                function = getattr(np, name)
                return name, function, lambda x: hyperduals.linear(function, x), (i,)
            return name, getattr(np, name), lambda x: hyperduals.apply(name, x), (i,)
        if kind < 0.4:
            p = self.rng.choice([0, 1, 2, 3, 4, -1, 0.5, 2.5, 2.0, -2])
            return f"power {p}", lambda x: x ** p, lambda x: hyperduals.apply("power", x, p), (i,)
        if kind < 0.55:
            return self.draw_with_constant(i, is_complex)
        if kind < 0.75:
            name, j = self.rng.choice(list(hyperduals.BINARY)), self.operand()
            if name in REAL_ONLY and (is_complex or np.iscomplexobj(self.values[j])):
                return None
            return name, getattr(np, name), lambda x, y: hyperduals.apply(name, x, y), (i, j)
        if kind < 0.85:
            name = self.rng.choice(list(PRODUCTS))
            return name, PRODUCTS[name], lambda x, y: hyperduals.bilinear(PRODUCTS[name], x, y), (i, self.operand())
        name = self.rng.choice(list(STRUCTURAL))
        of, draw = STRUCTURAL[name]
        drawn = [] if draw is None else [draw(self.rng, np.shape(self.values[i]))]
        function = lambda x: of(x, *drawn)
        return f"{name}{drawn}", function, lambda x: hyperduals.linear(function, x), (i,)

    def draw_with_constant(self, i, is_complex):
        c = self.constant()
        name = self.rng.choice(["add", "subtract", "multiply", "multiply", "multiply", "divide", "maximum"])
        if name in REAL_ONLY and (is_complex or np.iscomplexobj(c)):
            return None
        function = getattr(np, name)
        if self.rng.random() < 0.5:
            return f"{name} {c!r}", lambda x: function(x, c), lambda x: hyperduals.apply(name, x, c), (i,)
        return f"{c!r} {name}", lambda x: function(c, x), lambda x: hyperduals.apply(name, c, x), (i,)

    def __call__(self, *xs):
        values = list(xs)
        for function, _, operands in self.steps:
            values.append(function(*[values[i] for i in operands]))
        return values[-1]

    @np.errstate(all="ignore")
    def reference(self, longer):
        """The hyper-dual result, in the dtype of the program or in a longer one."""
        def cast(x):
            return np.asarray(x).astype(LONGER[x.dtype.char] if longer else x.dtype)

        values = [Hyperdual(cast(x), cast(a), cast(b)) for x, a, b in zip(self.inputs, self.v, self.w)]
        for _, reference, operands in self.steps:
            values.append(reference(*[values[i] for i in operands]))
        self.largest = max([value.largest for value in values])
        return values[-1]

    def __repr__(self):
        shapes = [f"{x.dtype}{list(x.shape)}" for x in self.inputs]
        return f"program {self.seed} of {', '.join(shapes)}: {'; '.join(self.text)}; inputs {self.inputs!r}"


def _is_ordinary(y):
    """Whether all elements are zeros or well inside the range."""
    size, limits = np.abs(y), np.finfo(np.asarray(y).dtype)
    return bool(np.all((size == 0) | ((size > limits.tiny ** 0.3) & (size < limits.max ** 0.3))))


# -- checks -------------------------------------------------------------------------------------------------------


class Wanted:
    """What a part of the result must be, from references in two precisions, and how far off it may be."""

    def __init__(self, program, part, function=np.asarray):
        short, self.longer = [function(y.parts[part]) for y in (program.short, program.longer)]
        self.eps = program.eps
        with np.errstate(all="ignore"):
            size, spread = [np.max(np.abs(x), initial=0) for x in (self.longer, short - self.longer)]
            largest = min(program.largest, 1 if program.is_extreme else np.inf)
            self.tolerance = self.eps * (2000 * size + 20 * largest) + 100 * (spread + np.finfo(program.char).tiny)
            self.known = (program.is_finite and program.largest < 1e-3 * np.finfo(program.char).max
                          and spread <= 1e-3 * size + self.tolerance / 2 < np.inf)

    def check(self, found, what):
        found = np.asarray(found)
        assert found.shape == np.shape(self.longer), f"{what}: shape {found.shape}, not {np.shape(self.longer)}"
        with np.errstate(all="ignore"):
            off = np.max(np.abs(found - self.longer), initial=0)
        assert off <= self.tolerance, f"{what}: {found!r}, not {self.longer!r}"

    def check_number(self, found, number, terms, size, what):
        """Check a sum over elements of this size, with so many terms that may be off each."""
        with np.errstate(all="ignore"):
            tolerance = self.tolerance * (1 + terms) + 2000 * self.eps * size
            assert abs(found - number) <= tolerance, f"{what}: {found!r}, not {number!r}"


def pairing(y_bar, y_dot):
    """What a cotangent makes of a tangent: a real number."""
    return np.sum(np.real(np.conj(y_bar) * y_dot))


def directions(rng, xs):
    def one(x):
        d = rng.uniform(-1, 1, x.shape) + (1j * rng.uniform(-1, 1, x.shape) if x.dtype.kind == "c" else 0)
        return np.asarray(d).astype(x.dtype)

    return tuple(one(x) for x in xs)


def check_value(program):
    """The value is NumPy's, in every mode that evaluates it, with its dtype."""
    xs, y = tuple(program.inputs), program.values[-1]
    wanted = Wanted(program, 0)
    compiled = ad.compile(program)
    found = {"jvp": ad.jvp(program, xs, xs)[0], "vjp": ad.vjp(program, *xs)[0], "first call": compiled(*xs),
             "replay": compiled(*xs), "constants": program(*map(ad.constant, xs))}
    for what, value in found.items():
        dtype = np.asarray(value).dtype
        assert dtype == np.asarray(y).dtype, f"{what}: {dtype}, not {np.asarray(y).dtype}"
        if wanted.known:
            wanted.check(value, what)
    lanes = ad.vmap(program)(*[np.stack([x, x]) for x in xs])
    if wanted.known:
        for lane in lanes:
            wanted.check(lane, "vmap")


def check_derivatives(program):
    y_bar = directions(np.random.default_rng(program.seed + 2), [np.asarray(program.values[-1])])[0]
    check_first(program, tuple(program.inputs), program.v, y_bar, Wanted(program, 1))
    if not (program.short.kink or program.longer.kink):
        check_second(program, tuple(program.inputs), program.v, program.w, y_bar,
                     Wanted(program, 3, lambda y_dot: np.asarray(pairing(y_bar, y_dot))))


def check_first(program, xs, v, y_bar, wanted):
    y_dot = ad.jvp(program, xs, v)[1]
    x_bars = ad.vjp(program, *xs)[1](y_bar)
    compiled = ad.compile(lambda *xs: ad.vjp(program, *xs)[1](y_bar))
    compiled(*xs)
    replayed = compiled(*xs)
    pushed = ad.compile(lambda xs, v: ad.jvp(program, xs, v)[1])
    pushed(xs, v)
    for x, x_bar in zip(xs, x_bars):
        assert (x_bar.dtype, x_bar.shape) == (x.dtype, x.shape), f"vjp: {x_bar.dtype}{x_bar.shape}"
    if not wanted.known:
        return
    wanted.check(y_dot, "jvp")
    wanted.check(pushed(xs, v), "compiled jvp")
    wanted.check(ad.vmap(lambda *xs: ad.jvp(program, xs, v)[1])(*[np.stack([x, x]) for x in xs])[1], "vmap of jvp")
    for what, bars in (("vjp", x_bars), ("compiled vjp", replayed)):
        size = np.max([np.max(np.abs(x_bar), initial=0) for x_bar in bars])
        if program.is_extreme and not np.isfinite(size):
            continue  # backwards the factors meet in another order, and may leave the range
        total = sum([pairing(x_bar, d) for x_bar, d in zip(bars, v)])
        wanted.check_number(total, pairing(y_bar, wanted.longer), y_bar.size, size, what)


def check_second(program, xs, v, w, y_bar, wanted):
    def loss(*xs):
        return np.sum(np.real(np.conj(y_bar) * program(*xs)))

    compiled = ad.compile(lambda xs, v: ad.hvp(loss, argnums=tuple(range(len(xs))))(*xs, v))
    ways = {"hvp": ad.hvp(loss, argnums=tuple(range(len(xs))))(*xs, v), "first compiled hvp": compiled(xs, v),
            "compiled hvp": compiled(xs, v)}
    if not wanted.known:
        return
    for what, bars in ways.items():
        size = np.max([np.max(np.abs(bar), initial=0) for bar in bars])
        wanted.check_number(sum([pairing(bar, d) for bar, d in zip(bars, w)]), wanted.longer, 0, size, what)
    forward = ad.jvp(lambda *xs: ad.jvp(loss, xs, v)[1], xs, w)[1]
    wanted.check(forward, "forward over forward")


def check(seed):
    program = Program(seed)
    with np.errstate(all="ignore"):
        try:
            check_value(program)
            check_derivatives(program)
        except Exception as error:
            error.add_note(repr(program))
            raise


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 400, 50))
def test_programs_agree_with_hyperduals(first):
    for seed in range(first, first + 50):
        check(seed)


def main(first, last):
    import warnings

    warnings.simplefilter("ignore")
    wrong = 0
    for seed in range(first, last):
        try:
            check(seed)
        except Exception as error:
            wrong += 1
            print(seed, type(error).__name__, " ".join(str(error).split())[:300])
            if wrong <= 3:
                traceback.print_exc()
    print(f"{last - first} programs, {wrong} wrong")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
