"""Arrays that are written to: NumPy's semantics, and derivatives in every mode."""
import threading
import weakref

import numpy as np
import pytest

import ad

X = np.array([0.5, 1.5, 2.5, 3.5])


def pushed(f):
    """The gradient by forward mode, one direction after the other."""
    return lambda x: np.array([ad.jvp(f, (x,), (e,))[1] for e in np.eye(x.size)])


GRADIENTS = [ad.grad, pushed, lambda f: ad.compile(ad.grad(f)), lambda f: ad.grad(ad.compile(f)),
             lambda f: lambda x: ad.vmap(ad.grad(f))(np.stack([x + 1.0, x]))[1]]
modes = pytest.mark.parametrize("gradient", GRADIENTS, ids=["grad", "jvp", "compiled", "of_compiled", "vmap"])


def differences(f, x):
    h = 1e-6
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)])


# -- programs as people write them: each also runs on ndarrays ------------------------------------------


def recurrence(x):
    s = np.zeros_like(x * 1.0) + 0 * x
    s[0] = x[0]
    for t in range(1, len(x)):
        s[t] = 0.5 * s[t - 1] ** 2 + x[t]
    return np.sum(s * s)


def assembled(x):
    k = np.outer(x, x) * 0.0
    for a, (i, j) in zip(x, [(0, 1), (1, 2), (2, 3), (0, 3)]):
        k[np.ix_([i, j], [i, j])] += a * np.array([[1.0, -1.0], [-1.0, 1.0]])
    k[np.diag_indices(4)] += 1.0
    return np.linalg.det(k)


def normalised_rows(x):
    a = np.outer(x, x + 1.0)
    for row in a:
        row /= row.sum() + row[0]
    return np.sum(a[:, 1] ** 2)


def halves_of_a_state(x):
    state = x * 1.0
    position, velocity = state[:2], state[2:]
    for _ in range(3):
        velocity -= 0.1 * np.sin(position)
        position += 0.1 * velocity
    return np.sum(state**2)


def masked(x):
    s = np.outer(x, x)
    s[np.tril(np.ones((4, 4)), -1) > 0] = -1.0
    s[s > 5.0] *= 0.5
    return np.sum(np.exp(0.1 * s))


def swapped(x):
    a = x * x
    a[[0, 1]] = a[[1, 0]]
    a[1:] = a[:-1]
    a[::-1][0] = 3.0 * a[2]
    return np.sum(a * np.arange(4.0))


def through_views(x):
    a = np.outer(x, x)
    a.T[0, 1:] = x[1:]
    a.reshape(2, 8)[1, ::3] *= 2.0
    a.flat[3] = x[0] ** 3
    b = a[1:, :2]
    b[...] = b[::-1]
    np.fill_diagonal(a, x[1])
    return np.sum(a**2) + np.sum(b)


def accumulated(x):
    a = np.outer(x, np.ones(3))
    np.add.at(a, ([0, 0, 1], [1, 1, 0]), x[:3])
    np.multiply.at(a, ([2, 2], [2, 2]), x[1])
    np.subtract(a, 1.0, out=a)
    np.copyto(a[:, 0], x)
    np.put(a, [5, -1], x[2:])
    np.put_along_axis(a, np.array([[1, 0, 2]]), 2.0 * x[:1], axis=0)
    return np.sum(a**3)


def in_order(x):
    a = np.sin(3.0 * x)
    a.sort()
    a.partition(2)
    a[0] = a[-1]
    return np.sum(a * np.arange(4.0))


PROGRAMS = [recurrence, assembled, normalised_rows, halves_of_a_state, masked, swapped, through_views, accumulated,
            in_order]


@modes
@pytest.mark.parametrize("f", PROGRAMS)
def test_programs(f, gradient):
    g = gradient(f)
    for x in (X, X[::-1] * 0.7):
        np.testing.assert_allclose(g(x), differences(f, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("f", PROGRAMS)
def test_values_and_second_derivatives(f):
    np.testing.assert_allclose(f(ad.constant(X)).numpy(), f(X), rtol=1e-13)
    np.testing.assert_allclose(ad.compile(f)(X), f(X), rtol=1e-12)
    columns = [differences(lambda x, i=i: ad.grad(f)(x)[i], X) for i in range(4)]
    np.testing.assert_allclose(ad.hessian(f)(X), columns, rtol=1e-4, atol=1e-5)


# -- aliases -------------------------------------------------------------------------------------------


def test_every_name_and_view_sees_the_change():
    a = ad.constant(np.arange(6.0).reshape(2, 3))
    same, row, column, flat = a, a[1], a[:, 0], a.ravel()
    a[1, 0] = 7.0
    assert same[1, 0] == row[0] == column[1] == flat[3] == 7.0
    flat[3] = 8.0
    assert a[1, 0] == row[0] == 8.0
    row += 1.0
    np.testing.assert_array_equal(a.numpy(), [[0, 1, 2], [9, 5, 6]])


def test_copies_do_not():
    a = ad.constant(np.arange(4.0))
    for copy in (a.copy(), np.copy(a), +a, a.flatten(), a[[0, 1, 2, 3]], a.astype(float), np.tile(a, 1)):
        copy[0] = 9.0
        assert a[0] == 0.0 and copy[0] == 9.0
        a[1] += 1.0
        assert copy[1] != a[1]


@pytest.mark.parametrize("transform", [ad.grad, ad.jacobian, ad.hessian, lambda f: ad.compile(ad.grad(f))])
def test_arguments_of_the_caller_stay(transform):
    def f(x):
        x[0] = 2.0 * x[1]
        x *= 3.0
        return np.sum(x**2)

    x = X.copy()
    for given in (x, ad.constant(x)):
        transform(f)(given)
        np.testing.assert_array_equal(np.asarray(given.numpy() if isinstance(given, ad.Array) else given), X)


def test_what_numpy_gives_out_stays():
    a = ad.constant(np.zeros(3))
    seen = a.numpy()
    a[0] = 1.0
    assert seen[0] == 0.0 and a[0] == 1.0


def test_the_graph_keeps_the_values_that_it_saw():
    def f(x):
        y = x * 2.0
        z = np.exp(y) * y
        y[...] = 0.0
        y[1] = x[0]
        return np.sum(z) + y[1]

    np.testing.assert_allclose(ad.grad(f)(X), 2 * np.exp(2 * X) * (1 + 2 * X) + np.eye(4)[0], rtol=1e-12)


def test_many_views_of_views():
    x = ad.constant(np.zeros(20000))
    v = x
    while v.size > 1:
        v = v[1:]
    x[-1] = 5.0
    assert v[0] == 5.0
    del v, x


# -- what NumPy refuses, ours refuse ---------------------------------------------------------------------


@pytest.mark.parametrize("write", [
    lambda a: a.__setitem__(9, 1.0), lambda a: a.__setitem__((0, 0, 0), 1.0), lambda a: a.__setitem__(0, [1.0] * 4),
    lambda a: a.__setitem__("x", 1.0), lambda a: a.__setitem__(slice(None), np.ones((3, 2))),
    lambda a: np.broadcast_to(a, (4, 2, 3)).__setitem__(0, 1.0), lambda a: np.diagonal(a).__setitem__(0, 1.0),
    lambda a: a.__iadd__(np.ones((2, 2, 3))), lambda a: np.copyto(a, np.ones(7)), lambda a: a.fill([1.0, 2.0]),
    lambda a: np.add(a, 1.0, out=a[0]), lambda a: np.put(a, [17], 1.0),
    lambda a: a.__setitem__(np.ones(3, bool), 0.0),
    lambda a: a.__iadd__(1j), lambda a: np.copyto(a, 1j), lambda a: a.__setitem__(0, "x"),
])
def test_errors_are_numpys(write):
    with pytest.raises(Exception) as wanted:
        write(np.arange(6.0).reshape(2, 3))
    a = ad.constant(np.arange(6.0).reshape(2, 3))
    with pytest.raises(wanted.type.__mro__[-4] if wanted.type.__module__.startswith("numpy") else wanted.type):
        write(a)
    np.testing.assert_array_equal(a.numpy(), np.arange(6.0).reshape(2, 3))


def test_values_that_integers_cannot_hold_are_refused():
    def f(x):
        n = ad.constant(np.zeros(3, int))
        n[0] = x[0]
        return n[0] * 1.0

    with pytest.raises(TypeError, match=r"dtype int64 cannot hold a value that is being differentiated.*dtype=float"):
        ad.grad(f)(X)


def test_dtypes_are_those_of_assignment():
    a = ad.constant(np.zeros(3, np.float32))
    a[0], a[1:] = 0.1, np.array([1.0, 2.0])
    assert a.dtype == np.float32 and a[0] == np.float32(0.1)
    n = ad.constant(np.zeros(2, int))
    n[0], n[1] = 2.7, True
    assert n.dtype == int and n.tolist() == [2, 1]
    with pytest.warns(np.exceptions.ComplexWarning):
        a[0] = np.array(1 + 2j)
    z = ad.constant(np.zeros(2, complex))
    z.real[0], z.imag[1] = 3.0, 4.0
    assert z.tolist() == [3, 4j]
    z.real, z.imag = 1.0, [2.0, 3.0]
    assert z.tolist() == [1 + 2j, 1 + 3j]


def test_numbers_are_not_written_to():
    a = s = ad.constant(2.0)
    s += 1.0
    assert a == 2.0 and s == 3.0
    with pytest.raises((TypeError, IndexError)):
        a[0] = 1.0


def test_resize():
    a = ad.constant(np.arange(4.0))
    a.resize(2, 3)
    np.testing.assert_array_equal(a.numpy(), [[0, 1, 2], [3, 0, 0]])
    with pytest.raises(ValueError, match="does not own its data"):
        a[0].resize(1)


# -- variables -------------------------------------------------------------------------------------------


def test_variables_are_assigned_to():
    w = ad.Variable(X)
    w[1] = 5.0
    w[w.numpy() > 3.0] -= 1.0
    w[0] = ad.constant(7.0)
    np.testing.assert_array_equal(w.numpy(), [7.0, 4.0, 2.5, 2.5])
    part = w[1:]
    part[0] = 9.0
    assert w[1] == 4.0 and part[0] == 9.0
    with ad.GradientTape() as tape:
        with pytest.raises(TypeError, match="in the block of a tape"):
            w[0] = 2.0 * w[1]
        y = np.sum(w**2)
    np.testing.assert_array_equal(tape.gradient(y, w).numpy(), 2 * w.numpy())


# -- a tape, threads ---------------------------------------------------------------------------------------


def test_a_tape_sees_what_was_written():
    w = ad.Variable(X)
    with ad.GradientTape(persistent=True) as tape:
        a = ad.constant(np.zeros(4))
        a[:2] = w[2:] ** 2
        a[3] = a[0] * w[0]
        y = np.sum(a)
    np.testing.assert_allclose(tape.gradient(y, w).numpy(), [X[2] ** 2, 0, 2 * X[2] * (1 + X[0]), 2 * X[3]])
    np.testing.assert_allclose(tape.jacobian(a, w).numpy()[1], [0, 0, 0, 2 * X[3]])


def test_threads_that_write_to_their_own_arrays():
    def f(x):
        s = ad.constant(np.zeros(200))
        s[0] = x[0]
        for t in range(1, 200):
            s[t] = 0.9 * s[t - 1] + x[t % 4]
        return np.sum(s)

    found = []
    threads = [threading.Thread(target=lambda: found.append(ad.grad(f)(X))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for gradient in found:
        np.testing.assert_array_equal(gradient, found[0])


def view_of_what_is_written(x):
    a = ad.constant(np.zeros(3))
    v = a[:2]
    a[...] = x[:3] * x[:3]
    return v


def test_views_that_are_read_when_the_function_has_returned():
    f, slope = view_of_what_is_written, np.diag(2 * X)[:2]
    for g in (ad.jacobian(f), ad.jacobian(ad.compile(f)),
              lambda x: np.stack([ad.vjp(f, x)[1](e)[0] for e in np.eye(2)]),
              lambda x: np.stack([ad.jvp(f, (x,), (e,))[1] for e in np.eye(4)], -1)):
        np.testing.assert_array_equal(g(X), slope)
    np.testing.assert_array_equal(ad.vmap(f)(np.stack([X, 2 * X])), [X[:2] ** 2, 4 * X[:2] ** 2])
    np.testing.assert_array_equal(ad.compile(f)(3 * X), 9 * X[:2] ** 2)
    assert ad.grad(lambda x: view_of_what_is_written(x)[1:].reshape(()))(X)[1] == 2 * X[1]


def test_views_that_are_read_after_the_tape():
    w = ad.Variable(X)
    with ad.GradientTape(persistent=True) as tape, ad.ForwardAccumulator(w, ad.constant(np.ones(4))) as accumulator:
        v = view_of_what_is_written(w)
    np.testing.assert_array_equal(accumulator.jvp(v).numpy(), 2 * X[:2])
    v = view_of_what_is_written(w)
    with tape:
        v = view_of_what_is_written(w)
    np.testing.assert_array_equal(tape.gradient(v, w).numpy(), [*2 * X[:2], 0, 0])
    with tape:
        v = view_of_what_is_written(w)
    np.testing.assert_array_equal(tape.jacobian([v][0], w).numpy(), np.diag(2 * X)[:2])


# -- recorded ------------------------------------------------------------------------------------------------


def test_a_mask_that_is_recorded_needs_no_guard():
    compiled = ad.compile(lambda x: relu(x * 1.0))
    for x in (X - 2.0, 2.0 - X):
        np.testing.assert_array_equal(compiled(x), np.maximum(x, 0.0))


def relu(a):
    a[a < 0.0] = 0.0
    return a


def test_positions_that_are_recorded():
    def f(x):
        a = np.outer(x, x)
        i = np.argmax(x)
        a[i] = 2.0
        row = a[i]
        row[0] = x[1]
        return np.sum(a * a)

    compiled = ad.compile(ad.grad(f))
    for x in (X, X[::-1].copy(), X * np.array([1, 5, 1, 1])):
        np.testing.assert_allclose(compiled(x), differences(f, x), rtol=1e-5)


# -- what is returned, or outlives a block, as it was written ------------------------------------------------


def written(x):
    a = ad.constant(np.zeros(3))
    a[0] = x
    a[1] = a[0] * x
    return a


def test_elements_that_nothing_has_read_are_returned():
    compiled, recorded = ad.compile(written), ad.record(written)(2.0)
    for x in (2.0, 3.0):
        want = [x, x * x, 0.0]
        for f in (compiled, recorded, lambda x: ad.vmap(written)(np.array([x, 1.0]))[0]):
            np.testing.assert_array_equal(f(x), want)
        for f in (written, compiled):
            np.testing.assert_array_equal(ad.jacobian(f)(x), [1.0, 2 * x, 0.0])
            np.testing.assert_array_equal(ad.jvp(f, (x,), (1.0,))[1], [1.0, 2 * x, 0.0])


def test_elements_that_nothing_has_read_are_on_the_tape():
    w, a = ad.Variable(3.0), ad.constant(np.zeros(3))
    with ad.GradientTape() as outer:
        with ad.GradientTape(persistent=True) as tape:
            a[0] = w * w
            with tape.stop_recording():
                b = np.sum(a)
        np.testing.assert_array_equal(tape.jacobian(a, w).numpy(), [6.0, 0.0, 0.0])
        assert tape.gradient(b, w) is None
        a[2] = 2.0 * w
    np.testing.assert_array_equal(outer.jacobian(a, w), [6.0, 0.0, 2.0])


def test_elements_that_nothing_has_read_have_tangents():
    w = ad.Variable(3.0)
    with ad.ForwardAccumulator(w, ad.constant(1.0)) as accumulator:
        a = written(w)
    np.testing.assert_array_equal(accumulator.jvp(a), [1.0, 6.0, 0.0])
    d = ad.Dual(np.ones(2), np.array([1.0, 3.0]))
    view = d[:1]
    d[0] = 5.0
    for x, primal, tangent in ((d, [5.0, 1.0], [0.0, 3.0]), (view, [5.0], [0.0])):
        np.testing.assert_array_equal(x.primal, primal)
        np.testing.assert_array_equal(x.tangent, tangent)


def test_arrays_that_are_dropped_are_not_joined():
    w = ad.Variable(3.0)
    with ad.GradientTape() as tape:
        for _ in range(3):
            reference = weakref.ref(written(w))
        assert reference() is None
        y = w * w
    assert tape.gradient(y, w) == 6.0
