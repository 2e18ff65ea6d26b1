"""GradientTape: what it watches, targets and sources, and what is not connected."""
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
