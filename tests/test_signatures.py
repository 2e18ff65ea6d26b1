"""Compiled functions: what belongs to the signature of a call, and what is captured."""
import warnings

import numpy as np
import pytest
from recordings import Layer, Point, assert_equal, counted

import ad

# -- signatures ------------------------------------------------------------------------------------


def test_new_shapes_and_dtypes_are_recorded_and_old_ones_kept(rng):
    compiled, runs = counted(lambda x: np.sum(np.sin(x) * x, axis=0))
    inputs = [rng.random(3), rng.random(4), rng.random((3, 2)), rng.random(3).astype(np.float32), np.arange(3),
              rng.random(3) + 1j, np.float64(2.0)]
    for _ in range(3):
        for x in inputs[:-1]:
            assert_equal(compiled(x), np.sum(np.sin(x) * x, axis=0))
    assert len(runs) == 6


def test_arrays_of_integers_and_truths_are_told_apart_in_every_call(rng):
    compiled, runs = counted(lambda x, index: np.sum(np.where(index, x, 2.0)[index]) * 3)
    x = rng.random(4)
    signatures = [np.array([0, 1, 3, 1]), np.array([0, 1, 3, 1], np.int32), np.array([3, 0]), np.arange(8)[::2] % 4]
    for _ in range(3):
        for index in signatures[:2]:
            for shifted in (index, (index + 1) % 4, index[::-1]):
                assert_equal(compiled(x, shifted), np.sum(np.where(shifted, x, 2.0)[shifted]) * 3)
        assert_equal(compiled(x, signatures[3]), np.sum(np.where(signatures[3], x, 2.0)[signatures[3]]) * 3)
    assert len(runs) == 2
    chosen, runs = counted(lambda x, mask: np.where(mask, x, 0) * 2.0)
    for mask in (x > 0.5, x > 0.1, (x > 0.5).astype(np.int8), (x > 0.5)[::-1]):
        assert_equal(chosen(x, mask), np.where(mask, x, 0) * 2.0)
    assert len(runs) == 2


def test_float32_stays_float32_beside_python_floats():
    compiled, runs = counted(lambda x, c: x * c + 0.1)
    x = np.ones(3, np.float32)
    for c in (2.0, 3.0, 2.0, 0.0, -0.0, 0.0, np.nan, np.nan):
        assert_equal(compiled(x, c), x * c + 0.1)
    assert len(runs) == 5  # a float adapts to float32, so it is part of the signature; zeros differ by their sign
    assert np.signbit(ad.compile(lambda x, c: x * c)(x, -0.0)).all()


def test_floats_are_inputs():
    compiled, runs = counted(lambda x, c: x * c)
    for c in (2.0, 3.0, 1e300, np.inf):
        assert_equal(compiled(np.arange(3.0) + 1, c), (np.arange(3.0) + 1) * c)
        assert_equal(compiled(np.float64(0.5), c), np.float64(0.5) * c)
    assert len(runs) == 2


def test_bounds_of_slices_are_values_that_python_sees():
    x, y = np.array([1.0, 2.0, 9.0, 3.0]), np.array([1.0, 9.0, 2.0, 0.5])
    for f in (lambda x: np.sum(x[:np.argmax(x)]), lambda x: np.sum(x[None, np.argmax(x):]),
              lambda x: np.sum(x.reshape(2, 2)[:np.sum(x > 2.5)]), lambda x: np.sum(x[::np.argmax(x)]),
              lambda x: np.sum(x.reshape(2, 2)[np.argmax(x) % 2, :np.argmax(x)])):
        compiled, runs = counted(f)
        for a in (x, y, x, y):
            assert_equal(compiled(a), f(a))
            assert_equal(ad.compile(ad.grad(f))(a), ad.grad(f)(a))
        assert len(runs) == 2


def test_a_slice_by_an_integer_argument():
    compiled, runs = counted(lambda x, n: x[1:n])
    for n in (3, 4, 3):
        assert_equal(compiled(np.arange(5.0), np.int64(n)), np.arange(1.0, n))
    assert len(runs) == 2


def test_results_that_are_constants_have_the_type_of_the_first_call():
    x = np.array([2.0, 3.0])
    for f in (lambda x: x[0] ** 0, lambda x: np.sum(x) ** 0 + 1.0):
        compiled = ad.compile(f)
        assert [type(compiled(x)) for _ in range(3)] == [np.float64] * 3 and compiled(x) == f(x)


def test_numbers_strings_and_objects_belong_to_the_signature():
    def f(x, n, how, double, g, options):
        y = x**n if how == "power" else x * n
        return g(2 * y if double else y) + len(options)

    compiled, runs = counted(f)
    x, some = np.array([1.5, 2.0]), {1, 2}
    calls = [(3, "power", True, np.sin, some), (3, "times", True, np.sin, some), (3, "times", False, np.cos, some),
             (1, "times", False, np.cos, some), (True, "times", False, np.cos, some)]
    for _ in range(2):
        for call in calls:
            assert_equal(compiled(x, *call), f(x, *call))
    assert len(runs) == len(calls)


def test_an_object_without_a_hash_is_itself_only():
    """Also where a new one is made at the address of an old one."""
    compiled = ad.compile(lambda x, chosen: x * sum(chosen))
    for n in range(200):
        assert compiled(np.float64(2.0), {n, n + 1}) == 2.0 * (2 * n + 1)


def test_arguments_in_containers(rng):
    def f(params, *xs, scale=1.0, **others):
        y = params["layers"][0].weight @ xs[0].x + params["layers"][0].bias
        return {"y": scale * y, "rest": [others["shift"] + x.y for x in xs]}

    compiled, runs = counted(f)
    for _ in range(3):
        args = ({"layers": (Layer(rng.random((2, 2)), rng.random(2)), None)}, Point(rng.random(2), 1.0),
                Point(rng.random(2), rng.random()))
        kwargs = {"scale": rng.random(), "shift": rng.random(2)}
        assert_equal(compiled(*args, **kwargs), f(*args, **kwargs))
    assert len(runs) == 1
    compiled(*args, Point(0.0, 2.0), **kwargs)
    assert len(runs) == 2


def test_keywords_in_another_order(rng):
    compiled = ad.compile(lambda a, b: a - 2 * b)
    x, y = rng.random(3), rng.random(3)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(a=x, b=y), x - 2 * y)
        np.testing.assert_array_equal(compiled(b=y, a=x), x - 2 * y)
        np.testing.assert_array_equal(compiled(x, b=y), x - 2 * y)


@pytest.mark.parametrize("use", range(3))
def test_arguments_that_are_not_used(use, rng):
    v = [ad.Variable(1.0), ad.Variable(rng.random(3))]
    compiled = ad.compile(lambda *xs: xs[use] * 2 + v[1] + 0 * np.sum(v[0]))
    unused = ad.compile(lambda *xs: (v[0] + 1, xs[use] * v[1])[1])
    for _ in range(3):
        xs = [rng.random(3), rng.random(3), rng.random()]
        np.testing.assert_allclose(compiled(*xs), xs[use] * 2 + v[1].numpy(), rtol=1e-15)
        np.testing.assert_allclose(unused(*xs), xs[use] * v[1].numpy(), rtol=1e-15)


def test_many_arguments_and_variables(rng):
    variables = [ad.Variable(i + 0.5) for i in range(30)]
    compiled = ad.compile(lambda *xs: sum(x * v for x, v in zip(xs, variables)))
    for n in (3, 14, 15, 16, 17, 30):
        for _ in range(2):
            xs = list(rng.random(n))
            np.testing.assert_allclose(compiled(*xs), sum(x * (i + 0.5) for i, x in enumerate(xs)), rtol=1e-13)


# -- what is captured ------------------------------------------------------------------------------


def test_variables_are_read_anew():
    w, unused = ad.Variable([1.0, 2.0]), ad.Variable(5.0)

    def inner(x):
        return x * w

    compiled, runs = counted(lambda x: (np.sum(inner(x)) + w[0], w, unused))
    for i in range(4):
        w.assign([i, i + 1.0])
        unused.assign(i)
        y, w_now, number = compiled(np.array([1.0, 10.0]))
        assert y == 12 * i + 10
        np.testing.assert_array_equal(w_now, [i, i + 1])
        assert number == i and type(number) is np.float64 and type(w_now) is np.ndarray
    assert len(runs) == 1


def test_variables_as_arguments():
    """They stay variables, which tapes watch; each is an object of its own."""
    def slope(w):
        with ad.GradientTape() as tape:
            y = w * w
        return y, tape.gradient(y, w)

    compiled, runs = counted(slope)
    w, other = ad.Variable(3.0), ad.Variable(3.0)
    for i in range(3):
        w.assign(i)
        assert [part.numpy() for part in compiled(w)] == [i * i, 2 * i]
        assert [part.numpy() for part in compiled(other)] == [9, 6]
    assert len(runs) == 2


def test_gradients_by_tapes_inside():
    w = ad.Variable([1.0, 2.0])

    def step(x):
        with ad.GradientTape() as tape:
            loss = np.sum(w**2 * x)
        return loss, tape.gradient(loss, w)

    compiled, runs = counted(step)
    for i in range(3):
        w.assign([i, 3.0])
        loss, w_bar = compiled(np.array([1.0, 2.0]))
        assert loss == i * i + 18
        np.testing.assert_array_equal(w_bar, [2 * i, 12.0])
    assert len(runs) == 1


def test_assignment_is_refused_and_nothing_is_kept():
    w = ad.Variable(1.0)
    for assign in (w.assign, w.assign_add, w.assign_sub):
        compiled, runs = counted(lambda x, assign=assign: assign(x))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(TypeError, match="was assigned to in a function that ad.compile records"):
                    compiled(1.0)
        assert w.numpy() == 1.0
        assert len(runs) == 2


def test_captured_arrays_are_those_of_the_recording(rng):
    table = np.array([1.0, 2.0, 3.0])
    index = np.array([0, 2])
    mask = np.array([True, False, True])
    compiled = ad.compile(lambda x: (x * table, x[index], np.where(mask, x, 0), x[mask], np.take(x, index)))
    x = rng.random(3)
    wanted = (x * table, x[index], np.where(mask, x, 0), x[mask], np.take(x, index))
    assert_equal(compiled(x), wanted)
    table[:], index[:], mask[:] = 0, 1, False
    assert_equal(compiled(x), wanted)
    assert_equal(compiled(x.copy()), wanted)


def test_functions_without_derivatives_take_constants_and_named_tuples():
    c = ad.constant([1.0, 2.0])
    for f in (lambda x: x * np.argmax(c), lambda x: x * np.searchsorted(c, x), lambda x: x * np.any(c > 1.5),
              lambda x: np.searchsorted(x, Point(0.5, 1.5)) * x, lambda x: np.isclose(x, c) * x):
        compiled = ad.compile(f)
        for x in (np.array([1.0, 3.0]), np.array([0.0, 1.0])):
            assert_equal(compiled(x), np.asarray(f(x)))


def test_what_an_array_is_filled_with_is_no_constant():
    def f(x):
        own = np.full_like(x, 2.0)
        own[0] = 1.0
        return x * np.full_like(x, np.sum(x)) + np.full_like(x, fill_value=[x[0], x[1]]) * own

    compiled = ad.compile(f)
    for x in ([1.0, 2.0], [3.0, 5.0]):
        np.testing.assert_array_equal(compiled(np.array(x)), f(np.array(x)))


def test_captured_memory_maps_are_those_of_the_recording(tmp_path, rng):
    table = np.memmap(tmp_path / "table", float, "w+", shape=3)
    index = np.memmap(tmp_path / "index", np.int64, "w+", shape=3)
    table[:], index[:] = [0.1, 0.5, 0.7], [2, 0, 1]

    def f(x):
        return x * table, x[index], np.searchsorted(table, x), table

    compiled, x = ad.compile(f), rng.random(3)
    wanted = [np.array(y) for y in f(x)]
    for _ in range(3):
        for a, b in zip(compiled(x), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
            assert type(a) is np.ndarray
        table[:], index[:] = 9.0, 0
    np.testing.assert_array_equal(ad.compile(np.sin)(table), np.sin(table))


# -- objects among the arguments -------------------------------------------------------------------


class Settings:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def scaled(self, x):
        return x * self.scale

    compiled = ad.compile(scaled)


def set_nested(settings):
    settings.inner.scale = 3.0


@pytest.mark.parametrize(("make", "f", "change"), [
    (lambda: Settings(scale=2.0), lambda x, s: x * s.scale, lambda s: setattr(s, "scale", 3.0)),
    (lambda: Settings(scale=2.0), lambda x, s: s.compiled(x), lambda s: setattr(s, "scale", 3.0)),
    (lambda: Settings(scales=[1.0, 2.0]), lambda x, s: x * s.scales[1], lambda s: s.scales.__setitem__(1, 3.0)),
    (lambda: Settings(by={"a": 2.0}), lambda x, s: x * s.by["a"], lambda s: s.by.update(a=3.0)),
    (lambda: Settings(w=np.full(2, 2.0)), lambda x, s: x * s.w, lambda s: setattr(s, "w", np.full(2, 3.0))),
    (lambda: Settings(inner=Settings(scale=2.0)), lambda x, s: x * s.inner.scale, set_nested),
    (lambda: Settings(twice=True), lambda x, s: 2 * x if s.twice else 3 * x, lambda s: setattr(s, "twice", 0)),
], ids=["number", "method", "list", "dict", "array", "object", "truth"])
def test_an_object_that_has_changed_is_another_argument(make, f, change):
    settings, x = make(), np.ones(2)
    compiled, runs = counted(f)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x, settings), [2, 2])
    assert len(runs) == 1
    change(settings)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x, settings), [3, 3])
    assert len(runs) == 2


def test_an_object_that_holds_itself():
    settings = Settings(scale=2.0)
    settings.me = [settings] * 3
    assert ad.compile(lambda x, s: x * s.scale)(1.5, settings) == 3
