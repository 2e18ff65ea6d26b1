"""Rules and native partials read what they say that they need, and nothing else: all else is poisoned, or gone."""
import itertools

import numpy as np
import pytest
from test_table import CALLS, HARD, NATIVE, arrays, by_rule, flat, of_calls

import ad
from ad._core import Array
from ad.engine.graph import Aval
from ad.errors import MissingRule
from ad.ops import TABLE

OUTPUT = 31
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# -- rules ------------------------------------------------------------------------------------------------


def steps(function, xs):
    """Each op that a call is made of: the op, its parameters, its inputs, which of these move, and its output."""
    program = ad.record(lambda *xs: function(*xs))(*xs)
    slots, moving = {**program.constants, **dict(zip(program.inputs, xs))}, set(program.inputs)
    for op, params, inputs, outputs, _ in program.instructions:
        values = [slots[slot] for slot in inputs]
        y = op.fn(*values, *params)
        slots.update(zip(outputs, y if op.outputs > 1 else (y,)))
        moved = [i for i, slot in enumerate(inputs) if slot in moving and np.asarray(values[i]).dtype.kind in "fc"]
        if op.form != "nondifferentiable" and moved:
            moving.update(outputs)
            yield op, params, [ad.constant(v) for v in values], moved, boxed(y)


def boxed(y):
    return tuple([ad.constant(part) for part in y]) if isinstance(y, tuple) else ad.constant(y)


def ones(y):
    return tuple([ones(part) for part in y]) if isinstance(y, tuple) else ad.constant(np.ones(y.shape, y.dtype))


def spoilt(value):
    """A value of the same shape and dtype that shows in whatever is computed from it."""
    if isinstance(value, tuple):
        return tuple([spoilt(part) for part in value])
    return ad.constant(np.full(value.shape, np.nan if value.dtype.kind in "fc" else 1).astype(value.dtype))


def bare(value):
    """What a node keeps of a value that is not needed."""
    return tuple([bare(part) for part in value]) if isinstance(value, tuple) else Aval(value.shape, value.dtype)


def reduced(op, i, xs, y, replace):
    """The inputs and the output, with something else for those that the rule of input i does not need."""
    bits = op.needs_of(i)
    return (tuple([x if bits >> k & 1 else replace(x) for k, x in enumerate(xs)]),
            y if bits >> OUTPUT & 1 else replace(y))


def derivatives(op, params, i, xs, y, like):
    """What the rules of input i give, in both modes; `like` is the whole output."""
    if op.form == "elementwise":
        partial = op.partials[i]
        return [partial(*xs, y)] if callable(partial) else []
    x_dots = tuple([ones(x) if k == i else None for k, x in enumerate(xs)])
    found = [op.vjp(i, ones(like), xs, y, params)]
    return found + [op.jvp(x_dots, xs, y, params)] if op.form in ("custom", "bilinear", "linear") else found


def plain(tree):
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in plain(part)]
    return [] if tree is None else [tree.numpy() if isinstance(tree, Array) else np.asarray(tree)]


@of_calls(CALLS)
def test_a_rule_reads_only_what_it_needs(call, rng):
    args = call.sample(rng)
    if not arrays(args):
        pytest.skip("no floating input")
    for op, params, xs, moved, y in steps(flat(call, args), arrays(args)):
        for i in moved:
            try:
                expected = plain(derivatives(op, params, i, tuple(xs), y, y))
            except MissingRule:
                continue
            for replace in (spoilt, bare) if op.form != "elementwise" else (spoilt, lambda value: None):
                found = plain(derivatives(op, params, i, *reduced(op, i, xs, y, replace), y))
                assert len(found) == len(expected)
                for a, b in zip(found, expected):
                    np.testing.assert_array_equal(a, b, err_msg=f"{op.name}, input {i}")


# -- native partials -----------------------------------------------------------------------------------------


def placed(function, i, others):
    """The function of input i alone: the tape keeps only what the derivative with respect to it needs."""
    return lambda x: function(*others[:i], x, *others[i:])


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_partial_is_the_rule_where_one_input_moves(name):
    function, arity = TABLE[name].function, len(TABLE[name].op.partials)
    for i in range(arity):
        x = np.array(HARD)
        for other in HARD if arity == 2 else [None]:
            for others in ([], ) if arity == 1 else ([other], [np.full(x.shape, other)]):
                f = placed(function, i, others)
                (expected,) = by_rule(lambda x, f=f: [f(x)], [x], [np.ones(x.shape)])
                each = [ad.grad(placed(function, i, others and [other]))(v) for v in HARD]
                linear = ad.linearize(f, x)[1](np.ones(x.shape))
                for found in (ad.vjp(f, x)[1](np.ones(x.shape)), ad.grad(lambda x, f=f: np.sum(f(x)))(x), each, linear,
                              ad.jvp(f, (x,), (np.ones(x.shape),))[1]):
                    found = found[0] if isinstance(found, tuple) else found
                    np.testing.assert_allclose(found, expected, rtol=4e-16, err_msg=f"input {i} beside {others}")


def test_the_exponents_slope_at_zero():
    x = np.array([-1.0, 0.0, 2.0, np.nan])
    expected = [np.nan, 0.0, 0.0, np.nan]
    for f, base in itertools.product((lambda f: f, ad.compile), (0.0, -0.0, np.zeros(4))):
        np.testing.assert_array_equal(f(ad.grad(lambda v, base=base: np.sum(base**v)))(x), expected)
    np.testing.assert_array_equal([ad.grad(lambda v: 0.0**v)(v) for v in x], expected)
