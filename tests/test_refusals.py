"""What NumPy refuses is refused with NumPy's own error: every entry, called with wrong arguments beside NumPy."""
import functools
import inspect
import pickle
import warnings

import numpy as np
import pytest

import ad
from ad._core import Array
from ad.engine import deferred
from ad.ops import TABLE
from tests.test_table import calls

# -- wrong arguments --------------------------------------------------------------------------------

AXES = (5, -9, 0.0, 1.5, None, "a", (0, 0), (0, 5), [0], (0, 1), -1)
INTEGERS = (1.5, 2.0, "a", None, -1, [1.5], np.array(2.7), 100)
WORDS = ("bogus", 7, None)
SHAPES = ("a", (2.0, 3), 7, (7, 7), (-1, -1), None, 6.0)
BY_NAME = {  # for a parameter of this name, after the axes and the integers
    "mode": WORDS, "order": WORDS, "UPLO": WORDS, "norm": WORDS, "method": WORDS, "kind": WORDS, "casting": WORDS,
    "shape": SHAPES, "s": SHAPES, "dtype": ("bogus", int, bool), "subscripts": WORDS, "keepdims": ("a", None),
    "ord": ("bogus", 7, "fro", "nuc", (1,)), "q": (1.5, -0.1, "a", [0.5, 2]), "left": ("a", (1, 2)), "copy": ("a",),
    "prepend": ("a", None, (1, 2)), "append": ("a", (1, 2)), "to_end": ("a", (1, 2)), "weights": ("a", [1, 2], 2.0),
    "a_min": ("a", (1, 2)), "min": ("a", None), "condition": ("a", None, (1, 2)), "optimize": ("bogus",),
    "out": (np.zeros(7), "a"), "where": ("a",), "default": ("a",), "pad_width": ((1, 2, 3), 1.5, "a"),
    **dict.fromkeys("axis axis1 axis2 axisa axisb axisc axes source destination start".split(), AXES),
    **dict.fromkeys("n k offset shift repeats reps ind kth ddof correction indices obj indices_or_sections edge_order "
                    "decimals".split(), INTEGERS),
}
OPTIONS = {  # of a ufunc
    "dtype": (int, "bogus"), "casting": ("bogus", "no"), "order": ("bogus", 7), "subok": ("a",), "axes": ([0],),
    "out": (np.zeros(7), "a"), "signature": ("bogus",), "axis": (0, None), "keepdims": (None,),
}
NO_NUMBERS = ("a", None, {}, np.array(["a", "b"]), np.array([object()]))


def numbered(shape, dtype=float):
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5 + 0.5).astype(dtype)


def wrong_arrays(x):
    """Arrays of another rank, shape or dtype, and what is none."""
    shapes = {(), (1,), (5,), (0,), (3, 2), (0, 3), (2, 3, 4), x.shape[::-1]}
    if x.ndim:
        shapes |= {(x.shape[0] + 1, *x.shape[1:]), (*x.shape[:-1], x.shape[-1] + 1), (*x.shape[:-1], 1)}
    return [*map(numbered, sorted(shapes)), *(numbered(x.shape, dtype) for dtype in (bool, int, complex)), *NO_NUMBERS]


def parameters(function):
    try:
        return [x.name for x in inspect.signature(function).parameters.values() if x.kind < x.VAR_KEYWORD]
    except ValueError:
        return []


def with_part(args, i, part):
    return (*args[:i], part, *args[i + 1 :])


def wrong_calls(function, args, kwargs):
    """The call with one thing wrong in it (or right after all)."""
    for i, x in enumerate(args):
        parts = x if isinstance(x, list) and x and isinstance(x[0], np.ndarray) else ()
        for wrong in wrong_arrays(x) if isinstance(x, np.ndarray) else ():
            yield with_part(args, i, wrong), kwargs
        for j, part in enumerate(parts):
            for wrong in wrong_arrays(part):
                yield with_part(args, i, [*x[:j], wrong, *x[j + 1 :]]), kwargs
    for i, name in enumerate(parameters(function)):
        for wrong in BY_NAME.get(name, ()):
            if i >= len(args):
                yield args, {**kwargs, name: wrong}
            elif not isinstance(args[i], np.ndarray):
                yield with_part(args, i, wrong), kwargs
    for name, values in OPTIONS.items() if isinstance(function, np.ufunc) else ():
        for wrong in values:
            yield args, {**kwargs, name: wrong}
    yield args[:-1], kwargs
    yield (*args, *[0] * 9), {}
    yield args, {**kwargs, "bogus": 1}


# -- the call, by NumPy and by us ---------------------------------------------------------------------


def tried(function, args, kwargs):
    """The value and the error of a call, of which there is one."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error


def copied(tree):
    if isinstance(tree, np.ndarray):
        return tree.copy()
    return type(tree)(map(copied, tree)) if isinstance(tree, (list, tuple)) else tree


def floating(tree):
    """The floating arrays among nested arguments."""
    if isinstance(tree, (list, tuple)):
        return [x for part in tree for x in floating(part)]
    return [tree] if isinstance(tree, np.ndarray) and tree.dtype.kind in "fc" else []


def filled(tree, leaves):
    """The arguments with values of ours for their floating arrays."""
    if isinstance(tree, (list, tuple)):
        return type(tree)([filled(part, leaves) for part in tree])
    return next(leaves) if floating(tree) else tree


def constant(function, args, kwargs):
    return tried(function, filled(args, map(ad.constant, floating(args))), kwargs)


def direct(function, args, kwargs, entry):
    return constant(entry.function, args, kwargs)


def watched(function, args, kwargs):
    with ad.GradientTape() as tape:
        xs = [ad.constant(x) for x in floating(args)]
        for x in xs:
            tape.watch(x)
        return tried(function, filled(args, iter(xs)), kwargs)


def dual(function, args, kwargs):
    return tried(function, filled(args, (ad.Dual(x, x) for x in floating(args))), kwargs)


def recorded(function, args, kwargs):
    def f(*xs):
        y = function(*filled(args, iter(xs)), **kwargs)
        return list(y) if isinstance(y, (list, tuple)) else y

    return tried(ad.compile(f), floating(args), {})


def deferring(function, args, kwargs):
    before = deferred.set_limits(1, 1 << 32)
    try:
        return recorded(function, args, kwargs)
    finally:
        deferred.set_limits(*before)


def mapped(function, args, kwargs):
    def f(*xs):
        y = function(*filled(args, iter(xs)), **kwargs)
        return list(y) if isinstance(y, (list, tuple)) else y

    return tried(ad.vmap(f), [np.stack([x, x]) for x in floating(args)], {})


def check(function, args, kwargs, run):
    """That we refuse what NumPy refuses, with its error; and that where both return something, it is the same."""
    expected, refusal = tried(function, copied(args), {k: copied(v) for k, v in kwargs.items()})
    found, error = run(function, copied(args), {k: copied(v) for k, v in kwargs.items()})
    if refusal is not None:
        assert error is not None, f"NumPy refuses it: {refusal!r}"
        assert (type(error), str(error)) == (type(refusal), str(refusal))
    elif error is None and run is not mapped:
        assert_same(found, expected)


def assert_same(found, expected):
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_same(a, b)
        return
    found = found.numpy() if isinstance(found, Array) else found
    assert np.shape(found) == np.shape(expected)
    if np.asarray(expected).dtype.kind in "biufc":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


ENTRIES = [entry for entry in TABLE.values() if entry.numpy and entry.form != "elementwise"]
ENTRIES += [TABLE[name] for name in ("add", "tanh", "power", "maximum", "conjugate")]  # the others are made as these
LEFT_OUT = {  # (entry, parameter): what is known to differ
    ("var", "ddof"), ("std", "ddof"), ("nanvar", "ddof"), ("nanstd", "ddof"),  # complex, of which NumPy drops a part
}


def examples(entry, function, count):
    rng = np.random.default_rng(0)
    for call in calls(entry)[:count]:
        yield from wrong_calls(function, tuple(call.sample(rng)), call.params)


def check_all(entry, run, count):
    for function in entry.numpy if run is constant else entry.numpy[:1]:
        for args, kwargs in examples(entry, function, count):
            if floating(args):
                try:
                    check(function, args, kwargs, run)
                except AssertionError as failure:
                    raise AssertionError(f"{function.__name__}(*{args}, **{kwargs})") from failure


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("run", [constant, watched, dual], ids=lambda run: run.__name__)
def test_wrong_arguments(entry, run):
    check_all(entry, run, 2 if run is constant else 1)


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.numpy], ids=lambda entry: entry.name)
def test_wrong_arguments_of_our_own_functions(entry):
    check_all(entry, functools.partial(direct, entry=entry), 1)


@pytest.mark.parametrize("entry", ENTRIES[::2], ids=lambda entry: entry.name)
def test_wrong_arguments_in_recordings(entry):
    check_all(entry, deferring, 1)


@pytest.mark.parametrize("entry", ENTRIES[1::4], ids=lambda entry: entry.name)
def test_wrong_arguments_over_lanes(entry):
    check_all(entry, mapped, 1)


# -- methods, operators, indices, ufuncs --------------------------------------------------------------

EXPRESSIONS = """
x.sum(axis=5); x.sum(5); x.sum('a'); x.mean(axis=5); x.mean(0.5); x.std(axis=(0, 0)); x.var(ddof='a'); x.prod(axis=7)
x.max(axis=7); x.min(7); x.reshape('a'); x.reshape(7, 7); x.reshape(2.0, 3); x.reshape((2.0, 3)); x.reshape(-1, -1)
x.reshape(); x.reshape(6, order='bogus'); x.reshape(None); x.transpose(0, 0); x.transpose(0, 5); x.transpose('a')
x.transpose((0, 1, 2)); x.transpose(1.0, 0); x.swapaxes(0, 5); x.swapaxes(0.0, 1); x.squeeze(0); x.squeeze(5)
x.ravel('bogus'); x.ravel(order=7); x.flatten('bogus'); x.dot('a'); x.dot(np.ones(4)); x.diagonal(0, 0, 0)
x.diagonal(1.5); x.diagonal(0, 5); x.trace(0, 0, 0); x.trace(offset='a'); x.take([7]); x.take([0], axis=5)
x.take([0], mode='bogus'); x.repeat('a'); x.repeat([1, 2, 3], axis=0); x.repeat(2, axis=5); x.repeat(-1)
x.cumsum(axis=0.0); x.cumsum(5); x.cumprod(axis=5); x.round('a'); x.round(1.5); x.astype('bogus')
x.astype(int, casting='safe'); x.astype(float, order='bogus'); x.copy('bogus'); x.argmax(5); x.argmax(axis='a')
x.argsort(5); x.argsort(kind='bogus'); x.any(5); x.all(axis=(0, 0)); x.argpartition(99); x.item(99); x.item(5, 5)
x[5]; x[1.5]; x['a']; x[0, 0, 0]; x[[0, 5]]; x[[0.5]]; x[np.array([True])]; x[np.ones((2, 2), bool)]; x[{}]; x[0, 'a']
x[..., ...]; x[(0, 1), (0, 1, 2)]; x[np.array([0.5])]; x[None, 5]; x[:, 7]; x[slice('a')]; x[1:2:0]; x[np.array(['a'])]
x[1j]; x[np.array([[[5]]])]; x[True, True, True, True]; x[2**70]
x + 'a'; 'a' + x; x - None; None - x; x * 'a'; x * None; x / 'a'; x ** 'a'; x // 'a'; x % 'a'; x @ 'a'; x @ None
x @ np.ones(2); x @ 1.0; 1.0 @ x; x @ np.ones((2, 2)); x + np.ones(4); x * np.ones((3, 2)); x + [1, 2]; x + ['a']
x + b'a'; x - np.array(['a']); np.array('a') + x; np.array(['a']) * x
x < 'a'; x >= 'a'; x < None; x < np.ones(4); x & 1; ~x; x ^ x; x << 1; 1 >> x; x & 'a'; x == 'a'; x != None
bool(x); int(x); x.__index__(); range(5)[x]; iter(3)
np.sin(x, bogus=1); np.sin(); np.sin(x, x, x, x); np.add(x); np.add(x, 'a'); np.add(x, None); np.add(x, {})
np.add(x, x, casting='bogus'); np.add(x, x, dtype='bogus'); np.add(x, x, axes=[1]); np.add(x, object())
np.add.reduce(x, axis=5); np.add.reduce(x, axis='a'); np.add.reduce(x, bogus=1); np.subtract.reduce(x, axis=(0, 1))
np.add.accumulate(x, axis=5); np.add.accumulate(x, axis=0.5); np.maximum.accumulate(x, axis=7); np.add.outer(x)
np.logaddexp.reduce(x, axis=7); np.add.outer(x, 'a'); np.add.reduceat(x, [9]); np.add.reduceat(x, [0], axis=7)
np.sin.reduce(x); np.multiply.reduce(x, axis=7); np.maximum.reduce(x[:0]); np.add.reduce(x, dtype='bogus')
np.add.reduce(x, keepdims='a'); np.add.reduce(x, where='a'); np.add.reduce(x, initial='a')
np.einsum('...ij,...jk->ik', np.ones((2, 2, 2)), x); np.einsum('ij->ii', x); np.einsum('ij->k', x); np.einsum('i', x)
np.einsum('ij,jk', x); np.einsum('ii', x); np.einsum('i.j', x); np.einsum('i$', x); np.einsum('ij,jk->ik', x, x)
np.interp(x, [0.0, 1.0], [1.0, 2.0, 3.0]); np.interp(x, [], []); np.linalg.matrix_power(x, 2)
np.linalg.matrix_power(x[:, :2], 2.7); np.linalg.svd(x[0]); np.linalg.cross(x[:, :2], x); np.linalg.outer(x, x)
np.matvec(x, np.ones(1)); np.vecmat(np.ones(1), x); np.vecdot(x, np.ones(1)); np.clip(x, 0); np.clip(x, 0, 1, min=0)
np.tensordot(x, x, axes=5); np.linalg.multi_dot([x, np.ones((1, 2)), x]); np.linalg.multi_dot([x]); np.where(x > 0, x)
np.take(x, 0, mode='bogus')
"""


@pytest.mark.parametrize("expression", [part.strip() for part in EXPRESSIONS.replace("\n", ";").split(";")
                                        if part.strip()])
@pytest.mark.parametrize("run", [constant, watched, dual, recorded], ids=lambda run: run.__name__)
def test_wrong_expressions(expression, run):
    def function(x):
        return eval(expression, {"x": x, "np": np})

    if run is watched and expression.startswith("np.add.reduceat"):
        pytest.skip("it has no rule")
    check(function, (np.array([[0.5, 1.5, 2.5], [1.0, -1.0, 3.0]]),), {}, run)


def test_our_functions_raise_for_what_is_no_number():
    for wrong in ("a", None, {}):
        with pytest.raises(TypeError) as plain:
            np.add(1.0, wrong)
        with pytest.raises(type(plain.value)):
            ad.add(ad.constant(1.0), wrong)
    with pytest.raises(TypeError, match="add takes arrays and numbers, not a Fake"):
        ad.add(ad.constant(1.0), type("Fake", (), {"__radd__": lambda self, other: other})())


def test_an_operand_with_a_protocol_of_its_own_is_asked():
    class Other:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return "asked"

        def __radd__(self, other):
            return "added"

    assert np.add(ad.constant(1.0), Other()) == "asked"
    assert ad.constant(1.0) + Other() == "added"


def test_a_refused_call_leaves_its_arguments_alone():
    out = np.zeros(3)
    x = ad.constant([1.0, 2.0, 3.0])
    with ad.GradientTape() as tape, pytest.raises((TypeError, ad.MissingRule)):
        tape.watch(x)
        np.cumsum(x, out=out)
    np.testing.assert_array_equal(out, 0)
    with pytest.raises(ValueError, match="out of bounds|number of dim|out"):
        np.cumsum(x, axis=0, out=np.zeros(7))


def test_a_recorded_function_may_handle_a_refusal():
    def f(x):
        try:
            return np.reshape(x, (7,))
        except ValueError:
            return 2 * x

    for x in (np.arange(6.0), np.arange(7.0), np.arange(6.0).reshape(2, 3)):
        np.testing.assert_array_equal(ad.compile(f)(x), f(x))
        np.testing.assert_array_equal(ad.vmap(f)(np.stack([x, -x])), np.stack([f(x), f(-x)]))
        np.testing.assert_array_equal(ad.jvp(f, (x,), (x,))[1], f(x))


def test_our_functions_are_pickled_by_name():
    for function in (ad.sum, ad.reshape, ad.flip):
        assert pickle.loads(pickle.dumps(function)) is function
