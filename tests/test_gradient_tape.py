"""GradientTape: TensorFlow's interface, the life of a tape, threads and memory."""
import gc
import operator
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

import ad

close = np.testing.assert_allclose


def value(x):
    return None if x is None else x.numpy()


@pytest.fixture
def x():
    return ad.Variable(3.0)


# -- the programs of the introduction ---------------------------------------------------------


def test_derivative_of_a_square(x):
    with ad.GradientTape() as tape:
        y = x**2
    assert tape.gradient(y, x).numpy() == 6.0


def test_partial_derivatives():
    x1, x2 = ad.Variable(5.0), ad.Variable(3.0)
    with ad.GradientTape() as tape:
        y1 = x1**2
        y2 = x2**3
        y = y1 + y2
    assert [g.numpy() for g in tape.gradient(y, [x1, x2])] == [10.0, 27.0]


def test_second_derivative_by_nested_tapes():
    x = ad.Variable(1.0)
    with ad.GradientTape() as t2:
        with ad.GradientTape() as t1:
            y = x * x
        dy_dx = t1.gradient(y, x)
    assert (dy_dx.numpy(), t2.gradient(dy_dx, x).numpy()) == (2.0, 2.0)


def test_derivatives_of_third_order():
    x = ad.Variable(2.0)
    with ad.GradientTape() as t3, ad.GradientTape() as t2, ad.GradientTape() as t1:
        y = x**4
        d1 = t1.gradient(y, x)
        d2 = t2.gradient(d1, x)
        d3 = t3.gradient(d2, x)
    close([value(d1), value(d2), value(d3)], [32.0, 48.0, 48.0])


# -- the life of a tape -----------------------------------------------------------------------


@pytest.mark.parametrize("again", ["gradient", "jacobian"])
def test_a_second_set_of_gradients_needs_a_persistent_tape(x, again):
    with ad.GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="persistent=True"):
        getattr(tape, again)(y, x)
    with ad.GradientTape(persistent=True) as tape:
        y = x * x
    assert [value(getattr(tape, again)(y, x)) for _ in range(2)] == [6.0, 6.0]


def test_gradient_of_a_tape_never_entered(x):
    with pytest.raises(RuntimeError, match="never recorded"):
        ad.GradientTape().gradient(x * x, x)


def test_gradient_inside_its_own_block_ends_recording(x):
    with ad.GradientTape() as tape:
        y = x * x
        assert tape.gradient(y, x).numpy() == 6.0
        assert (y * y).is_constant
        with pytest.raises(RuntimeError, match="persistent=True"):
            tape.gradient(y, x)
    assert (x * x).is_constant


def test_gradient_inside_a_persistent_block_warns_once_and_is_recorded(x):
    with ad.GradientTape(persistent=True) as tape:
        y = x * x * x
        with pytest.warns(UserWarning, match="inside the block") as found:
            first = tape.gradient(y, x)
            second = tape.gradient(first, x)
            third = tape.gradient(second, x)
    assert len(found) == 1
    assert (first.numpy(), second.numpy(), third.numpy()) == (27.0, 18.0, 6.0)


def test_entering_an_active_tape(x):
    with ad.GradientTape() as tape:
        with pytest.raises(ValueError, match="already"):
            with tape:
                pass
        y = x * x
    assert tape.gradient(y, x).numpy() == 6.0


def test_entering_again_goes_on(x):
    tape = ad.GradientTape()
    with tape:
        y = x * x
    unseen = ad.stop_gradient(y) * x
    with tape:
        z = y * x + unseen
    assert tape.gradient(z, x).numpy() == 27.0


def test_what_another_tape_records_between_two_blocks_is_not_ours(x):
    tape = ad.GradientTape(persistent=True)
    with ad.GradientTape() as other:
        with tape:
            y = x * x
        w = x * y
        with tape:
            z = y * w
    assert tape.gradient(w, x) is None
    assert tape.gradient(z, x).numpy() == 6.0 * 27.0
    assert other.gradient(z, x).numpy() == 5 * 81.0


def test_entering_after_the_gradients_begins_afresh(x):
    tape = ad.GradientTape()
    with tape:
        y = x * x
    tape.gradient(y, x)
    with tape:
        z = x * y
    assert tape.gradient(z, x).numpy() == 9.0


def test_stop_recording(x):
    with ad.GradientTape(persistent=True) as tape:
        y = x * x
        with tape.stop_recording():
            unseen = x * y
        z = y * unseen
    assert tape.gradient(y, x).numpy() == 6.0
    assert tape.gradient(unseen, x) is None
    assert tape.gradient(z, x).numpy() == 6.0 * 27.0


def test_stop_recording_leaves_other_tapes_alone(x):
    with ad.GradientTape(persistent=True) as outer, ad.GradientTape(persistent=True) as inner:
        y = x * x
        with inner.stop_recording():
            z = y * x
    assert inner.gradient(z, x) is None
    assert outer.gradient(z, x).numpy() == 27.0


def test_gradient_while_recording_is_stopped(x):
    with ad.GradientTape() as tape:
        y = x * x
        with tape.stop_recording():
            assert tape.gradient(y, x).numpy() == 6.0
        z = x * x * x
    assert tape.gradient(z, x).numpy() == 27.0


def test_variables_read_while_recording_is_stopped_are_not_watched(x):
    with ad.GradientTape() as tape:
        with tape.stop_recording():
            x * x
    assert tape.watched_variables() == ()


def test_stop_recording_of_a_tape_that_does_not_record(x):
    tape = ad.GradientTape()
    with pytest.raises(RuntimeError, match="not begun"):
        with tape.stop_recording():
            pass
    with tape:
        y = x * x
        with tape.stop_recording(), pytest.raises(ValueError, match="not recording"):
            with tape.stop_recording():
                pass
    with pytest.raises(ValueError, match="not recording"):
        with tape.stop_recording():
            pass
    assert tape.gradient(y, x).numpy() == 6.0


def test_an_exception_while_recording_is_stopped(x):
    with ad.GradientTape() as tape:
        with pytest.raises(ZeroDivisionError):
            with tape.stop_recording():
                raise ZeroDivisionError
        y = x * x
    assert tape.gradient(y, x).numpy() == 6.0


def test_reset_forgets_history_and_watches(x):
    c = ad.constant(2.0)
    with ad.GradientTape(persistent=True) as tape:
        tape.watch(c)
        y = c * x
        tape.reset()
        z = c * y * x
        assert tape.watched_variables() == (x,)
    assert value(tape.gradient(y, x)) is None
    assert tape.gradient(z, c) is None
    assert tape.gradient(z, x).numpy() == 12.0


def test_reset_makes_a_used_tape_fresh_only_while_it_records(x):
    with ad.GradientTape() as tape:
        y = x * x
        tape.gradient(y, x)
        with pytest.raises(ValueError, match="not recording"):
            tape.reset()


def test_an_exception_leaves_nothing_behind(x):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            with ad.GradientTape(), ad.GradientTape() as inner, inner.stop_recording():
                raise ZeroDivisionError
    assert (x * x).is_constant
    with ad.GradientTape() as tape:
        y = x * x
    assert tape.gradient(y, x).numpy() == 6.0


def test_a_gradient_that_raises_leaves_nothing_behind(x):
    with ad.GradientTape(persistent=True) as tape:
        y = x * x
    with pytest.raises(ValueError, match="unconnected"):
        tape.gradient(y, x, unconnected_gradients="none!")
    with pytest.raises(TypeError):
        tape.gradient(y, "x")
    assert tape.gradient(y, x).numpy() == 6.0


# -- threads, memory --------------------------------------------------------------------------


def test_threads_are_independent(x):
    entered, done = threading.Event(), threading.Event()
    seen = {}

    def other():
        with ad.GradientTape() as tape:
            y = x * x * x
            entered.set()
            done.wait(10)
        seen["watched"] = tape.watched_variables()
        seen["gradient"] = tape.gradient(y, x).numpy()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    assert (x * x).is_constant
    with ad.GradientTape() as tape:
        y = x * x
    assert tape.gradient(y, x).numpy() == 6.0
    done.set()
    thread.join()
    assert seen["gradient"] == 27.0
    assert len(seen["watched"]) == 1


def test_a_tape_read_in_another_thread(x):
    with ad.GradientTape() as tape:
        y = x * x
    found = []
    thread = threading.Thread(target=lambda: found.append(tape.gradient(y, x).numpy()))
    thread.start()
    thread.join()
    assert found == [6.0]


def test_a_value_carried_from_step_to_step_carries_no_history():
    def steps(n):
        w = ad.constant(np.ones(2000))
        for _ in range(n):
            with ad.GradientTape() as tape:
                tape.watch(w)
                w_next = w - 0.01 * w * w
                loss = w_next * w_next
            w_next - tape.gradient(loss, w)
            w = w_next

    steps(3)
    tracemalloc.start()
    try:
        steps(5)
        gc.collect()
        tracemalloc.reset_peak()
        steps(5)
        few = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        steps(50)
        many = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert many < 1.5 * few


def test_an_unwatched_value_carried_from_step_to_step_is_a_constant():
    v = ad.Variable(2.0)
    state = ad.constant(1.0)
    for _ in range(3):
        with ad.GradientTape() as tape:
            old = state
            state = old * v
        assert tape.gradient(state, v).numpy() == old.numpy()


def test_no_warning_in_ordinary_use(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ad.GradientTape(persistent=True) as tape:
            y = [x * x, x]
        tape.gradient(y, [x, x * 2])


@pytest.mark.parametrize(("dtype", "value"), [
    ("int64", 0.5), ("int64", [1.5, 2.5]), ("float64", 1j), ("float32", np.ones(2, "complex64")), ("bool", 2),
    ("int32", ad.constant(2.5)),
], ids=str)
@pytest.mark.parametrize("assign", [
    lambda w, value: w.assign(np.ones(2) * value), ad.Variable.assign_add, ad.Variable.assign_sub, operator.iadd,
    operator.imul,
])
def test_a_variable_takes_no_value_of_a_part_it_cannot_hold(assign, dtype, value):
    w = ad.Variable(np.ones(2, dtype))
    if dtype == "bool" and assign is ad.Variable.assign_sub:
        value = np.ones(2)
    with pytest.raises(TypeError, match=f"has the dtype {dtype}, which cannot hold values of dtype"):
        assign(w, value)
    np.testing.assert_array_equal(w, np.ones(2, dtype))


def test_a_variable_takes_values_of_lower_kinds_and_other_precision():
    for dtype, value in ("complex64", 1.5), ("float32", np.full(2, 1.5)), ("float64", True), ("uint8", [1, 2]):
        w = ad.Variable(np.ones(2, dtype))
        np.testing.assert_array_equal(w.assign(np.broadcast_to(value, 2)), np.broadcast_to(value, 2))
        assert w.dtype == dtype
