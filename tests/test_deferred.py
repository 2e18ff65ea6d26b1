"""Deferral: what a recording leaves to its program, and that nobody ever sees it without its values."""
import contextlib
import copy
import threading
import traceback

import numpy as np
import pytest
from test_recorded_table import gradients_of
from test_table import CALLS, arrays, flat, of_calls

import ad
from ad._core import apply
from ad.compiler.ir import strided
from ad.compiler.tracing import tracer
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording
from ad.engine import deferred
from ad.engine.graph import Op
from ad.ops import TABLE
from ad.ops.shape_rules import ALIASES_INPUT, elementwise_shape, in_order

ROOM = 1 << 32


@pytest.fixture
def waiting():
    """Every op on an array waits, however small it is."""
    before = deferred.set_limits(1, ROOM)
    yield
    deferred.set_limits(*before)


@contextlib.contextmanager
def recorded(f, *args):
    """The recording of a call, with its result still to be computed."""
    recording = Recording(f, CallSignature(args, {}), keep=True)
    try:
        yield recording
    finally:
        recording.drop()


def steps(x):
    """Some ops of each kind that waits: elementwise, in parts, reductions, products, choices, joins."""
    y = np.concatenate([x[1:], np.where(x > 0.5, x, -x)[:1]]) * x[::-1] + np.max(x) / 2
    return np.matmul(y.reshape(1, -1), np.exp(x)) + np.sum(y ** 2, keepdims=True)


def lies(y, shape_rule):
    """Whether an array lies in the order that its shape rule says."""
    flags = np.asarray(y).flags
    return flags.f_contiguous if tuple(shape_rule[2:]) == ("F",) else flags.c_contiguous


def told(op, given, params):
    """What a shape rule says, if it does not leave it to the evaluation to raise."""
    try:
        return op.shape_rule and op.shape_rule(*given, *params)
    except (IndexError, TypeError, ValueError):
        return None


# -- shape rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@of_calls(CALLS)
def test_outlines_tell_what_ops_give(call, dtype, rng):
    args = call.sample(rng, dtype)
    with recorded(lambda *xs: gradients_of(flat(call, args), xs), *arrays(args)) as recording:
        pass
    slots = {**recording.constants, **dict(zip(recording.inputs, arrays(args)))}
    for op, params, inputs, outputs, _ in recording.instructions:
        given = [slots[slot] for slot in inputs]
        y = op.fn(*given, *params)
        shape_rule = told(op, given, params)
        if shape_rule is ALIASES_INPUT and isinstance(given[0], np.ndarray) and isinstance(y, np.ndarray):
            assert y.size == 0 or np.shares_memory(y, given[0]) or op.name == "reshape"
        elif shape_rule is not ALIASES_INPUT and shape_rule is not None:
            assert (np.shape(y), y.dtype) == shape_rule[:2]
            assert lies(y, shape_rule), op
        slots.update(zip(outputs, y if op.outputs > 1 else (y,)))


def turned(rng, shape):
    """An array whose axes lie in memory in some order, with gaps, backwards, or more than once."""
    order = rng.permutation(len(shape)) if rng.random() < 0.5 else np.arange(len(shape))
    x = rng.random([2 * shape[axis] for axis in order]).transpose(np.argsort(order))
    x = x[tuple([slice(None, n) if rng.random() < 0.5 else slice(None, None, 2) for n in shape])]
    x = x[tuple([slice(None, None, rng.choice([-1, 1])) for _ in shape])]
    for axis in np.flatnonzero(rng.random(len(shape)) < 0.2):
        x = np.broadcast_to(x.take([0], axis), shape)
    return x


def test_outlines_promise_an_order_only_where_numpy_gives_it(rng):
    promised = 0
    for _ in range(1000):
        shape = tuple(rng.integers(1, 4, rng.integers(2, 4)))
        a, b = turned(rng, shape), turned(rng, shape)
        c = np.array(a, order="K")
        for y, promise in (
            (np.exp(a), elementwise_shape(np.exp)(a)), (np.add(a, b), elementwise_shape(np.add)(a, b)),
            (np.add(a, c), elementwise_shape(np.add)(a, c)),
            (np.where(a > 0.5, a, b), elementwise_shape()(a > 0.5, a, b)), (a.astype(np.float32), ["C"] * in_order(a)),
            (np.concatenate([a, b], 1), ["C"] * in_order(a, b)),
        ):
            assert not promise or lies(y, promise), (a.shape, a.strides, b.strides, y.strides)
            promised += bool(promise)
    assert promised > 1000


def test_the_commonest_ops_have_an_outline():
    assert len([entry for entry in TABLE.values() if entry.op is not None and entry.op.shape_rule]) > 60


# -- a first call ------------------------------------------------------------------------------------


@pytest.mark.parametrize("derived", [lambda f: f, ad.grad, ad.value_and_grad, ad.hessian, ad.jacobian,
                                     lambda f: ad.jacobian(f, mode="reverse"), ad.vmap])
def test_a_first_call_is_computed_by_the_program(derived, waiting, rng):
    def f(x):
        return np.sum(steps(x)) if x.ndim == 1 else steps(x)

    x = rng.random((3, 5)) if derived is ad.vmap else rng.random(5)
    function, compiled = derived(f), ad.compile(derived(f))
    with recorded(function, x) as recording:
        assert recording.is_pending
    first, second = compiled(x), compiled(x)
    for a, b, c in zip(*[ys if isinstance(ys, tuple) else (ys,) for ys in (first, second, function(x))]):
        assert type(a) is type(c)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-13)


def test_large_arrays_wait_and_small_ones_do_not(rng):
    for n, waits in ((1000, False), (100_000, True)):
        with recorded(ad.grad(lambda x: np.sum(np.sin(x) * x)), rng.random(n)) as recording:
            assert recording.is_pending is waits


def test_single_elements_wait_too(waiting, rng):
    def f(x):
        y = np.exp(x)
        return y[0] * x[-1] + np.sum(y[1:]) + y[np.array([1, 2, 1])]

    x = rng.random(4)
    with recorded(f, x) as recording:
        assert recording.is_pending
    np.testing.assert_allclose(ad.compile(f)(x), f(x), rtol=1e-14)


@pytest.mark.parametrize("ask", [np.shape, np.ndim, np.size, np.result_type, np.zeros_like, np.ones_like, np.isrealobj])
def test_what_depends_on_shapes_and_dtypes_needs_no_values(ask, waiting, rng):
    asked = []

    def f(x):
        y = np.exp(x)
        asked.append(ask(y))
        return y * 2

    x = rng.random(4)
    with recorded(f, x) as recording:
        assert recording.is_pending
    np.testing.assert_array_equal(asked[0], ask(np.exp(x)))


def test_a_large_hessian_is_one_sweep_over_all_lanes(rng):
    def f(x):
        return np.sum((x[1:] - x[:-1] ** 2) ** 2)

    x = rng.random(500)
    with recorded(ad.hessian(f), x) as recording:
        assert recording.is_pending
        (seeds,) = [value for value in recording.constants.values() if np.ndim(value) == 2]
    np.testing.assert_array_equal(seeds, np.eye(500))
    assert strided.held(seeds) < 1000
    assert len(recording.instructions) < 60
    np.testing.assert_allclose(ad.compile(ad.hessian(f))(x), ad.hessian(f)(x), rtol=1e-13, atol=1e-13)


# -- whoever needs a value -----------------------------------------------------------------------------

ASKERS = {
    "bool": lambda y: bool(y[0] > 0), "float": lambda y: float(y[0]), "int": lambda y: int(100 * y[0]),
    "complex": lambda y: complex(y[0]), "round": lambda y: round(100 * y[0]), "item": lambda y: y[1].item(),
    "item of": lambda y: y.item(1), "numpy": lambda y: y.numpy().copy(), "tolist": lambda y: y.tolist(),
    "repr": repr, "str": str, "format": lambda y: f"{y[0]:.3f}", "in": lambda y: 0.5 in y, "iteration": lambda y: [*y],
    "tobytes": lambda y: y.tobytes(), "all": lambda y: np.all(y > 0), "argmax": lambda y: np.argmax(y),
    "nonzero": lambda y: np.nonzero(y > 0.5)[0], "stop_gradient": ad.stop_gradient, "index": lambda y: y[np.argsort(y)],
    "inv": lambda y: np.linalg.inv(y[:, None] * y + np.eye(len(y))), "fft": lambda y: abs(np.fft.fft(y)),
    "constant": ad.constant, "sort": np.sort, "qr": lambda y: np.linalg.qr(y[:, None] * y + np.eye(len(y)))[1],
    "where": lambda y: np.where(y > 0.5, y, 0), "detached": lambda y: ad.constant(y).numpy().sum(), "copy": np.copy,
}


@pytest.mark.parametrize("ask", ASKERS.values(), ids=ASKERS)
@pytest.mark.filterwarnings("ignore:ad.compile")
def test_values_are_there_when_they_are_asked_for(ask, waiting, rng):
    asked = []

    def f(x):
        y = np.exp(x) * x
        asked.append(ask(y * 0.1 + np.sum(y)))
        asked[-1] = copy.deepcopy(asked[-1]) if isinstance(asked[-1], np.ndarray) else asked[-1]
        return y

    x = rng.random(4)
    ad.compile(f)(x)
    f(ad.constant(x))
    during, plain = asked
    if isinstance(plain, str | bytes):
        assert during == plain
    else:
        np.testing.assert_allclose(*[[getattr(part, "numpy", lambda part=part: part)() for part in np.atleast_1d(found)]
                                     if isinstance(found, list) else np.asarray(found) for found in asked], rtol=1e-13)


def test_an_array_that_changes_later_is_read_as_it_was(waiting, rng):
    def f(x):
        factor = np.ones(3)
        y = x * factor
        factor[:] = np.nan
        assert float(y[0]) == x0  # evaluates what waits, after the change
        return y + factor

    x0 = 2.0
    compiled = ad.compile(lambda x: f(x) * 0 + x)
    assert np.isnan(compiled(np.full(3, x0))).all()


@pytest.mark.parametrize("view", [lambda y: y, lambda y: y[1:], lambda y: y.reshape(2, 2).T[0], np.sum,
                                  lambda y: y.reshape(2, 2).T.reshape(-1)[1:]])
def test_what_the_function_has_kept_has_its_values(view, waiting, rng):
    kept = []

    def f(x):
        y = np.exp(x) * 2
        kept.append(view(y))
        return y * 3

    x = rng.random(4)
    np.testing.assert_allclose(ad.compile(f)(x), np.exp(x) * 6)
    np.testing.assert_allclose(kept[0].numpy(), view(np.exp(x) * 2))


def test_what_an_exception_shows_has_its_values(waiting, rng):
    def f(x):
        y = np.exp(x) * 2
        raise KeyError(y)

    x = rng.random(4)
    compiled = ad.compile(f)
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            compiled(x)
        np.testing.assert_allclose(caught.value.args[0].numpy(), np.exp(x) * 2)
        frame = [*traceback.walk_tb(caught.tb)][-1][0]
        np.testing.assert_allclose(frame.f_locals["y"].numpy(), np.exp(x) * 2)


def test_an_op_that_raises_says_what_it_says_otherwise(waiting):
    def f(x):
        return np.sum(np.exp(x), axis=3)

    with pytest.raises(np.exceptions.AxisError, match="axis 3 is out of bounds"):
        ad.compile(f)(np.ones(3))
    with pytest.raises(ValueError, match="could not be broadcast"):
        ad.compile(lambda x: np.exp(x) + np.ones(4))(np.ones(3))
    for product in (lambda y: y @ 2.0, lambda y: 2.0 @ y, lambda y: y @ np.sum(y)):
        with pytest.raises(ValueError, match="does not have enough dimensions"):
            ad.compile(lambda x, product=product: product(np.exp(x)))(np.ones(3))


@pytest.mark.parametrize("extreme", [np.max, np.min])
def test_an_extreme_of_nothing_raises_where_it_is_asked_for(extreme, waiting):
    def f(x):
        try:
            return x * extreme(np.exp(x)[:, :0], axis=1)
        except ValueError:
            return x * 2

    compiled = ad.compile(f)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(np.ones((2, 3))), np.full((2, 3), 2.0))
    with pytest.raises(ValueError, match="zero-size array"):
        ad.compile(lambda x: (extreme(np.exp(x)[:, :0], axis=1), x)[1])(np.ones((2, 3)))


def test_where_a_guard_needs_a_value_a_loop_goes_on(waiting):
    def f(x):
        while np.sum(x) < 100:
            x = x * 2
        return x

    compiled = ad.compile(f)
    for x in (np.ones(3), np.full(3, 5.0), np.full(3, 40.0), np.ones(3)):
        np.testing.assert_array_equal(compiled(x), f(x))


def test_where_a_replay_rounds_otherwise_a_first_call_is_that_of_the_recording(waiting, rng):
    deferred.set_limits(100, ROOM)
    seen = []

    def f(x, large):
        seen.append(type(x))
        return np.exp(large) * float(np.sum(np.exp(x) * np.sin(x) / 3))

    large = rng.random(100)
    for n in range(1, 40):
        x = rng.random(n)
        np.testing.assert_allclose(ad.compile(f)(x, large), f(ad.constant(x), large), rtol=1e-13)
    assert seen == [ad.Array] * 78


def test_a_function_that_handles_an_exception_gets_its_own_result(waiting):
    def f(x):
        try:
            return np.linalg.inv(np.exp(x) - 1)
        except np.linalg.LinAlgError:
            return np.exp(x) * 7

    compiled = ad.compile(f)
    np.testing.assert_allclose(compiled(np.zeros((2, 2))), np.full((2, 2), 7.0))
    np.testing.assert_allclose(compiled(np.eye(2)), np.linalg.inv(np.exp(np.eye(2)) - 1))


# -- limits ------------------------------------------------------------------------------------------


def test_no_more_waits_than_there_is_room_for(waiting):
    def f(x):
        for _ in range(10):
            x = np.sin(x) + x
        return x

    deferred.set_limits(1, 5 * 8 * 100)
    x = np.linspace(0, 1, 100)
    with recorded(f, x) as recording:
        assert not recording.is_pending
        np.testing.assert_allclose(recording.evaluated_result().numpy(), f(x), rtol=1e-14)
    np.testing.assert_allclose(ad.compile(f)(x), f(x), rtol=1e-14)


def doubling(meanwhile):
    """An op that waits, and calls `meanwhile` when it is evaluated."""
    def evaluated(x):
        meanwhile()
        return 2 * x

    op = Op("doubling", "nondifferentiable", evaluated, jvp=lambda *_: None, vjp=lambda *_: None)
    op.shape_rule = elementwise_shape(np.negative)
    return op


@pytest.mark.parametrize("raises", [True, False])
def test_an_interrupt_does_not_keep_others_from_waiting(raises, waiting):
    left, kept = [KeyboardInterrupt], []

    def interrupt():
        if left:
            raise left.pop()

    def f(x):
        kept.append(apply(doubling(interrupt), (x,)))
        kept.append(kept[0][1:])
        if raises:
            raise ArithmeticError
        return x

    with pytest.raises(KeyboardInterrupt):
        ad.compile(f)(np.ones(3))
    with recorded(np.exp, np.ones(3)) as recording:
        assert recording.is_pending
    np.testing.assert_array_equal(kept[1].numpy(), np.full(2, 2.0))
    np.testing.assert_array_equal(kept[0].numpy(), np.full(3, 2.0))


def test_a_finalizer_may_ask_for_what_is_being_evaluated(waiting):
    kept, seen, left = [], [], [1]

    def look():
        if left:
            left.pop()
            seen.append(kept[1].numpy().copy())

    def f(x):
        y = np.exp(x)
        kept.extend([apply(doubling(look), (y,)), y * 3])
        kept.extend([kept[0] + 1, kept[1] + kept[0]])
        return x

    ad.compile(f)(np.zeros(3))
    np.testing.assert_array_equal([y.numpy() for y in kept], [[2.0] * 3, [3.0] * 3, [3.0] * 3, [5.0] * 3])
    np.testing.assert_array_equal(seen, [[3.0] * 3])


def test_ops_of_a_signal_handler_come_between_an_output_and_its_note(waiting, monkeypatch):
    kept = []

    def f(x):
        def copied(value):
            kept.append(np.exp(x))
            return strided.copied(value)

        monkeypatch.setattr(tracer, "copied", copied)
        kept.append(x * np.full(3, 2.0))
        return x

    ad.compile(f)(np.ones(3))
    for y in kept:
        np.testing.assert_array_equal(y.numpy(), np.full(3, 2.0) if y is kept[-1] else np.exp(np.ones(3)))


def test_where_no_memory_can_be_promised_ops_are_evaluated(waiting, monkeypatch, rng):
    def f(x):
        y = np.exp(x)
        monkeypatch.setattr(np, "empty", refuse)
        return np.sum(y * x)

    def refuse(*args, **kwargs):
        raise MemoryError

    x = rng.random(4)
    with recorded(f, x) as recording:
        assert not recording.is_pending
        monkeypatch.undo()
        np.testing.assert_allclose(recording.evaluated_result().numpy(), np.sum(np.exp(x) * x))


@pytest.mark.filterwarnings("ignore:ad.compile")
def test_another_thread_has_the_values(waiting):
    said = []

    def f(x):
        def elsewhere():
            said.extend([(y + 1).numpy()[0], y.numpy()[0], float(np.sum(y))])

        y = np.exp(x)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return y

    np.testing.assert_allclose(ad.compile(f)(np.zeros(3)), 1)
    assert said == [2, 1, 3]


def test_threads_record_apart_from_each_other(waiting, rng):
    x = rng.random(100)
    found = {}

    def run(k):
        for _ in range(20):
            found[k] = ad.compile(ad.grad(lambda x: np.sum(np.sin(k * x) * x)))(x)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, y in found.items():
        np.testing.assert_allclose(y, np.sin(k * x) + k * x * np.cos(k * x), rtol=1e-12)
