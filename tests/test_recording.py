"""Compiled functions: results, and the compiled function as an object."""
import copy
import pickle

import numpy as np
import pytest
from recordings import Point, assert_equal, counted

import ad

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


# -- the object ------------------------------------------------------------------------------------


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
