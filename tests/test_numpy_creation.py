"""`ad.numpy`: functions that make arrays, beside NumPy's own, outside and inside of derivatives."""
import pickle
import threading

import numpy
import pytest

import ad
import ad.numpy as np

DATA = numpy.linspace(1.0, 2.0, 6).reshape(2, 3)


def inside(make):
    """What `make(np)` returns inside of a derivative."""
    found = []

    def f(x):
        found.append(make(np))
        return x

    ad.jvp(f, (1.0,), (1.0,))
    return found[0]


def same(got, want):
    """Whether the elements are the same bits, in the same dtype and shape."""
    if isinstance(want, (tuple, list)):
        assert type(got) is type(want) and len(got) == len(want)
        return all(map(same, got, want))
    got = got.numpy() if isinstance(got, ad.Array) else got
    return got.dtype == want.dtype and got.shape == want.shape and numpy.array_equal(got, want)


FLOATING = {
    "array": lambda np: np.array([[1.0, 2.0], [3, 4]]),
    "array of float32": lambda np: np.array([1, 2], dtype=np.float32),
    "array of complex": lambda np: np.array([1, 2j]),
    "array of an array": lambda np: np.array(DATA, ndmin=3),
    "array of a number": lambda np: np.array(2.5),
    "asarray of a list": lambda np: np.asarray([1, 2], float),
    "asarray that converts": lambda np: np.asarray(DATA, np.float32),
    "asanyarray": lambda np: np.asanyarray((1.0, 2.0)),
    "asarray_chkfinite": lambda np: np.asarray_chkfinite([1.0, 2.0]),
    "ascontiguousarray": lambda np: np.ascontiguousarray(1.0),
    "asfortranarray": lambda np: np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]),
    "require": lambda np: np.require([1.0, 2.0], requirements="CW"),
    "copy": lambda np: np.copy(DATA),
    "zeros": lambda np: np.zeros(3),
    "zeros of no axes": lambda np: np.zeros(()),
    "zeros of no elements": lambda np: np.zeros((0, 2)),
    "zeros of float16": lambda np: np.zeros((2, 1), "e"),
    "ones": lambda np: np.ones(shape=(2, 3), dtype=complex, order="F"),
    "full": lambda np: np.full((2, 2), 7.5),
    "full of rows": lambda np: np.full((2, 3), [1.0, 2.0, 3.0], dtype=np.float32),
    "zeros_like": lambda np: np.zeros_like(DATA),
    "zeros_like in another dtype": lambda np: np.zeros_like([1, 2], dtype=float),
    "ones_like": lambda np: np.ones_like(DATA, shape=4),
    "full_like": lambda np: np.full_like(DATA, 3),
    "eye": lambda np: np.eye(2, 3, k=1),
    "identity": lambda np: np.identity(3),
    "tri": lambda np: np.tri(3, k=-1),
    "arange": lambda np: np.arange(0.0, 1.0, 0.1),
    "arange by name": lambda np: np.arange(3, dtype=float),
    "linspace": lambda np: np.linspace(0, 1, 7),
    "linspace with its step": lambda np: np.linspace(0, 1, 7, retstep=True)[0],
    "linspace of rows": lambda np: np.linspace([0, 1], [1, 2], 3, axis=-1),
    "logspace": lambda np: np.logspace(0, 2, 5),
    "geomspace": lambda np: np.geomspace(1, 100, 5),
    "fromiter": lambda np: np.fromiter((k * 0.5 for k in range(5)), float, count=3),
    "fromfunction": lambda np: np.fromfunction(lambda i, j: i + 2 * j, (2, 3)),
    "indices": lambda np: np.indices((2, 2), dtype=float),
    "meshgrid": lambda np: np.meshgrid([1.0, 2.0], [3.0, 4.0, 5.0])[1],
    "mgrid": lambda np: np.mgrid[0:1:3j, 0:2:2j],
    "ogrid": lambda np: np.ogrid[0:1:3j, 0:2:2j][1],
    "r_": lambda np: np.r_[0.0, [1, 2], 3:5],
    "c_": lambda np: np.c_[DATA, [1, 2]],
    "hanning": lambda np: np.hanning(5),
    "fftfreq": lambda np: np.fft.fftfreq(6, 0.1),
    "concatenate": lambda np: np.concatenate([DATA, DATA]),
    "stack": lambda np: np.stack([[1.0, 2.0], [3.0, 4.0]]),
    "hstack": lambda np: np.hstack([1.0, 2.0]),
    "block": lambda np: np.block([[DATA, DATA], [DATA, DATA]]),
    "tile": lambda np: np.tile(DATA, 2),
    "diag": lambda np: np.diag([1.0, 2.0]),
    "outer": lambda np: np.outer([1.0, 2.0], [3.0, 4.0]),
    "apply_along_axis": lambda np: np.apply_along_axis(lambda row: row[:2] * 2, 1, DATA),
    "vectorize": lambda np: np.vectorize(lambda a, b: a / b)([1, 2], [[3], [4]]),
}
PLAIN = {
    "array of integers": lambda np: np.array([1, 2]),
    "array of truths": lambda np: np.array([True, False]),
    "array of text": lambda np: np.array(["a", "b"]),
    "array of objects": lambda np: np.array([1, None]),
    "array of dates": lambda np: np.array(["2020-01-01"], "M8[D]"),
    "arange": lambda np: np.arange(5),
    "zeros of integers": lambda np: np.zeros(3, int),
    "ones of truths": lambda np: np.ones_like([1, 2], dtype=bool),
    "full of integers": lambda np: np.full(2, 7),
    "indices": lambda np: np.indices((2, 3)),
    "mgrid": lambda np: np.mgrid[0:2, 0:3],
    "r_": lambda np: np.r_[0, 1:4],
    "diag": lambda np: np.diag(DATA),
    "random": lambda np: np.random.default_rng(1).normal(size=3),
    "frombuffer": lambda np: np.frombuffer(bytes(16)),
}


@pytest.mark.parametrize("name", FLOATING)
def test_floating_results_are_ours_inside_only(name):
    want, outside, got = (make(FLOATING[name]) for make in (lambda f: f(numpy), lambda f: f(np), inside))
    assert type(outside) is numpy.ndarray and isinstance(got, ad.Array) and got.is_constant
    assert same(outside, want) and same(got, want)


@pytest.mark.parametrize("name", PLAIN)
def test_other_results_stay_plain(name):
    want, outside, got = (make(PLAIN[name]) for make in (lambda f: f(numpy), lambda f: f(np), inside))
    assert type(outside) is type(got) is numpy.ndarray
    assert same(outside, want) and same(got, want)


def test_empty():
    assert inside(lambda np: np.empty((2, 3))).shape == (2, 3) and isinstance(inside(lambda np: np.empty(2)), ad.Array)
    assert inside(lambda np: np.empty_like(DATA)).shape == (2, 3)
    assert type(np.empty(2)) is type(np.empty_like(DATA)) is numpy.ndarray


def test_a_plain_array_stays_itself():
    for function in ("asarray", "asanyarray", "ascontiguousarray", "require"):
        assert inside(lambda np, name=function: getattr(np, name)(DATA)) is DATA
    assert inside(lambda np: np.array(DATA, copy=None)) is DATA
    assert type(inside(lambda np: np.asarray(memoryview(DATA)))) is numpy.ndarray
    assert type(inside(lambda np: np.sum(DATA, axis=0))) is numpy.ndarray


def test_an_array_does_not_share_memory_with_what_it_was_made_of():
    x = numpy.ones(3)
    for make in (np.array, np.copy, lambda x: np.asarray(x, dtype=np.float32), lambda x: np.concatenate([x])):
        made = inside(lambda np, make=make: make(x))
        assert isinstance(made, ad.Array) and not numpy.shares_memory(made.numpy(), x)


def test_an_array_passes_through_conversions():
    def f(x):
        assert np.asarray(x) is x and np.asanyarray(x) is x and np.asarray(x, dtype=np.float64) is x
        assert np.array(x, copy=None) is x and np.array(x) is not x and np.require(x, float, "C") is x
        assert np.asarray(x, np.float32).dtype == np.float32
        assert np.array(x, ndmin=3).shape == (1, 1, 2) and np.ascontiguousarray(x[0]).shape == (1,)
        with pytest.raises(ValueError, match="copy"):
            np.array(x, dtype=np.float32, copy=False)
        with pytest.raises(ValueError, match="copy"):
            np.array([x], copy=False)
        return np.sum(np.array(x) ** 2) + np.sum(np.asarray(x, np.float32)) + np.sum(np.copy(x))

    assert same(ad.grad(f)(numpy.array([1.0, 2.0])), numpy.array([4.0, 6.0]))


MODES = {
    "tape": lambda f: _on_a_tape(f), "grad": lambda f: ad.grad(f)(1.0), "jvp": lambda f: ad.jvp(f, (1.0,), (1.0,)),
    "vmap": lambda f: ad.vmap(f)(numpy.ones(2)), "compile": lambda f: ad.compile(f)(1.0),
    "record": lambda f: ad.record(f)(1.0), "vjp": lambda f: ad.vjp(f, 1.0), "hessian": lambda f: ad.hessian(f)(1.0),
    "linearize": lambda f: ad.linearize(f, 1.0), "accumulator": lambda f: _in_an_accumulator(f),
}


def _on_a_tape(f):
    with ad.GradientTape():
        f(ad.constant(1.0))


def _in_an_accumulator(f):
    x = ad.constant(1.0)
    with ad.ForwardAccumulator(x, ad.constant(1.0)):
        f(x)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_inside(mode):
    kinds = []

    def f(x):
        kinds.append(type(np.zeros(2)))
        return x * 1.0

    MODES[mode](f)
    assert kinds and set(kinds) == {ad.Array}
    assert type(np.zeros(2)) is numpy.ndarray


def test_a_paused_tape_is_outside():
    with ad.GradientTape() as tape:
        with tape.stop_recording():
            assert type(np.zeros(2)) is numpy.ndarray
        assert type(np.zeros(2)) is ad.Array


def test_outside_again_after_an_error():
    with pytest.raises(ZeroDivisionError):
        ad.grad(lambda x: 1 / 0)(1.0)
    assert type(np.zeros(2)) is numpy.ndarray


def test_recordings_hold_integers_that_are_made_to_be_filled():
    kinds = []

    @ad.compile
    def f(x):
        kinds.extend([type(np.zeros(2, int)), type(np.ones(2, bool)), type(np.full(2, 1)), type(np.arange(2))])
        return x * 1.0

    f(1.0)
    assert kinds == [ad.Array] * 3 + [numpy.ndarray]


def test_plain_results_are_pickled():
    assert same(pickle.loads(pickle.dumps(np.linspace(0, 1, 3))), numpy.linspace(0, 1, 3))
    assert pickle.dumps(np.zeros(3)) == pickle.dumps(numpy.zeros(3))
    assert type(pickle.loads(pickle.dumps(np.float64(2)))) is numpy.float64
    assert pickle.loads(pickle.dumps(np.zeros)) is np.zeros and pickle.loads(pickle.dumps(np.ndarray)) is np.ndarray
    assert pickle.loads(pickle.dumps(np.linalg.norm)) is np.linalg.norm


def test_like():
    x = ad.constant([1.0, 2.0])
    for namespace in (numpy, np):
        assert type(namespace.array([1.0, 2.0], like=x)) is type(namespace.zeros(2, like=x)) is ad.Array
        assert type(namespace.eye(2, like=x)) is type(namespace.arange(2.0, like=x)) is ad.Array
        assert type(namespace.zeros(2, like=DATA)) is numpy.ndarray

    def f(x):
        assert type(np.array([1.0], like=DATA)) is numpy.ndarray
        return numpy.sum(numpy.array([x, 2 * x], like=x) ** 2)

    assert ad.grad(f)(3.0) == 30.0


def test_threads():
    """A thread that a differentiated function starts joins its values; arrays that it makes of numbers are plain."""
    def f(x):
        found = []

        def work():
            found.append(np.sum(np.array([x, 2 * x]) ** 2) + np.stack([[x], [1.0]])[0, 0] + np.sum([x, 1.0]))
            found.append(np.zeros(2))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert type(found[1]) is numpy.ndarray
        return found[0]

    assert ad.grad(f)(3.0) == 32.0


def test_duals():
    """A `Dual` has no block that something could be inside of: functions see it among their arguments."""
    x = ad.Dual(3.0, 1.0)
    y = np.sum(np.array([x, 2 * x]) ** 2) + np.stack([[x], [1.0]])[0, 0] + np.sum([x, 1.0])
    y = y + np.float64(x) + np.r_[x][0]
    assert y.primal == 45 + 3 + 4 + 3 + 3 and y.tangent == 30 + 4
    assert np.vectorize(lambda v: v * v)(x).tangent == 6.0 and np.full(2, x).tangent.tolist() == [1.0, 1.0]
    assert type(np.zeros(2)) is numpy.ndarray


def test_other_threads_are_outside():
    kinds, entered, done = [], threading.Event(), threading.Event()

    def work():
        with ad.GradientTape():
            entered.set()
            done.wait(10)
            kinds.append(type(np.zeros(2)))

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(10)
    kinds += [type(np.zeros(2)), type(np.array([ad.constant(1.0), 2.0])), type(np.linspace(0, 1, 3))]
    done.set()
    thread.join()
    assert kinds == [numpy.ndarray] * 3 + [ad.Array]
