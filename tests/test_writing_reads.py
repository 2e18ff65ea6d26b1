"""Values that were written to, where they are read by something else than an op: transforms, tapes, duals, programs."""
import copy

import numpy as np
import pytest

import ad

X = np.array([0.5, 1.5, 2.5, 3.5])


def by_elements(x):
    """An array whose elements have been written one by one."""
    a = x * 0.0
    a[0] = x[1] * 2.0
    a[1] = x[2] * x[2]
    return a


def old_view(x):
    """A view whose owner has been written to since."""
    a = x * 1.0
    v = a[:2]
    a[0] = x[1] * 2.0
    a[1] = x[2] * x[2]
    return v


def old_number(x):
    a = x * 1.0
    v = a[0, ...]
    a[0] = x[1] ** 2
    return v


def differences(f, x):
    h = 1e-6
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)], -1)


FUNCTIONS = [by_elements, old_view, old_number]
functions = pytest.mark.parametrize("f", FUNCTIONS)


@functions
def test_what_a_function_returns(f):
    want = differences(f, X)
    if f is old_number:
        for g in (ad.grad(f), ad.compile(ad.grad(f)), ad.grad(ad.compile(f)), ad.grad(lambda x: [f(x)][0])):
            np.testing.assert_allclose(g(X), want, rtol=1e-7, atol=1e-7)
        found, aux = ad.grad(lambda x: (f(x), f(x)), has_aux=True)(X)
        np.testing.assert_allclose(found, want, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(aux, f(X))
    np.testing.assert_allclose(ad.jacobian(f)(X), want, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ad.jvp(f, (X,), (np.ones(4),))[1], want.sum(-1), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ad.compile(ad.jacobian(f))(X), want, rtol=1e-7, atol=1e-7)
    compiled = ad.compile(lambda x: {"y": [f(x)]})
    for x in (X, X[::-1].copy()):
        np.testing.assert_allclose(compiled(x)["y"][0], f(x), rtol=1e-14)
    np.testing.assert_allclose(ad.vmap(f)(np.stack([X, 2 * X])), [f(X), f(2 * X)])


@functions
@pytest.mark.parametrize("persistent", [False, True])
def test_targets_of_a_tape(f, persistent):
    w = ad.Variable(X)
    want = differences(f, X).reshape(-1, 4)
    for target in (lambda y: y, lambda y: [y]):
        with ad.GradientTape(persistent) as tape:
            y = f(w)
        np.testing.assert_allclose(tape.gradient(target(y), w), want.sum(0), rtol=1e-7, atol=1e-7)
    with ad.GradientTape(persistent) as tape:
        y = f(w)
    np.testing.assert_allclose(np.reshape(tape.jacobian(y, w), want.shape), want, rtol=1e-7, atol=1e-7)
    with ad.GradientTape(persistent) as tape:
        y = f(w)
        if not persistent:
            np.testing.assert_allclose(tape.gradient(y, w), want.sum(0), rtol=1e-7, atol=1e-7)


@functions
def test_a_pause_of_a_tape(f):
    w = ad.Variable(X)
    with ad.GradientTape() as tape:
        y = f(w)
        with tape.stop_recording():
            np.testing.assert_allclose(np.sum(y).numpy(), np.sum(f(X)))
        z = np.sum(y)
    np.testing.assert_allclose(tape.gradient(z, w), differences(f, X).reshape(-1, 4).sum(0), rtol=1e-7, atol=1e-7)


def test_sources_of_a_tape():
    a = ad.constant(X)
    v = a[:2]
    a[0] = 7.0
    with ad.GradientTape() as tape:
        tape.watch(v)
        y = np.sum(v**2)
    np.testing.assert_allclose(tape.gradient(y, v), [14.0, 3.0])
    with ad.GradientTape(persistent=True) as tape:
        w = ad.constant(X)
        tape.watch(w)
        a = by_elements(w)
        tape.watch(a)
        y = np.sum(a * a)
    np.testing.assert_allclose(tape.gradient(y, a), 2.0 * a.numpy())


@functions
def test_an_accumulator(f):
    x = ad.constant(X)
    x_dot = np.array([1.0, 2.0, 3.0, 4.0])
    want = differences(f, X) @ x_dot
    with ad.ForwardAccumulator(x, x_dot) as acc:
        y = f(x)
        z = f(x)
        np.testing.assert_allclose(acc.jvp(z), want, rtol=1e-7)
    np.testing.assert_allclose(acc.jvp(y), want, rtol=1e-7)
    v = old_view(ad.constant(X))
    with ad.ForwardAccumulator(v, np.array([1.0, 2.0])) as acc:
        y = v * v
    np.testing.assert_allclose(acc.jvp(y), 2 * v.numpy() * [1.0, 2.0])


@functions
def test_duals(f):
    d = f(ad.Dual(X, np.ones(4)))
    np.testing.assert_allclose(d.tangent, differences(f, X).sum(-1), rtol=1e-7, atol=1e-7)
    d = f(ad.Dual(X, np.ones(4)))
    np.testing.assert_allclose(d.primal, f(X))
    np.testing.assert_allclose(ad.Dual(f(ad.constant(X)), 1.0).primal, f(X))


def test_elements_written_before_an_inner_transform_ends():
    def f(x):
        s = x * 1.0
        s[0] = x[1] ** 2
        inner = ad.grad(lambda y: s[0] * y * y)(x[2])  # reads s in the inner recording
        s[1] = inner
        v = s[1:]
        s[2] = ad.jvp(lambda y: np.sum(v) * y, (x[3],), (x[0],))[1]
        return np.sum(s * s)

    def plain(x):
        s = x * 1.0
        s[0] = x[1] ** 2
        s[1] = 2 * s[0] * x[2]
        s[2] = np.sum(s[1:]) * x[0]
        return np.sum(s * s)

    np.testing.assert_allclose(f(X), plain(X))
    np.testing.assert_allclose(ad.grad(f)(X), differences(plain, X), rtol=1e-7)
    np.testing.assert_allclose(ad.jvp(f, (X,), (np.ones(4),))[1], differences(plain, X).sum(), rtol=1e-7)
    np.testing.assert_allclose(ad.compile(ad.grad(f))(X), differences(plain, X), rtol=1e-7)


@pytest.mark.parametrize("value", [3, True, np.float32(0.5), np.array(2)])
def test_arrays_without_axes_keep_their_dtype(value):
    n = np.array(2.0)
    n[...] = value
    for write in (lambda s: s.__setitem__(..., value), lambda s: s.fill(value), lambda s: np.copyto(s, value)):
        s = ad.constant(2.0)
        write(s)
        assert s.dtype == float and s.shape == () and s == n


def test_a_shallow_copy_is_an_array_of_its_own():
    a = ad.constant(X)
    b = copy.copy(a)
    b[0] = 9.0
    assert a[0] == X[0] and b[0] == 9.0
    np.testing.assert_array_equal(ad.grad(lambda x: np.sum(copy.copy(x) ** 2))(X), 2 * X)


# -- what NumPy does, at the edges ------------------------------------------------------------------


def arrays_and_views(a):
    """Write in ways that depend on strides, on views of single elements and on new axes."""
    a[None] = a * 2.0  # does not change the shape
    columns = a.T * 1.0  # in Fortran order, which writes do not change
    columns[...] = np.ones((3, 2))
    flat = columns.ravel(order="F")
    columns += a[:, :3].T
    copied = a.T.copy().ravel()
    number = a[1, 1, ...]
    number *= 3.0
    columns.flat[1] = a[0, 0]
    columns.flat = [0.5, a[0, 1]]
    np.broadcast_arrays(a, columns.T)[0][0] = flat[2]
    a[0].reshape(1, 3)[None, 0, 0] = copied[3]
    return a, columns, flat, number


def test_strides_and_single_elements():
    x = np.arange(1.0, 7.0).reshape(2, 3)
    for ours, numpys in zip(arrays_and_views(ad.constant(x)), arrays_and_views(x.copy())):
        assert np.shape(ours) == np.shape(numpys)
        np.testing.assert_array_equal(ours, numpys)


WRITTEN = [
    "x", "3.5", b"3.5", None, 1 + 2j, 10**400, [1.0], [[1.0]], np.ones((1, 1)), True, np.float32(0.1), np.array(3), {},
    np.nan, [1.0, 2.0], np.datetime64("2020"),
]
INDICES = [0, -5, 4, True, np.True_, 0.0, [], (), None, (0, 0), slice(0, 0), slice(0, 1), slice(None, None, 0),
           [True] * 3, np.array(1), np.uint8(1), np.array([], int), "a", ..., (0, ...)]


@pytest.mark.parametrize("dtype", [float, int, bool, np.float32, complex])
@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_assignments_that_numpy_makes_or_refuses(index, dtype):
    for value in WRITTEN:
        a, n = ad.constant(X.astype(dtype)), X.astype(dtype)
        wanted = None
        try:
            n[index] = value
        except Exception as error:  # noqa: BLE001
            wanted = error
            n = X.astype(dtype)
        if wanted is None:
            a[index] = value
        else:
            with pytest.raises(type(wanted)):
                a[index] = value
        np.testing.assert_array_equal(a.numpy(), n, err_msg=f"{value!r}")


def test_chains_of_views_are_not_followed_by_recursion():
    x = ad.constant(np.zeros(8))
    v = x
    for _ in range(20000):
        v = v[0:]
    x[-1] = 5.0
    assert v.reshape(2, 4)[1, 3] == 5.0 and v.ravel()[-1] == 5.0
    with pytest.raises(RecursionError):
        v[0] = 1.0
    assert x[0] == v[0] == 0.0


def through_einsum(x):
    a = np.reshape(x * x, (2, 2))
    turned = np.einsum("ij->ji", a)
    np.einsum("ii->i", a)[...] = x[:2] ** 3
    turned[0] *= x[3]
    np.einsum("...->...", a)[1] += 1.0
    return np.sum(turned * a)


def test_views_that_einsum_gives():
    np.testing.assert_allclose(through_einsum(ad.constant(X)), through_einsum(X))
    for gradient in (ad.grad(through_einsum), ad.compile(ad.grad(through_einsum))):
        np.testing.assert_allclose(gradient(X), differences(through_einsum, X), rtol=1e-6)


def test_a_custom_gradient_that_writes_to_what_it_is_given():
    @ad.custom_gradient
    def square(x):
        kept = x * 1.0
        x *= x

        def pull(y_bar):
            y_bar *= 2.0
            return kept * y_bar

        return x, pull

    def f(x):
        a = x * 1.0
        v = a[:3]
        a[0] = x[1] * 2.0
        return np.sum(square(v)) * np.sum(a)

    def plain(x):
        a = np.concatenate([[x[1] * 2.0], x[1:]])
        return np.sum(a[:3] ** 2) * np.sum(a)

    np.testing.assert_allclose(f(ad.constant(X)), plain(X))
    np.testing.assert_allclose(ad.grad(f)(X), differences(plain, X), rtol=1e-6)
    np.testing.assert_allclose(ad.compile(ad.grad(f))(X), differences(plain, X), rtol=1e-6)
    np.testing.assert_allclose(ad.jvp(f, (X,), (np.ones(4),))[1], differences(plain, X).sum(), rtol=1e-6)


def test_duals_that_are_let_go_before_their_elements_are_read():
    def f(x):
        for _ in range(50):
            d = ad.Dual(np.zeros(3), np.ones(3))
            d[0], d[1] = x[0], x[1]
            del d
        return np.sum(x * x)

    for _ in range(20):  # the memory of a Dual is used again
        np.testing.assert_array_equal(ad.grad(f)(np.arange(3.0)), [0, 2, 4])
