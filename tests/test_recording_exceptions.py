"""Compiled functions: exceptions that an op or the function raises or handles."""
import numpy as np
import pytest
from recordings import assert_close, counted, inverse_or_zeros

import ad
from ad.compiler.tracing import tracer
from ad.engine.inspection import is_tracing
from ad.ops.table import TABLE
from ad.ops.traits import TRAITS


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("wrap", [lambda f: f, ad.grad, lambda f: ad.compile(f)])
def test_an_exception_while_recording_keeps_nothing(error, wrap):
    fails = [True]

    def f(x):
        y = np.sin(x)
        if fails:
            raise error("no")
        return y * 2

    compiled, runs = counted(wrap(f))
    for _ in range(2):
        with pytest.raises(error, match="no"):
            compiled(1.0)
        assert not is_tracing() and not tracer.is_watching()
        assert type(np.sin(ad.constant(1.0)) < 2) is not ad.Array
    fails.clear()
    for _ in range(3):
        compiled(1.0)
    assert len(runs) == 3


def test_an_exception_on_a_new_path_keeps_the_old_one():
    def f(x):
        if x > 0:
            return x * 2
        raise ValueError("negative")

    compiled, runs = counted(f)
    for _ in range(3):
        assert compiled(2.0) == 4.0
        with pytest.raises(ValueError, match="negative"):
            compiled(-1.0)
    assert len(runs) == 4


def test_an_exception_in_a_replay_is_that_of_the_function(rng):
    def f(a, b):
        return np.sum(np.linalg.solve(a, b) ** 2)

    for g in (f, ad.grad(f, argnums=(0, 1))):
        compiled = ad.compile(g)
        a, b = rng.random((3, 3)) + 3 * np.eye(3), rng.random(3)
        compiled(a, b)
        for _ in range(3):
            with pytest.raises(np.linalg.LinAlgError, match="Singular"):
                compiled(np.zeros((3, 3)), b)
            assert_close(compiled(a, b), g(a, b))


def is_definite(a):
    try:
        np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return a * -1.0
    return a * 2.0


def solved(a):
    try:
        x = np.linalg.solve(a, np.ones(2))
    except np.linalg.LinAlgError:
        return a * -1.0
    assert x is not None
    return a * 2.0


def element(a):
    try:
        return np.array([3.0, 4.0])[np.argmax(a)] * a
    except IndexError:
        return -a


def chosen(a):
    try:
        y = np.array([3.0, 4.0])[np.argmax(a)] * a
        y = a
    except IndexError:
        return -a
    return y


def chosen_too(a):
    try:
        y = a[0][np.argmax(a)] * a
        y = a * 1.0
    except IndexError:
        return -a
    return y


def unused(a):
    try:
        y = np.linalg.inv(a)
        y = y * 2
    except np.linalg.LinAlgError:
        return -a
    y = a * 3
    return y


def power(a):
    try:
        return np.arange(2) ** (np.argmax(a) - 2) * a
    except ValueError:
        return -a


def whole(a):
    try:
        return int(a[0, 0]) * a
    except ValueError:
        return -2.0 * a
    except OverflowError:
        return -3.0 * a


def binned(a):
    try:
        return a * np.digitize(0.5, a[0])
    except ValueError:
        return -a


GOOD, BAD = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 2.0], [0.5, 1.0]])


NOT_WHOLE, UNSORTED = [np.array([[x, 1.0], [1.0, 3.0]]) for x in (np.nan, np.inf)], np.array([[1.0, 3.0], [1.0, 2.0]])


@pytest.mark.parametrize("order", [1, -1], ids=["good first", "bad first"])
@pytest.mark.parametrize(("f", "values"), [
    (inverse_or_zeros, [GOOD, BAD]), (is_definite, [GOOD, BAD]), (solved, [GOOD, BAD]), (element, [GOOD, GOOD[::-1]]),
    (chosen, [GOOD, GOOD[::-1]]), (unused, [GOOD, BAD]), (chosen_too, [GOOD, GOOD[::-1]]),
    (power, [GOOD[::-1], GOOD]), (whole, [GOOD, *NOT_WHOLE]), (binned, [GOOD, UNSORTED])])
def test_exceptions_that_the_function_handles(f, values, order):
    """A replay cannot catch them: the function itself is called, whichever way it was recorded."""
    def total(a):
        return np.sum(f(a) ** 2)

    for g in (f, ad.grad(total), ad.hessian(total)):
        compiled, nested = ad.compile(g), ad.compile(lambda a, g=g: ad.compile(g)(a) * 1.0)
        for a in [*values[::order]] * 3:
            assert_close(compiled(a), g(a))
            assert_close(nested(a), g(a))
            assert_close(compiled(ad.constant(a)), g(a))
    lanes = np.stack(values[::order])
    assert_close(ad.vmap(f)(lanes), np.stack([*map(f, lanes)]))
    assert_close(ad.compile(ad.vmap(f))(lanes), np.stack([*map(f, lanes)]))
    assert_close(ad.vmap(ad.grad(total))(lanes), np.stack([*map(ad.grad(total), lanes)]))


def test_what_a_replay_raises_has_the_traceback_of_the_function():
    compiled, mapped = ad.compile(lambda a: np.linalg.inv(a) * 2), ad.vmap(lambda a: np.linalg.inv(a) * 2)
    compiled(GOOD)
    mapped(np.stack([GOOD, GOOD]))
    for call in (lambda: compiled(BAD), lambda: mapped(np.stack([GOOD, BAD]))):
        with pytest.raises(np.linalg.LinAlgError) as found:
            call()
        assert any(entry.name == "<lambda>" and "inv(a) * 2" in str(entry.statement) for entry in found.traceback)
        assert found.value.__context__ is None


def test_a_function_that_handles_an_exception_each_time():
    """It is traced no longer than it is a hope, and told of once."""
    compiled, runs = counted(inverse_or_zeros)
    with pytest.warns(UserWarning, match=r"recordings.py:\d+: an op raised here time and again") as told:
        for _ in range(100):
            assert_close(compiled(BAD), 0 * BAD)
    assert len(told) == 1 and len(runs) == 100


def test_a_program_of_a_handled_exception_is_told_of():
    with pytest.warns(UserWarning, match=r"ad.record: .*recordings.py:\d+: an op raised here, and"):
        ad.record(inverse_or_zeros)(BAD)


def test_ops_that_raise_are_known():
    raising = set()
    for entry in TABLE.values():
        for a in (np.zeros((2, 2)), np.full((2, 2), np.nan), BAD) if entry.op else ():
            for inputs in ((a,), (a, a)):
                try:
                    entry.op.fn(*inputs, *[None] * (len(entry.op.parameters)))
                except np.linalg.LinAlgError:
                    raising.add(entry.op)
                except (TypeError, ValueError, AttributeError, IndexError):
                    pass  # not called so
    assert len(raising) > 4
    assert raising - {TABLE["cholesky_cotangent"].op} <= {op for op, traits in TRAITS.items() if traits.may_raise}


def test_warnings_of_numpy_as_errors():
    compiled = ad.compile(lambda a: np.sum(np.linalg.inv(a)))
    a = np.eye(2)
    compiled(a)
    with np.errstate(all="raise"):
        np.testing.assert_allclose(compiled(2 * a), 1.0)
