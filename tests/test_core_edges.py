"""Corners of the core: free lists, buffers let go, levels and tapes mixed, arrays of foreign layout, threads."""
import ctypes
import threading

import numpy as np
import pytest

import ad

VECTOR = np.array([1.0, 2.0, 3.0])


def test_a_long_chain_with_tangents_is_freed():
    x = ad.constant(1.0)
    for _ in range(2):
        with ad.ForwardAccumulator(x, 1.0) as accumulator:
            with ad.GradientTape() as tape:
                tape.watch(x)
                y = x
                for _ in range(20_000):
                    y = ad.sin(y) + 0.5 * y
            slope = tape.gradient(y, x)
        assert np.isfinite(accumulator.jvp(slope).numpy())
        del y, slope
    assert ad.grad(lambda x: x * x)(3.0) == 6


def test_a_tape_kept_from_inside_a_function_is_good_after_its_gradient():
    kept = []

    def f(x):
        with ad.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = ad.sum(x * x * ad.exp(x))
        kept.extend([tape, x, y])
        return y

    expected = ad.grad(f)(VECTOR)
    tape, x, y = kept
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), expected)


def test_a_pullback_kept_from_inside_a_function_is_good_after_its_gradient():
    kept = []

    def f(x):
        y, pullback = ad.vjp(lambda z: z * z, x)
        kept.append(pullback)
        return ad.sum(y)

    ad.grad(f)(VECTOR)
    np.testing.assert_allclose(kept[0](np.ones(3))[0].numpy(), 2 * VECTOR)


def test_a_scalar_with_a_tangent_beside_a_vector_with_a_node():
    ones = np.ones((2, 3))
    y, y_dot = ad.jvp(lambda s: ad.grad(lambda x: ad.sum(s * (x + ones)))(1.0), (2.0,), (1.0,))
    assert (y, y_dot) == (12, 6)
    y, y_dot = ad.jvp(lambda s: ad.grad(lambda x: ad.sum(s * x))(VECTOR), (2.0,), (1.0,))
    np.testing.assert_array_equal((y, y_dot), (np.full(3, 2.0), np.ones(3)))


def test_a_mixed_derivative_that_needs_a_base_with_tangents_only():
    y_dot = ad.jvp(lambda s: ad.grad(lambda b: ad.sum(s**b))(VECTOR), (2.0,), (1.0,))[1]
    np.testing.assert_allclose(y_dot, 2**VECTOR / 2 + VECTOR * np.log(2) * 2 ** (VECTOR - 1))


def test_a_tangent_captured_by_a_rule():
    def product(a):
        @ad.custom_gradient
        def f(x):
            return 3.0 * x, lambda y_bar: y_bar * a

        return ad.grad(f)(1.0)

    assert ad.jvp(product, (3.0,), (1.0,)) == (3, 1)


def test_a_slice_of_a_vector_in_the_other_byte_order():
    x = VECTOR.astype(VECTOR.dtype.newbyteorder())
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(x[1:] ** 2))(x), [0, 4, 6])


def test_a_target_that_a_rule_rebinds():
    kept = []

    @ad.custom_gradient
    def f(x):
        def pull(y_bar):
            np.add(kept[0], 1.0, out=kept[0])
            kept.append(ad.grad(lambda z: ad.sum(ad.sin(ad.sin(z))))(np.ones(3)))
            return y_bar

        return 1.0 * x, pull

    x = ad.constant(np.ones(3))
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in range(200):
            y = y * 1.001
        kept.append(y)
        z = f(x)
    del y
    np.testing.assert_allclose(tape.gradient([kept[0], z], x).numpy(), 1 + 1.001**200)


def test_a_tape_entered_in_another_thread():
    tape = ad.GradientTape()
    thread = threading.Thread(target=tape.__enter__)
    thread.start()
    thread.join()
    tape.__exit__(None, None, None)
    assert ad.grad(lambda x: x * x)(3.0) == 6


def test_what_asarray_gives_cannot_be_written_to():
    for x in ad.constant(VECTOR), ad.Variable(VECTOR):
        assert not np.asarray(x).flags.writeable
        assert np.array(x).flags.writeable


def array_at(memory):
    """An ndarray over foreign memory that has no base, as C extensions make them."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    api = ctypes.cast(pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t),
                            ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int] * 2, ctypes.c_void_p)(api[93])
    flags = 0x1 | 0x100 | 0x400  # in C order, aligned, writeable
    return new(np.ndarray, 1, (ctypes.c_ssize_t * 1)(len(memory)), np.dtype(float).num, None,
               ctypes.addressof(memory), 0, flags, None)


@pytest.mark.parametrize("n", [5, 5000])
def test_foreign_memory_is_never_used_again(n):
    memory = (ctypes.c_double * n)(*[1.0] * n)
    assert array_at(memory).base is None and not array_at(memory).flags.owndata

    @ad.custom_gradient
    def foreign(x):
        return x * 1.0, lambda y_bar: array_at(memory)

    for _ in range(5):
        ad.grad(lambda x: np.sum(np.sin(foreign(np.cos(x)))))(np.ones(n))
        y, pull = ad.vjp(lambda x: ad.asarray(array_at(memory)), np.ones(n))
        y *= 2
        ad.grad(lambda x: np.sum(np.exp(x) * x))(np.ones(n))
    assert set(memory) == {1.0}
