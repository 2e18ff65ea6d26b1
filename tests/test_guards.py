"""Compiled functions: where Python sees a value, where recordings part, and what leaves them."""
import sys
import warnings

import numpy as np
import pytest
from recordings import counted

import ad

# -- where Python looks ----------------------------------------------------------------------------


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
    with pytest.warns(UserWarning, match=f"test_guards.py:{line}: .* 5 branches are recorded") as found:
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
    with pytest.warns(UserWarning, match=rf"test_guards.py:\d+: {what.replace('()', '')}\(\) takes a value out"):
        assert compiled(1.5) == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(2.5) == 5.0
        ad.compile(lambda x: (print(x.shape, x.dtype), x)[1])(np.ones(2))


@pytest.mark.parametrize("write", [
    lambda x, a: np.sin(x, out=a), lambda x, a: np.add(a, x, out=a), lambda x, a: np.any(x, out=a[0, ...]),
    lambda x, a: a.__iadd__(x), lambda x, a: np.copyto(a, x),
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
