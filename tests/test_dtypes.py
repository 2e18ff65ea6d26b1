"""Dtypes: a value's is NumPy's, and its tangents and cotangents have that of the value, in every mode and order."""
import numpy as np
import pytest
from test_table import CALLS, FIRST_CALLS, arrays, flat, of_calls, takes_complex

import ad
from ad.testing import forward

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
SINGLE = [np.float32, np.complex64]
in_single_precision = pytest.mark.parametrize("dtype", SINGLE, ids=["float32", "complex64"])


def sampled(call, dtype, rng):
    """The call as a function of its floating arrays, and these; skips what NumPy has for real arguments only."""
    args = call.sample(rng, dtype)
    if not arrays(args) or dtype is np.complex64 and not takes_complex(call, args):
        pytest.skip("no such arguments")
    return flat(call, args), arrays(args)


def dtypes(values):
    return [None if v is None else v.dtype for v in values]


def tangents(function, xs):
    return forward(function, xs, [np.ones(x.shape, x.dtype) for x in xs])


def cotangents(function, xs):
    ys, pull = ad.vjp(lambda *xs: function(*xs), *xs)
    return list(pull([np.ones(y.shape, y.dtype) for y in ys]))


@in_single_precision
@of_calls(CALLS)
def test_derivatives_have_the_dtype_of_their_values(call, dtype, rng):
    function, xs = sampled(call, dtype, rng)
    expected = dtypes(function(*[ad.constant(x) for x in xs]))
    assert dtypes(tangents(function, xs)) == expected
    assert dtypes(cotangents(function, xs)) == dtypes(xs)


@in_single_precision
@of_calls(FIRST_CALLS)
def test_second_derivatives_too_and_of_programs(call, dtype, rng):
    function, xs = sampled(call, dtype, rng)
    expected = dtypes(function(*xs))

    def slopes(*xs):
        return cotangents(function, list(xs))

    assert dtypes(tangents(slopes, xs)) == dtypes(xs)
    assert dtypes(ad.compile(lambda *xs: tangents(function, list(xs)))(*xs)) == expected
    assert dtypes(ad.compile(slopes)(*xs)) == dtypes(xs)
    assert dtypes(ad.vmap(lambda *xs: function(*xs))(*[np.stack([x, x]) for x in xs])) == expected


# -- Python's numbers are weak -------------------------------------------------------------------------

X = {name: np.array([1.5, 2.5]).astype(name) for name in ("float16", "float32", "float64", "complex64", "longdouble")}
X.update(int8=np.array([1, 2], np.int8), number=np.array(1.5, np.float32))
NUMBERS = [2, True, 2.5, 2j, np.float64(2), np.float32(2), np.complex64(2j), np.int64(2)]
CALLED = {
    "add": lambda x, s: x + s, "radd": lambda x, s: s + x, "subtract": lambda x, s: s - x,
    "multiply": lambda x, s: x * s, "divide": lambda x, s: x / s, "rdivide": lambda x, s: s / x,
    "power": lambda x, s: x**s, "rpower": lambda x, s: s**x, "maximum": np.maximum, "hypot": np.hypot,
    "where": lambda x, s: np.where(np.array([True, False]), x, s), "select": lambda x, s: np.select([x == x], [x], s),
    "clip": lambda x, s: x.clip(0, s), "clip one": lambda x, s: np.clip(x, None, s), "full_like": np.full_like,
    "nan_to_num": lambda x, s: np.nan_to_num(x, nan=s), "sum": lambda x, s: np.sum(x, initial=s),
    "prod": lambda x, s: np.prod(x, initial=s), "max": lambda x, s: np.max(x, initial=s), "append": np.append,
    "pad": lambda x, s: np.pad(np.atleast_1d(x), 1, constant_values=s), "dot": np.dot, "logaddexp": np.logaddexp,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("s", NUMBERS, ids=lambda s: f"{type(s).__name__}")
@pytest.mark.parametrize("x", X.values(), ids=X)
@pytest.mark.parametrize("call", CALLED.values(), ids=CALLED)
def test_a_number_beside_an_array_promotes_as_in_numpy(call, x, s):
    try:
        expected = np.asarray(call(x, s))
    except (TypeError, OverflowError):
        pytest.skip("NumPy refuses it")
    for found in (call(ad.constant(x), s), ad.compile(lambda x: call(x, s))(x)):
        found = np.asarray(found)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-2 if x.dtype == np.float16 else 1e-6)


def test_a_complex_number_is_weak_in_programs_and_lanes_and_derivatives():
    x = np.ones(2, np.float32)
    assert ad.vmap(lambda x: x * 1j)(x).dtype == np.complex64
    assert ad.compile(ad.grad(lambda x: np.sum(np.abs(x * 1j))))(x).dtype == np.float32
    assert ad.jvp(lambda x: (x + 1j) ** 2, (x,), (x,))[1].dtype == np.complex64
    assert (ad.constant(x) * np.complex128(1j)).dtype == np.complex128
    assert ad.Dual(x, 1.0).tangent.dtype == ad.Dual(x, np.ones(2)).tangent.dtype == np.float32


@pytest.mark.parametrize("ends", [
    (0, np.ones(2, np.float32)), (np.float32(1), 2.0), ([0, 1], np.ones(2, np.float32)), (np.float16(1), True),
    (1j, np.float32(1)), (np.float64(0), np.float32(1)), (np.array(1, np.int32), np.float32(2))])
def test_python_numbers_are_weak_ends_of_linspace(ends):
    ours = [ad.constant(x) if isinstance(x, (np.ndarray, np.generic)) else x for x in ends]
    for num in (1, 3):
        expected, found = np.linspace(*ends, num), np.linspace(*ours, num)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.numpy(), expected)
