"""GradientTape: TensorFlow's interface and behaviour."""
import gc
import operator
import threading
import tracemalloc
import warnings
from collections import namedtuple

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


# -- what is watched --------------------------------------------------------------------------


def test_trainable_variables_are_watched_on_read_and_others_by_watch():
    trained, fixed, plain = ad.Variable(2.0), ad.Variable(3.0, trainable=False), ad.constant(5.0)
    with ad.GradientTape() as tape:
        y = trained * fixed * plain
    assert [value(g) for g in tape.gradient(y, [trained, fixed, plain])] == [15.0, None, None]
    with ad.GradientTape() as tape:
        tape.watch([fixed, plain])
        y = trained * fixed * plain
    assert [value(g) for g in tape.gradient(y, [trained, fixed, plain])] == [15.0, 10.0, 6.0]


def test_without_watching_accessed_variables():
    a, b = ad.Variable(2.0), ad.Variable(3.0)
    with ad.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(b)
        y = a * b
    assert [value(g) for g in tape.gradient(y, [a, b])] == [None, 2.0]


def test_watching_is_per_tape():
    c = ad.constant(3.0)
    with ad.GradientTape() as one, ad.GradientTape() as other:
        one.watch(c)
        y = c * c
    assert one.gradient(y, c).numpy() == 6.0
    assert other.gradient(y, c) is None
    with ad.GradientTape() as later:
        y = c * c
    assert later.gradient(y, c) is None


def test_watching_after_the_operation_is_too_late():
    c = ad.constant(3.0)
    with ad.GradientTape() as tape:
        y = c * c
        tape.watch(c)
    assert tape.gradient(y, c) is None


def test_watch_takes_nested_structures():
    a, b, c = (ad.constant(v) for v in (2.0, 3.0, 5.0))
    with ad.GradientTape() as tape:
        tape.watch({"a": a, "rest": [b, (c,)]})
        y = a * b * c
    assert [g.numpy() for g in tape.gradient(y, [a, b, c])] == [15.0, 10.0, 6.0]


@pytest.mark.parametrize("other, name", [(1.0, "float"), (np.ones(2), "ndarray"), ([ad.constant(1.0), "a"], "str")])
def test_watch_of_something_else_names_its_type(other, name):
    with ad.GradientTape() as tape, pytest.raises(ValueError, match=name):
        tape.watch(other)


def test_an_integer_has_no_gradient():
    n = ad.constant(np.arange(3))
    with ad.GradientTape(persistent=True) as tape:
        with pytest.warns(UserWarning, match="int64"):
            tape.watch(n)
        y = n * 2.0
        m = n * 2
    with pytest.warns(UserWarning, match="source"):
        assert tape.gradient(y, n) is None
    with pytest.warns(UserWarning, match="a source"), pytest.warns(UserWarning, match="a target"):
        assert tape.gradient(m, n) is None


def test_an_integer_variable_is_not_watched():
    n = ad.Variable(np.arange(3))
    with ad.GradientTape() as tape:
        y = n * 2.0
    assert tape.watched_variables() == ()
    with pytest.warns(UserWarning, match="int64"):
        assert tape.gradient(y, n) is None


def test_watched_variables_are_in_order_of_construction():
    a, b, c = ad.Variable(1.0), ad.Variable(2.0, trainable=False), ad.Variable(3.0)
    plain = ad.constant(1.0)
    with ad.GradientTape() as tape:
        tape.watch(plain)
        y = c * a * c
        tape.watch(b)
    assert [id(v) for v in tape.watched_variables()] == [id(a), id(b), id(c)]
    tape.gradient(y, a)
    assert [id(v) for v in tape.watched_variables()] == [id(a), id(b), id(c)]


def test_assignment_keeps_a_variable_watched(x):
    with ad.GradientTape() as tape:
        y = x * x
        x.assign(5.0)
        z = y * x
    assert z.numpy() == 45.0
    assert tape.gradient(z, x).numpy() == 9.0 + 5.0 * 6.0


def test_warnings_point_at_the_caller(x):
    n = ad.constant(np.arange(3))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with ad.GradientTape(persistent=True) as tape:
            tape.watch(n)
            y = x * x
            tape.gradient(y, x)
        tape.gradient(n, x)
        tape.gradient(y, n)
        tape.gradient([y], [n])
        tape.jacobian(n, x)
        ad.ForwardAccumulator(n, n)
    assert [w.filename for w in found] == [__file__] * 7


# -- connected and not ------------------------------------------------------------------------


def test_unconnected_sources():
    a, b = ad.Variable([1.0, 2.0]), ad.Variable(np.ones((2, 3), np.float32))
    with ad.GradientTape(persistent=True) as tape:
        y = a * a
    assert value(tape.gradient(y, b)) is None
    assert value(tape.gradient(y, b, unconnected_gradients="none")) is None
    for zero in ("zero", ad.UnconnectedGradients.ZERO):
        found = tape.gradient(y, {"b": b}, unconnected_gradients=zero)["b"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.numpy(), np.zeros((2, 3)))
    for ask in (tape.gradient, tape.jacobian):
        with pytest.raises(ValueError, match="'nonsense'"):
            ask(y, b, unconnected_gradients="nonsense")


def test_a_target_that_is_the_source():
    a = ad.Variable([1.0, 2.0])
    c = ad.constant(2.0)
    with ad.GradientTape(persistent=True) as tape:
        tape.watch(c)
        b = a * 1
    np.testing.assert_array_equal(tape.gradient(a, a).numpy(), [1.0, 1.0])
    np.testing.assert_array_equal(tape.gradient(b, b).numpy(), [1.0, 1.0])
    assert tape.gradient(c, c).numpy() == 1.0
    assert tape.gradient([c, c], c).numpy() == 2.0
    assert tape.gradient(c, a) is None


def test_targets_are_summed():
    c = ad.constant(2.0)
    with ad.GradientTape(persistent=True) as tape:
        tape.watch(c)
        y = [c, c * c]
    assert tape.gradient(y, c).numpy() == 5.0
    assert tape.gradient({"a": y[0], "b": (y[1],)}, c).numpy() == 5.0
    v = ad.Variable([1.0, 2.0, 3.0])
    with ad.GradientTape() as tape:
        y = v * v
    np.testing.assert_array_equal(tape.gradient(y, v).numpy(), [2.0, 4.0, 6.0])


def test_repeated_sources_repeat_their_gradient():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = v * v
    first, second = tape.gradient(y, [v, v])
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert not np.shares_memory(first.numpy(), second.numpy())


def test_sources_keep_their_nesting():
    pair = namedtuple("pair", "left right")
    a, b, c = (ad.Variable(v) for v in (2.0, 3.0, 5.0))
    with ad.GradientTape(persistent=True) as tape:
        y = a * b * c
    found = tape.gradient(y, {"p": pair(a, [b]), "c": (c, a)})
    assert isinstance(found["p"], pair)
    assert isinstance(found["c"], tuple)
    assert isinstance(found["p"].right, list)
    assert [v.numpy() for v in (found["p"].left, found["p"].right[0], *found["c"])] == [15.0, 10.0, 6.0, 15.0]
    assert type(tape.gradient(y, (a, b))) is tuple
    assert type(tape.gradient(y, [a, b])) is list
    assert tape.gradient(y, []) == []


def test_output_gradients():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape(persistent=True) as tape:
        y, z = v * v, v * 3
    np.testing.assert_array_equal(tape.gradient(y, v, output_gradients=np.array([10.0, 100.0])).numpy(), [20.0, 400.0])
    np.testing.assert_array_equal(tape.gradient(y, v, [np.array([10.0, 100.0])]).numpy(), [20.0, 400.0])
    np.testing.assert_array_equal(tape.gradient(y, v, output_gradients=ad.constant([1.0, 0.0])).numpy(), [2.0, 0.0])
    np.testing.assert_array_equal(tape.gradient([y, z], v, [None, np.array([1.0, 2.0])]).numpy(), [5.0, 10.0])
    with pytest.raises(ValueError, match="1 gradients for 2 targets"):
        tape.gradient([y, z], v, [None])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        tape.gradient(y, v, [np.ones(3)])


def test_output_gradients_are_differentiated():
    v, w = ad.Variable([1.0, 2.0]), ad.Variable([3.0, 4.0])
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = v * v
        g = inner.gradient(y, v, output_gradients=w * w)
    np.testing.assert_array_equal(outer.gradient(g, w).numpy(), [2 * 2 * 3.0, 4 * 2 * 4.0])


def test_intermediates_can_be_sources(x):
    with ad.GradientTape(persistent=True) as tape:
        y = x * x
        z = y * y
    assert tape.gradient(z, y).numpy() == 18.0
    assert [g.numpy() for g in tape.gradient(z, [x, y, z])] == [108.0, 18.0, 1.0]
    assert tape.gradient(y, z) is None


def test_an_intermediate_of_unwatched_values_is_no_source():
    c = ad.constant(2.0)
    with ad.GradientTape() as outer, ad.GradientTape() as inner:
        outer.watch(c)
        y = c * c
        z = y * y
    assert inner.gradient(z, y) is None
    assert outer.gradient(z, y).numpy() == 8.0


def test_watching_an_intermediate(x):
    with ad.GradientTape() as outer:
        y = x * x
        with ad.GradientTape() as inner:
            inner.watch(y)
            z = y * y
        dz_dy = inner.gradient(z, y)
        total = z + dz_dy
    assert dz_dy.numpy() == 18.0
    assert outer.gradient(total, x).numpy() == 4 * 27.0 + 12.0


def test_an_intermediate_with_a_wide_history():
    v = ad.Variable(1.0)
    c = ad.constant(1.0)
    with ad.GradientTape() as outer, ad.GradientTape() as tape:
        outer.watch(c)
        y = c + 0
        for _ in range(60):  # 2^60 paths lead down to c, none to a watched value
            y = y + y
        z = y * v
    assert value(tape.gradient(z, y)) is None
    assert outer.gradient(z, c).numpy() == 2.0**60


def test_what_cannot_be_a_target_or_source(x):
    with ad.GradientTape(persistent=True) as tape:
        y = x * x
    with pytest.raises(TypeError, match="None"):
        tape.gradient(None, x)
    with pytest.raises(TypeError, match="str"):
        tape.gradient("y", x)
    with pytest.raises(TypeError, match="ndarray"):
        tape.gradient(y, np.ones(2))
    for wrong in (None, [y], [y, y], "y"):
        with pytest.raises(TypeError, match="target"):
            tape.jacobian(wrong, x)
    assert tape.gradient(4.0, x) is None


def test_equal_values_are_never_aliased():
    c = ad.constant(2.0)
    for same in (c + 0, c * 1, +c, c**1, c / 1, c - 0):
        assert same is not c
        with ad.GradientTape(persistent=True) as tape:
            tape.watch(same)
            y = c * same
        assert tape.gradient(y, same).numpy() == 2.0
        assert tape.gradient(y, c) is None
    a, b = ad.constant(1.0), ad.constant(1.0)
    with ad.GradientTape(persistent=True) as tape:
        tape.watch(a)
        y = a * b
    assert tape.gradient(y, a).numpy() == 1.0
    assert tape.gradient(y, b) is None


def test_a_single_precision_gradient_is_single():
    v = ad.Variable(np.array([1.0, 2.0], np.float32))
    with ad.GradientTape() as tape:
        y = v * v
    assert tape.gradient(y, v).dtype == np.float32


def test_a_complex_gradient_is_tensorflows():
    z = ad.Variable(np.array([1.0 + 2.0j]))
    with ad.GradientTape() as tape:
        y = z * z
    close(tape.gradient(y, z).numpy(), [2.0 - 4.0j])


# -- Jacobians --------------------------------------------------------------------------------


def test_jacobian_has_the_shape_of_target_and_source():
    v, w = ad.Variable([1.0, 2.0, 3.0]), ad.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with ad.GradientTape(persistent=True) as tape:
        y = v * w
    found = tape.jacobian(y, {"v": v, "w": [w]})
    expected = np.zeros((2, 3, 3))
    expected[:, range(3), range(3)] = w.numpy()
    np.testing.assert_array_equal(found["v"].numpy(), expected)
    np.testing.assert_array_equal(
        found["w"][0].numpy(), np.einsum("ik,jl,j->ijkl", np.eye(2), np.eye(3), v.numpy())
    )


def test_jacobian_of_numbers_and_from_numbers(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape(persistent=True) as tape:
        y = x * v
        z = x * x
    np.testing.assert_array_equal(tape.jacobian(y, x).numpy(), [1.0, 2.0])
    assert tape.jacobian(z, x).numpy() == 6.0
    assert tape.jacobian(z, x).shape == ()


def test_jacobian_of_what_is_not_connected(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
    assert tape.jacobian(y, x) is None
    assert tape.jacobian(y, [v, x])[1] is None
    np.testing.assert_array_equal(
        tape.jacobian(x, v, unconnected_gradients="zero", parallel_iterations=2, experimental_use_pfor=False).numpy(),
        [0.0, 0.0],
    )
    assert tape.jacobian(y, x, unconnected_gradients="zero").shape == (2,)


def test_jacobian_of_an_empty_target():
    v = ad.Variable(np.ones((0, 2)))
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
    assert tape.jacobian(y, v).shape == (0, 2, 0, 2)
    assert tape.batch_jacobian(y, v).shape == (0, 2, 2)


def test_jacobian_inside_its_own_block(x):
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = x * v
        np.testing.assert_array_equal(tape.jacobian(y, v).numpy(), [[3.0, 0.0], [0.0, 3.0]])
        assert (x * x).is_constant


def test_hessian_as_the_jacobian_of_a_gradient():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = v * v * v
        g = inner.gradient(y, v)
    np.testing.assert_array_equal(outer.jacobian(g, v).numpy(), [[6.0, 0.0], [0.0, 12.0]])


def test_gradient_of_a_jacobian():
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = v * v * v
        j = inner.jacobian(y, v)
    np.testing.assert_array_equal(outer.gradient(j, v).numpy(), [6.0, 12.0])


def test_batch_jacobian():
    v = ad.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
        z = v[:, :2] * v[:, 1:]
    expected = np.zeros((2, 3, 3))
    expected[:, range(3), range(3)] = 2 * v.numpy()
    np.testing.assert_array_equal(tape.batch_jacobian(y, v).numpy(), expected)
    rows = tape.jacobian(z, v).numpy()[range(2), :, range(2)]
    np.testing.assert_array_equal(tape.batch_jacobian(z, v).numpy(), rows)


@pytest.mark.parametrize("transform", ["jacobian", "batch_jacobian"])
def test_recorded_jacobian_of_a_tape_is_one_sweep_whatever_its_rows(transform):
    def derivative(x):
        with ad.GradientTape() as tape:
            tape.watch(x)
            y = np.sin(x) * x[:, :1]
        return getattr(tape, transform)(y, x)

    short, long = np.random.default_rng(1).random((2, 3)), np.random.default_rng(2).random((2, 7))
    programs = [ad.record(derivative)(ad.constant(x)) for x in (short, long)]
    assert len({len(program.instructions) for program in programs}) == 1
    np.testing.assert_allclose(programs[1](long), derivative(ad.constant(long)).numpy(), rtol=1e-15)


@pytest.mark.parametrize("room", [1, 1 << 16])
def test_rows_without_a_connection_are_zeros_among_others(room, monkeypatch):
    monkeypatch.setattr("ad.transforms.jacobians.MAX_LANE_ELEMENTS", room)

    @ad.custom_gradient
    def last_only(x):
        return x * 1.0, lambda y_bar: y_bar * 2.0 if y_bar[1] else None

    expected = [[0.0, 0.0], [0.0, 2.0]]
    v = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = last_only(v)
    np.testing.assert_array_equal(tape.jacobian(y, v).numpy(), expected)
    np.testing.assert_array_equal(ad.jacobian(last_only, mode="reverse")(v.numpy()), expected)


def test_batch_jacobian_errors_and_zeros(x):
    v, w, flat = ad.Variable(np.ones((2, 3))), ad.Variable(np.ones((4, 3))), ad.Variable(np.ones(2))
    with ad.GradientTape(persistent=True) as tape:
        y = v * v
        f = flat * flat
    with pytest.raises(ValueError, match="must have rank at least 2"):
        tape.batch_jacobian(f, v)
    with pytest.raises(ValueError, match="must have rank at least 2"):
        tape.batch_jacobian(y, flat)
    with pytest.raises(ValueError, match="first dimension"):
        tape.batch_jacobian(y, w)
    other = ad.Variable(np.ones((2, 4)))
    np.testing.assert_array_equal(tape.batch_jacobian(y, other).numpy(), np.zeros((2, 3, 4)))
    with ad.GradientTape() as once:
        y = v * v
    once.batch_jacobian(y, v)
    with pytest.raises(RuntimeError, match="persistent=True"):
        once.batch_jacobian(y, v)


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
