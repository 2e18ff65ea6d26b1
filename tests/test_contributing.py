"""The ops that CONTRIBUTING.md adds are ops like any other."""
import contextlib
import itertools
from pathlib import Path

import mpmath
import numpy as np
import pytest
import test_singular
import test_table

import ad
from ad.ops import FUNCTIONS, TABLE, UFUNCS, reductions, ufuncs
from ad.ops.axes import REDUCES

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


@contextlib.contextmanager
def entry_of_snippet(k, module):
    """The entry that a snippet of the page makes at the end of a module, in the tables for as long as a test runs."""
    snippet = CONTRIBUTING.read_text(encoding="utf-8").split("```python\n")[k + 1].split("```")[0]
    assert len(snippet.splitlines()) <= 12
    tables = [TABLE, UFUNCS, FUNCTIONS]
    saved = [dict(table) for table in tables]
    names = set(TABLE)
    exec(snippet, dict(vars(module)))
    (name,) = set(TABLE) - names
    yield TABLE[name]
    for table, entries in zip(tables, saved):
        table.clear()
        table.update(entries)


@pytest.fixture
def new_entry():
    with entry_of_snippet(0, ufuncs) as entry:
        yield entry


@pytest.fixture
def new_reduction():
    with entry_of_snippet(1, reductions) as entry:
        yield entry


@pytest.mark.parametrize("dtype", [float, complex])
def test_all_modes_of_the_new_reduction(new_reduction, dtype, rng):
    for call in test_table.calls(new_reduction):
        ad.testing.check_grads(call, call.sample(rng, dtype))


def test_the_new_reduction_is_batched_and_has_a_shape_rule(new_reduction, rng):
    assert new_reduction.traits.batching is REDUCES and new_reduction.op.shape_rule is not None
    x = rng.uniform(1, 2, (5, 3))
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(ad.vmap(ad.grad(new_reduction.function))(x), expected, rtol=1e-14)


def test_all_modes_of_the_new_op(new_entry, rng):
    calls = test_table.calls(new_entry)
    assert calls
    for call in calls:
        ad.testing.check_grads(call, call.sample(rng))


def test_numpy_reaches_the_new_op(new_entry):
    function = new_entry.numpy[0]
    value, slope = ad.value_and_grad(function)(0.5)
    assert value == function(0.5)
    np.testing.assert_allclose(slope, (function(0.5 + 1e-6) - function(0.5 - 1e-6)) / 2e-6, rtol=1e-6)


def test_the_new_op_keeps_its_word_about_singular_points(new_entry):
    assert new_entry.singular == "0 at 0, second -3.28987, third 0"
    (point,) = new_entry.points
    test_singular.test_derivatives_of_elements(new_entry, point)
    test_singular.test_derivatives_in_lanes_and_programs(new_entry, point)


@pytest.mark.parametrize("x", [1e-3, 0.29, 0.31, 1.7])
def test_the_new_op_is_right_to_third_order(new_entry, x):
    exact = [float(mpmath.diff(mpmath.sincpi, x, order)) for order in (1, 2, 3)]
    for order, modes in [(n, modes) for n in (1, 2, 3) for modes in itertools.product(test_singular.MODES, repeat=n)]:
        f = new_entry.function
        for mode in modes:
            f = test_singular.derivative(f, (0, ()), mode)
        np.testing.assert_allclose(f(np.asarray(x)), exact[order - 1], rtol=1e-9, atol=1e-10)
