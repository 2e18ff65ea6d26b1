"""Compiled functions: what a recording depends on, where it parts, and what is said where it cannot follow."""
import collections
import copy
import dataclasses
import pickle
import sys
import warnings

import numpy as np
import pytest

import ad


def counted(f, **options):
    """A compiled function, and a list that grows by one each time `f` itself is run."""
    runs = []

    def counting(*args, **kwargs):
        runs.append(args)
        return f(*args, **kwargs)

    return ad.compile(counting, **options), runs


def assert_equal(found, wanted):
    """Values, types and containers are the same."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray | np.generic):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-14 if found.dtype.itemsize >= 8 else 1e-6)
    elif isinstance(wanted, tuple | list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            assert_equal(a, b)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, part in wanted.items():
            assert_equal(found[key], part)
    else:
        assert found == wanted


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


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Layer:
    weight: object
    bias: object


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


# -- results ---------------------------------------------------------------------------------------


def test_results_in_containers_with_what_is_no_array():
    def f(x):
        return {"y": x * 2, "none": None, "name": "f", "n": 3, "yes": True, "p": Point(x, [x + 1, 2.5]), "empty": ()}

    compiled = ad.compile(f)
    for x in (np.arange(2.0), np.ones(2)):
        assert_equal(compiled(x), f(x))


@pytest.mark.parametrize("result", [None, "text", 7, (), [None]], ids=str)
def test_results_without_values(result):
    compiled = ad.compile(lambda x: result)
    for _ in range(3):
        assert_equal(compiled(np.ones(2)), result)


def test_results_share_no_memory(rng):
    captured = rng.random(3)

    def f(x):
        y = np.sin(x)
        views = x[1:], x.reshape(3, 1), np.broadcast_to(x, (2, 3)), x.T, y[1:]
        return x, ad.asarray(captured) * 1, captured, y, y, *views

    compiled = ad.compile(f)
    for _ in range(3):
        x = rng.random(3)
        found, again = compiled(x), compiled(x)
        for i, y in enumerate(found):
            assert isinstance(y, np.ndarray) and y.flags.writeable
            for other in (x, captured, *found[:i], *again):
                assert not np.may_share_memory(y, other)
        for y in found:
            y[...] = np.nan
        assert_equal(compiled(x), f(x))


@pytest.mark.parametrize("x", [
    np.float64(2.0), np.array(2.0), np.empty(0), np.empty((0, 3)), np.arange(24.0)[::2], np.arange(24.0)[::-1],
    np.arange(24.0).reshape(4, 6).T, np.asfortranarray(np.arange(24.0).reshape(4, 6)), np.broadcast_to(3.0, (2, 3)),
    np.arange(24.0).reshape(2, 3, 4)[:, ::2, 1:], np.arange(5.0).astype(">f8"), np.float32(1.5), 2.0, 2j,
    np.frombuffer(b"\0" + np.arange(3.0).tobytes(), offset=1, dtype=float), np.array([True, False]),
], ids=lambda x: f"{np.shape(x)}, {np.asarray(x).dtype}")
def test_inputs_of_every_kind(x):
    def f(x):
        return np.sin(x), x * 2 + 1, np.sum(x), np.transpose(x)

    compiled = ad.compile(f)
    before = np.array(x)
    for _ in range(3):
        for a, b in zip(compiled(x), f(x)):
            assert np.shape(a) == np.shape(b) and np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=1e-14 if np.asarray(b).itemsize >= 8 else 1e-6)
    np.testing.assert_array_equal(x, before)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("x", [np.ma.array([3.0, 4.0], mask=[False, True]), np.eye(2).view(np.matrix)])
def test_arrays_that_are_more_than_their_values_go_to_the_function(x):
    compiled, runs = counted(lambda x, y: (x * x, np.sum(x) * y))
    for n in range(3):
        product, total = compiled(x, 2.0)
        assert type(product) is type(x) and (product == x * x).all() and total == 2 * np.sum(x)
        x = x + n
    assert len(runs) == 3
    with pytest.raises(TypeError, match="which a replay cannot make anew"):
        ad.compile(lambda y: (x, y))(1.0)


def test_layouts_share_a_recording(rng):
    compiled, runs = counted(lambda x: np.cos(x) @ np.ones(4))
    for x in (rng.random((3, 4)), rng.random((4, 3)).T, rng.random((6, 8))[::2, ::2], rng.random((3, 4))[::-1]):
        np.testing.assert_allclose(compiled(x), np.cos(x) @ np.ones(4), rtol=1e-14)
    assert len(runs) == 1


def test_arrays_of_ours_give_arrays_of_ours():
    compiled = ad.compile(lambda x, y: (x * y, [x + 1], 3))
    for _ in range(3):
        product, (sum_,), n = compiled(ad.constant([1.0, 2.0]), np.array([3.0, 4.0]))
        assert type(product) is ad.Array and type(sum_) is ad.Array and n == 3
        np.testing.assert_array_equal(product.numpy(), [3.0, 8.0])
        assert isinstance(compiled(np.ones(2), np.ones(2))[0], np.ndarray)


# -- what is captured --------------------------------------------------------------------------------


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


# -- where Python looks ------------------------------------------------------------------------------


def newton(a):
    x = a
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


def nested(x):
    if x[0] > 0:
        if np.sum(x) > 1:
            return x * 2
        return x * 3 if x[1] > 0.5 else x * 4
    return -x


def bubble(xs):
    xs = list(xs)
    return np.stack(sorted(xs))


def loops(x):
    y = 0.0
    for i, part in enumerate(x):
        y = y * part + len(x) + i
        if i in (1, 2) and part > 0.5:
            continue
        y = y + 1
    return y


def conversions(x):
    return x * float(x[0]) + int(10 * x[1]) + bool(x[2] > 0.5) + [1.0, 2.0, 3.0][int(3 * x[2])]


def indices(x):
    return x[int(3 * x[0])] * x[np.argmax(x)] + np.arange(4.0)[int(x[1] * 4)]


def masks(x):
    return np.sum(x[x > 0.5] ** 2) + np.where(x > 0.2, x, -x).sum()


def contains(x):
    return x * 2 if 0.0 in np.round(x * 2) else x


def any_all(x):
    y = x if np.any(x > 0.9) else 2 * x
    return y + 1 if (x > 0.1).all() else y


def extremes(x):
    return max(x[0], x[1]) - min(x[2], 0.5) + np.max(x) + max(*x)


def by_shape(x):
    return np.nonzero(x > 0.5)[0] * 1.0


@pytest.mark.parametrize("f", [nested, bubble, loops, conversions, indices, masks, contains, any_all, extremes,
                               by_shape], ids=lambda f: f.__name__)
def test_python_sees_the_values(f):
    """Often enough that every way is met, with few values so that some repeat."""
    rng = np.random.default_rng(3)
    compiled, runs = counted(f)
    inputs = [np.round(rng.random(3), 1) - (0.3 if i % 4 == 0 else 0.0) for i in range(60)]
    inputs = [x.clip(-0.9, 0.9) for x in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in inputs[:50]:
            np.testing.assert_allclose(compiled(x), f(x), rtol=1e-14)
        before = len(runs)
        for x in inputs[:50]:
            np.testing.assert_allclose(compiled(x), f(x), rtol=1e-14)
    assert len(runs) == before
    assert before > 1


@pytest.mark.parametrize("cut", [ad.stop_gradient, lambda x: ad.stop_gradient(x) * 2, lambda x: np.sign(x) > 0])
def test_python_sees_what_is_cut_off_in_a_recorded_gradient(cut):
    slope = ad.grad(lambda x: np.sum(x * x) * float(np.sum(cut(x))))
    compiled = ad.compile(slope)
    for x in ([1.0, 2.0], [1.0, 2.0], [3.0, -1.0]):
        np.testing.assert_array_equal(compiled(np.array(x)), slope(np.array(x)))


def test_round_is_that_of_a_number():
    def f(x):
        return round(x) * x, round(x, 1), [1.0, 2.0, 3.0][round(x) % 3]

    compiled, runs = counted(f)
    for x in (2.5, 3.5, -0.51, 2.4, 2.44, 3.6):
        assert compiled(x) == f(x)
    assert len(runs) == 3
    assert ad.grad(lambda x: x * round(x))(2.6) == 3.0


def test_a_loop_whose_length_depends_on_the_data():
    compiled, runs = counted(newton)
    values = [*np.linspace(0.1, 100, 50), 1.0, 1e8]
    for _ in range(2):
        for a in values:
            np.testing.assert_allclose(compiled(a), np.sqrt(a), rtol=1e-12)
    assert 1 < len(runs) < 25
    slopes = ad.compile(ad.grad(newton))
    for a in values:
        np.testing.assert_allclose(slopes(a), ad.grad(newton)(a), rtol=1e-12)


def test_a_line_that_splits_without_end_is_named(monkeypatch):
    monkeypatch.setattr(sys.modules["ad.compiler.compile"], "MAX_VARIANTS", 5)

    def f(x):
        y = x * 2 if x > 0 else x
        return y * float(x)  # HERE

    compiled, runs = counted(f)
    line = f.__code__.co_firstlineno + 2
    values = np.linspace(-1, 1, 20)
    with pytest.warns(UserWarning, match=f"test_recording.py:{line}: .* 5 branches are recorded") as found:
        for x in values:
            np.testing.assert_allclose(compiled(x), f(x), rtol=1e-15)
    assert len([w for w in found if "branches are recorded" in str(w.message)]) == 1
    assert found[0].filename == __file__
    before = len(runs)
    for x in values[:5]:
        compiled(x)
    assert len(runs) == before == 20
    assert compiled(values[-1]) == f(values[-1])
    assert len(runs) == 21


def test_random_numbers_are_those_of_the_recording():
    compiled, runs = counted(lambda x: x + np.random.default_rng().random())
    first = compiled(1.0)
    assert compiled(1.0) == first
    assert compiled(2.0) == first + 1
    assert len(runs) == 1


def test_a_function_that_changes_runs_itself():
    state = []

    def f(x):
        state.append(x)
        y = np.sin(x) if len(state) % 2 else np.cos(x)
        return y + 1 if float(y) > 5 else y

    compiled = ad.compile(f)
    with pytest.warns(UserWarning, match="something else each time") as found:
        for x in np.linspace(0, 1, 6):
            compiled(x)
    assert found[0].filename == __file__
    assert len(state) == 6


# -- what leaves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "leak"), [
    ("numpy()", lambda y: y.numpy()), ("str()", lambda y: str(y)), ("repr()", lambda y: repr(y)),
    ("format()", lambda y: f"{y:.3f}"),
    ("str()", lambda y: print(y)), ("format()", lambda y: f"{y}"),
])
def test_a_value_that_leaves_is_told_of(what, leak, capsys):
    def f(x):
        y = x * 2
        leak(y)
        return y

    compiled = ad.compile(f)
    with pytest.warns(UserWarning, match=rf"test_recording.py:\d+: {what.replace('()', '')}\(\) takes a value out"):
        assert compiled(1.5) == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(2.5) == 5.0
        ad.compile(lambda x: (print(x.shape, x.dtype), x)[1])(np.ones(2))


@pytest.mark.parametrize("write", [
    lambda x, a: np.sin(x, out=a), lambda x, a: np.add(a, x, out=a), lambda x, a: np.any(x, out=a[0, ...]),
    lambda x, a: a.__iadd__(x), lambda x, a: x.__setitem__(0, 1.0), lambda x, a: np.copyto(a, x),
    lambda x, a: np.asarray(x), lambda x, a: np.array([x[0], 1.0])])
def test_writing_into_an_array_is_refused(write):
    compiled = ad.compile(lambda x: write(x, np.zeros(2)))
    for _ in range(2):
        with pytest.raises(TypeError, match="ad:"):
            compiled(np.ones(2))


@pytest.mark.filterwarnings("ignore:.*of the recording")
def test_elements_of_a_local_array_are_seen_by_python():
    """NumPy asks for a number then, so that is a guard: right, and told of if it goes on."""
    def f(x):
        a = np.zeros(2)
        a[0] = x[0]
        return a * x

    compiled, runs = counted(f)
    for x in ([1.0, 2.0], [1.0, 3.0], [2.0, 3.0], [1.0, 4.0]):
        np.testing.assert_array_equal(compiled(np.array(x)), [x[0] ** 2, 0])
    assert len(runs) == 2


def test_text_that_numpy_writes_is_told_of(tmp_path):
    for f in (lambda x: (np.array2string(x), x)[1], lambda x: (np.save(tmp_path / "x.npy", x), x)[1]):
        with pytest.warns(UserWarning, match="takes a value out of the recording"):
            ad.compile(f)(np.ones(2))


def test_check_finds_what_is_no_argument():
    factor = 2.0
    compiled = ad.compile(lambda x: (x * factor, np.sum(x)), check=True)
    assert compiled(np.ones(2))[0][0] == compiled(np.ones(2))[0][0] == 2.0
    factor = 3.0
    with pytest.raises(RuntimeError, match="output 0 of .* is neither an argument nor a Variable|depends on something"):
        compiled(np.ones(2))


def test_check_compares_every_part():
    parts = {"a": 1.0, "s": "text", "n": 3, "none": None}
    compiled = ad.compile(lambda x: {**parts, "a": x * parts["a"], "yes": x > 0}, check=True)
    for _ in range(2):
        assert compiled(2.0) == {"a": 2.0, "s": "text", "n": 3, "none": None, "yes": True}
    parts["s"] = "other"
    with pytest.raises(RuntimeError, match="'text' by replay and 'other' by the function"):
        compiled(2.0)
    parts["more"] = 1
    with pytest.raises(TypeError, match="what the function returns now"):
        compiled(2.0)


@pytest.mark.parametrize("f", [nested, loops, bubble])
def test_check_passes_what_is_right(f, rng):
    compiled = ad.compile(f, check=True)
    for _ in range(20):
        x = rng.random(3)
        np.testing.assert_allclose(compiled(x), f(x))
    ours = compiled(ad.constant(x))
    np.testing.assert_allclose(ours.numpy(), f(x))


def test_floating_point_errors_flow():
    compiled = ad.compile(lambda x, y: (x / y, np.log(x), np.maximum(x, y), np.where(y == 0, 0.0, x / y)))
    x, y = np.array([0.0, 1.0, -1.0, np.inf, np.nan]), np.array([0.0, 0.0, -0.0, np.inf, 1.0])
    for _ in range(3):
        for a, b in zip(compiled(x, y), compiled.f(x, y)):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(np.signbit(a[:3]), np.signbit(b[:3]))


@pytest.mark.parametrize(("first", "second"), [
    (lambda x: np.clip(x, np.nan, 5.0), lambda x: np.clip(x, 1.0, 5.0)),
    (lambda x: np.copysign(x, 0.0), lambda x: np.copysign(x, -0.0)),
    (lambda x: np.where(x > 0, x, np.zeros(300)[0]), lambda x: np.where(x > 0, x, np.float64(-0.0))),
    (lambda x: x + np.arange(300.0)[int(0 * x)], lambda x: x + np.arange(1, 301.0)[int(0 * x)]),
    (lambda x: x * bool(x * 2), lambda x: x + int(x * 2)), (lambda x: x * bool(x * 2), lambda x: x * 2),
    (lambda x: x * 2, lambda x: x * bool(x * 2)),
])
def test_recordings_that_contradict_each_other_are_not_mixed(first, second):
    """The function does something else than before, up to a guard: a way it goes now is no branch of what it did."""
    how = first

    def f(x):
        y = how(x)
        return (y, x) if x > 1 else (y, -x)

    compiled = ad.compile(f)
    compiled(0.5)
    how = second
    with pytest.warns(UserWarning, match="does something else each time"):
        compiled(2.0)
    assert compiled(3.0) == f(3.0)


def test_recordings_that_agree_are_joined():
    """Also where what they hold is made anew each time: arrays of any size, text, dtypes."""
    def f(x):
        y = np.sum((x * np.arange(500.0))[np.arange(0, 500, 2)].astype(np.dtype(">f8")))
        return (x, y) if np.isin(x, np.arange(300.0)) else (-x, y)

    compiled, runs = counted(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (0.5, 2.0, 1.5, 3.0):
            np.testing.assert_allclose(compiled(x), f(x))
    assert len(runs) == 2


# -- the object -------------------------------------------------------------------------------------


class Model:
    def __init__(self, w):
        self.w = ad.Variable(w)

    @ad.compile
    def predict(self, x):
        """Doc."""
        return self.w * x


@ad.compile
def decorated(x):
    return x * 2


def plain(x):
    return x * 3


def test_methods():
    a, b = Model(2.0), Model(3.0)
    for _ in range(3):
        assert a.predict(5.0) == 10.0 and b.predict(5.0) == 15.0
    a.w.assign(4.0)
    assert a.predict(x=5.0) == 20.0
    assert Model.predict.__doc__ == "Doc." and Model.predict.__name__ == "predict"


def test_compiled_functions_are_pickled_and_copied():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    compiled = ad.compile(plain)
    for again in (pickle.loads(pickle.dumps(compiled)), copy.copy(compiled), copy.deepcopy(compiled)):
        assert again(2.0) == 6.0 and repr(again) == "<compiled 'plain', 1 signatures>"


class Holder:
    def __init__(self, y):
        self.y = y


@pytest.mark.parametrize("make", [lambda y: lambda: y, Holder, lambda y: iter([y]), lambda y: {1, 2}, lambda y: y.sum])
def test_results_that_a_replay_cannot_make_are_refused(make):
    compiled = ad.compile(lambda x: (x, make(x * 2)))
    for _ in range(2):
        with pytest.raises(TypeError, match="returns .*, which a replay cannot make anew"):
            compiled(1.0)
    with pytest.raises(TypeError, match="replay cannot make"):
        ad.compile(lambda x: ad.vjp(np.sin, x))(1.0)


def test_an_object_that_was_given_may_be_returned():
    config = Holder(3)
    compiled = ad.compile(lambda x, config: (x * config.y, config))
    for _ in range(3):
        assert compiled(2.0, config) == (6.0, config)


def test_what_cannot_be_compiled():
    def generator(x):
        yield x

    with pytest.raises(TypeError, match="not a generator"):
        ad.compile(generator)
    for transform in (ad.compile, ad.record):
        with pytest.raises(TypeError, match="takes a function, not a float"):
            transform(3.0)


def test_the_decorator_takes_arguments():
    @ad.compile(check=True)
    def double(x):
        return 2 * x

    assert double.check and double(3.0) == double(3.0) == 6.0


# -- objects among the arguments ---------------------------------------------------------------------


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
