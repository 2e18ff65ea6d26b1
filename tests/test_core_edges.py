"""Corners of the core: free lists, buffers let go, levels and tapes mixed, arrays of foreign layout, threads."""
import threading

import numpy as np

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
