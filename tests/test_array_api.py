"""The array API standard 2024.12: `ad.numpy` and Array beside `array_api_strict`, the standard's own reference."""
import inspect

import numpy
import pytest

import ad
import ad.numpy as np

MATRIX = numpy.array([[2.0, 0.3], [0.4, 1.5]])


def differentiated(f, x=MATRIX):
    """The value of f, and its derivative along ones, in both modes; f returns an array or a tuple of arrays."""
    def joined(x):
        y = f(x)
        return np.concatenate([np.ravel(part) * (1 + k) for k, part in enumerate(y if isinstance(y, tuple) else (y,))])

    h = 1e-6
    want = (joined(x + h) - joined(x - h)) / (2 * h)
    _, forward = ad.jvp(joined, (x,), (np.ones_like(x),))
    weights = np.cos(np.arange(want.size))
    backward = ad.grad(lambda x: np.sum(joined(x) * weights))(x).sum()
    return forward, backward, want, np.sum(want * weights)


@pytest.fixture
def strict():
    if not hasattr(numpy, "unstack"):
        pytest.skip("NumPy has the standard's functions since 2.1")
    return pytest.importorskip("array_api_strict")


def test_the_namespace():
    version = getattr(np, "__array_api_version__", "2022.12")
    for x in (ad.constant([1.0]), ad.Variable(2.0), ad.Dual(1.0, 1.0)):
        assert x.__array_namespace__() is np and x.__array_namespace__(api_version=version) is np
    with pytest.raises(ValueError, match="1999"):
        ad.constant(1.0).__array_namespace__(api_version="1999.12")
    if hasattr(numpy, "__array_namespace_info__"):  # since NumPy 2.1
        assert np.__array_namespace_info__().default_device() == "cpu"
        assert np.__array_namespace_info__().dtypes()["float64"] == np.float64
    assert np.isdtype(np.float64, "real floating") and not np.isdtype(np.int64, "real floating")
    assert np.finfo(np.float32).eps == numpy.finfo("f").eps and np.iinfo(np.int8).max == 127


def test_every_name_of_the_standard_is_there(strict):
    of_strict = {"ArrayAPIStrictFlags", "Device"} | {name for name in dir(strict) if name.endswith("_strict_flags")}
    names = {name for name in dir(strict) if not name.startswith("_")} - of_strict
    assert len(names) > 140 and {name for name in names if not hasattr(np, name)} == set()
    for extension in ("linalg", "fft"):
        assert set(getattr(strict, extension).__all__) <= set(dir(getattr(np, extension)))


def test_every_member_of_an_array_is_there(strict):
    in_place = {name for name in vars(type(strict.ones(1))) if name.startswith("__i") and name != "__init__"}
    members = {name for name, value in inspect.getmembers(type(strict.ones((1, 1))))
               if not name.startswith("_") or name.startswith("__") and callable(value) or isinstance(value, property)}
    private = {name for name in members if name.startswith("_") and not name.startswith("__")}
    missing = {name for name in members - in_place - private - {"__buffer__"} if not hasattr(ad.constant(MATRIX), name)}
    assert missing == set()


def test_devices():
    x = ad.constant([1.0])
    assert x.device == "cpu" and x.to_device("cpu") is x
    with pytest.raises(ValueError, match="gpu"):
        x.to_device("gpu")
    with pytest.raises(ValueError, match="stream"):
        x.to_device("cpu", stream=1)
    assert np.zeros(2, device="cpu").shape == (2,)


def test_dlpack():
    x = ad.constant(MATRIX)
    assert x.__dlpack_device__() == numpy.ones(1).__dlpack_device__()
    assert numpy.array_equal(numpy.from_dlpack(x), MATRIX)
    if hasattr(numpy, "unstack"):  # since NumPy 2.1 it tells what is read-only
        assert not numpy.from_dlpack(x).flags.writeable
        assert numpy.array_equal(numpy.from_dlpack(x, copy=True), MATRIX)
        with pytest.raises(BufferError):
            x.__dlpack__(copy=False)
    assert x.__dlpack__() is not None  # for a consumer that knows nothing of read-only memory: a copy
    assert numpy.from_dlpack(ad.constant(2.0)) == 2.0


def test_dlpack_refuses_what_is_differentiated():
    for transform in (lambda f: ad.grad(f)(1.0), lambda f: ad.jvp(f, (1.0,), (1.0,)), lambda f: ad.compile(f)(1.0)):
        with pytest.raises(TypeError, match="constant of a value that is being differentiated or recorded"):
            transform(lambda x: numpy.from_dlpack(x) * x)


FUNCTIONS = {
    "cumulative_sum": lambda x: np.cumulative_sum(x, axis=-1),
    "cumulative_sum of a vector": lambda x: np.cumulative_sum(x[0] * x[1], include_initial=True),
    "cumulative_sum with its start": lambda x: np.cumulative_sum(x, axis=0, include_initial=True),
    "cumulative_prod": lambda x: np.cumulative_prod(x, axis=1, include_initial=True, dtype=np.float64),
    "unstack": lambda x: np.unstack(x, axis=1),
    "unique_values": lambda x: np.unique_values(x) ** 2,
    "unique_all": lambda x: np.unique_all(np.stack([x, x])).values ** 2,
    "unique_counts": lambda x: (lambda found: found.values ** found.counts)(np.unique_counts(np.stack([x, x]))),
    "unique_inverse": lambda x: (lambda found: found.values[found.inverse_indices] ** 2)(np.unique_inverse(x)),
    "linalg.matmul": lambda x: np.linalg.matmul(x, x),
    "linalg.diagonal": lambda x: np.linalg.diagonal(np.stack([x, x * x]), offset=1),
    "linalg.trace": lambda x: np.linalg.trace(np.stack([x, x * x]), offset=-1),
    "mT": lambda x: x.mT * x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_numpy_has_for_the_standard(name):
    if name.split(" ")[0] in ("cumulative_sum", "cumulative_prod", "unstack") and not hasattr(numpy, "unstack"):
        pytest.skip("since NumPy 2.1")
    forward, backward, want, weighted = differentiated(FUNCTIONS[name])
    assert numpy.allclose(forward, want, rtol=1e-7, atol=1e-7) and numpy.allclose(backward, weighted, rtol=1e-7)
    y = []
    ad.grad(lambda x: y.append(FUNCTIONS[name](x)) or np.sum(x))(MATRIX)
    for got, plain in zip(*[part if isinstance(part, tuple) else (part,) for part in (y[0], FUNCTIONS[name](MATRIX))]):
        assert isinstance(got, ad.Array) and numpy.array_equal(got.numpy(), plain) and got.dtype == plain.dtype


def test_what_the_standard_refuses():
    if hasattr(numpy, "unstack"):
        with pytest.raises(ValueError, match="axis"):
            ad.grad(lambda x: np.sum(np.cumulative_sum(x)))(MATRIX)
    with pytest.raises(TypeError):
        ad.grad(lambda x: np.linalg.trace(x, 1))(MATRIX)


def test_matrix_rank_and_diagonal_indices():
    def f(x):
        assert np.linalg.matrix_rank(x) == 2
        return np.sum(x[np.diag_indices_from(x)] ** 2)

    assert numpy.array_equal(ad.grad(f)(MATRIX), 2 * numpy.diag(numpy.diag(MATRIX)))
    assert numpy.array_equal(ad.compile(ad.grad(f))(MATRIX), 2 * numpy.diag(numpy.diag(MATRIX)))


# Calls of the standard's functions with arrays, from both namespaces: values, shapes and kinds of dtypes are the same.
CALLS = {
    "elementwise": lambda xp, x: [getattr(xp, name)(x) for name in (
        "abs acosh asinh atan ceil cos cosh exp expm1 floor isfinite isinf isnan log log10 log1p log2 negative "
        "positive reciprocal round sign signbit sin sinh sqrt square tan tanh trunc").split()],
    "pairs": lambda xp, x: [getattr(xp, name)(x, xp.flip(x)) for name in (
        "add atan2 copysign divide equal floor_divide greater hypot less logaddexp maximum minimum multiply nextafter "
        "not_equal pow remainder subtract").split()],
    "reductions": lambda xp, x: [getattr(xp, name)(x, axis=0, keepdims=True)
                                 for name in "max mean min prod std sum var".split()],
    "shapes": lambda xp, x: [xp.concat([x, x], axis=1), xp.expand_dims(x, axis=1), xp.flip(x, axis=0),
                             xp.moveaxis(x, 0, 1), xp.permute_dims(x, (1, 0)), xp.repeat(x, 2, axis=0),
                             xp.reshape(x, (4,)), xp.roll(x, 1), xp.squeeze(x[None, ...], axis=0),
                             xp.stack([x, x], axis=2), xp.tile(x, (2, 1)), xp.broadcast_to(x, (3, 2, 2)),
                             *xp.broadcast_arrays(x, x[0, :])],
    "sorting": lambda xp, x: [xp.sort(x, axis=0), xp.argsort(x), xp.argmax(x),
                              xp.searchsorted(xp.sort(x[0, :]), x[1, :])],
    "creation": lambda xp, x: [xp.zeros((2, 3)), xp.ones(3, dtype=xp.float32), xp.full((2,), 7.0), xp.eye(2, 3),
                               xp.arange(3), xp.arange(0.0, 1.0, 0.3), xp.linspace(0, 1, 5), xp.zeros_like(x),
                               xp.full_like(x, 2), xp.tril(x), xp.triu(x, k=1), xp.asarray([[1.0, 2.0]]),
                               *xp.meshgrid(x[0, :], x[1, :], indexing="ij"), xp.astype(x, xp.float32)],
    "selecting": lambda xp, x: [xp.where(x > 1, x, -x), xp.clip(x, 0.5, 1.6), xp.take(x, xp.asarray([1, 0]), axis=1),
                                xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0), xp.diff(x), x[x > 1],
                                x[..., ::-1]],
    "products": lambda xp, x: [xp.matmul(x, x), xp.tensordot(x, x, axes=1), xp.vecdot(x, x), xp.matrix_transpose(x)],
    "linalg": lambda xp, x: [xp.linalg.cholesky(x @ x.mT), xp.linalg.det(x), xp.linalg.inv(x), xp.linalg.solve(x, x),
                             xp.linalg.matrix_norm(x), xp.linalg.vector_norm(x, axis=0), xp.linalg.pinv(x),
                             xp.linalg.svdvals(x), xp.linalg.trace(x), xp.linalg.diagonal(x), *xp.linalg.slogdet(x),
                             xp.linalg.eigvalsh(x @ x.mT), xp.linalg.matrix_power(x, 3), xp.linalg.matrix_rank(x)],
    "fft": lambda xp, x: [xp.fft.fft(xp.astype(x, xp.complex128)), xp.fft.rfft(x), xp.fft.fftfreq(5),
                          xp.fft.fftshift(x)],
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_as_the_standard_has_them(name, strict):
    want = [numpy.asarray(part) for part in CALLS[name](strict, strict.asarray(MATRIX + 1))]
    for argument in (MATRIX + 1, ad.constant(MATRIX + 1)):
        found = []
        ad.grad(lambda x, x0=argument: found.extend(CALLS[name](np, x0)) or x)(1.0)  # noqa: B023
        assert len(found) == len(want)
        for got, wanted in zip(found, want):
            got = numpy.asarray(got)
            assert got.shape == wanted.shape and got.dtype.kind == wanted.dtype.kind and numpy.allclose(got, wanted)
