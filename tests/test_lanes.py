"""Programs over lanes and `vmap`: all agrees with a loop over the lanes, every op of the table and compositions."""
import numpy as np
import pytest
from test_recorded_table import gradients_of, tangents, value
from test_table import CALLS, arrays, assert_same, flat, of_calls

import ad

K = 3
MODES = {"value": value, "gradient": gradients_of, "tangent": tangents}


def stacked(rows):
    return [np.stack([np.asarray(part) for part in parts]) for parts in zip(*rows)]


# -- every op of the table -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@of_calls(CALLS)
def test_every_op_over_lanes(call, mode, rng):
    samples = [call.sample(rng) for _ in range(K)]
    lanes = [arrays(args) for args in samples]
    if not lanes[0]:
        pytest.skip("no floating input")
    function = flat(call, samples[0])

    def one(*xs):
        return MODES[mode](function, xs)

    stacks = stacked(lanes)
    assert_same(ad.vmap(one)(*stacks), stacked([one(*xs) for xs in lanes]), rtol=1e-9, atol=1e-11)
    for i in range(len(stacks)) if len(stacks) > 1 else ():
        axes = tuple([0 if i == j else None for j in range(len(stacks))])
        given = [stack if axis == 0 else stack[0] for stack, axis in zip(stacks, axes)]
        rows = [one(*[x[lane] if axis == 0 else x for x, axis in zip(given, axes)]) for lane in range(K)]
        assert_same(ad.vmap(one, axes)(*given), stacked(rows), rtol=1e-9, atol=1e-11)


@of_calls(CALLS)
def test_every_op_differentiated_through_vmap(call, rng):
    samples = [call.sample(rng) for _ in range(K)]
    lanes = [arrays(args) for args in samples]
    if not lanes[0]:
        pytest.skip("no floating input")
    function = flat(call, samples[0])
    mapped = ad.vmap(function)
    seeds = [np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype) for y in function(*lanes[0])]
    _, pull = ad.vjp(lambda *xs: mapped(*xs), *stacked(lanes))
    rows = [ad.vjp(lambda *xs: function(*xs), *xs)[1](seeds) for xs in lanes]
    assert_same(pull([np.stack([seed] * K) for seed in seeds]), stacked(rows), rtol=1e-9, atol=1e-11)
