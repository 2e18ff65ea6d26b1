"""Every entry of the op table, recorded: a replay on new values agrees with the call itself, in every mode."""
import warnings

import numpy as np
import pytest
from test_table import CALLS, arrays, assert_same, flat, of_calls

import ad
from ad.testing import forward


def value(function, xs):
    return function(*xs)


def tangents(function, xs):
    return forward(function, xs, [np.cos(np.arange(x.size)).reshape(x.shape).astype(x.dtype) for x in xs])


def products(function, xs):
    """Hessian-vector products: forward over reverse."""

    def slope(*xs):
        return gradients_of(function, xs)

    return forward(slope, xs, [np.ones(x.shape, x.dtype) for x in xs])


def gradients_of(function, xs):
    _, pull = ad.vjp(lambda *xs: function(*xs), *xs)
    ys = function(*xs)
    return list(pull([np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype) for y in ys]))


MODES = {"value": value, "gradient": gradients_of, "tangent": tangents, "product": products}


@pytest.mark.parametrize("mode", MODES)
@of_calls(CALLS)
def test_a_replay_agrees(call, mode, rng):
    args, others = call.sample(rng), call.sample(rng)
    if not arrays(args):
        pytest.skip("no floating input")
    runs = []

    def function(*xs):
        runs.append(xs)
        return MODES[mode](flat(call, args), xs)

    compiled = ad.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for xs in (arrays(args), arrays(others), arrays(others)):
            assert_same(compiled(*xs), MODES[mode](flat(call, args), xs), rtol=1e-10, atol=1e-12)
    # the shape of what np.unique returns depends on the values: it is recorded for those
    assert len(runs) == 1 or call.entry.name == "unique"
