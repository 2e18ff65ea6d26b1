"""The functions of the array API standard: NumPy's values and dtypes on ndarrays, on Arrays; the standard's parameters.

`array_api_strict` says which functions and parameters there are.
"""
import inspect

import numpy
import pytest

import ad
import ad.numpy as np

strict = pytest.importorskip("array_api_strict")
pytestmark = pytest.mark.skipif(not hasattr(numpy, "unstack"), reason="NumPy has the standard's functions since 2.1")

DTYPES = ("bool", "int8", "uint8", "int64", "float32", "float64", "complex64", "complex128")

# What a function is called with, by `xp` and arrays of the dtype that is being tried: `x` of 3 by 3, `y` likewise, `v`
# of 3 elements.
UNARY = (
    "abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan "
    "log log10 log1p log2 logical_not negative positive real reciprocal round sign signbit sin sinh sqrt square tan "
    "tanh trunc"
).split()
BINARY = (
    "add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal "
    "floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum "
    "minimum multiply nextafter not_equal pow remainder subtract"
).split()
REDUCTIONS = "all any argmax argmin count_nonzero max mean min prod std sum var".split()
CALLS = {
    **{name: (lambda xp, x, y, v, name=name: getattr(xp, name)(x)) for name in UNARY},
    **{name: (lambda xp, x, y, v, name=name: getattr(xp, name)(x, y)) for name in BINARY},
    **{name: (lambda xp, x, y, v, name=name: [getattr(xp, name)(x), getattr(xp, name)(x, axis=1, keepdims=True)])
       for name in REDUCTIONS},
    "arange": lambda xp, x, y, v: [xp.arange(3, dtype=x.dtype), xp.arange(0, 3, 2), xp.arange(0.5, 3)],
    "argsort": lambda xp, x, y, v: [xp.argsort(v), xp.argsort(x, axis=0, stable=True)],
    "asarray": lambda xp, x, y, v: [xp.asarray(x), xp.asarray(x, copy=True), xp.asarray(x, dtype=x.dtype, device="cpu"),
                                    xp.asarray([1, 2]), xp.asarray([True]), xp.asarray([0.5, 1j])],
    "astype": lambda xp, x, y, v: [xp.astype(x, x.dtype, copy=False), xp.astype(x, xp.complex128, device="cpu")],
    "broadcast_arrays": lambda xp, x, y, v: xp.broadcast_arrays(x, v),
    "broadcast_shapes": lambda xp, x, y, v: numpy.array(xp.broadcast_shapes(x.shape, v.shape)),
    "broadcast_to": lambda xp, x, y, v: xp.broadcast_to(v, (2, 3)),
    "can_cast": lambda xp, x, y, v: [xp.can_cast(x.dtype, xp.float64), xp.can_cast(x, xp.float64)],
    "clip": lambda xp, x, y, v: [xp.clip(x, 0, 1), xp.clip(x, max=1), xp.clip(x, y, None), xp.clip(x, min=y)],
    "concat": lambda xp, x, y, v: [xp.concat([x, y], axis=1), xp.concat((x, y), axis=None)],
    "cumulative_prod": lambda xp, x, y, v: [xp.cumulative_prod(v), xp.cumulative_prod(x, axis=0, include_initial=True)],
    "cumulative_sum": lambda xp, x, y, v: [xp.cumulative_sum(v), xp.cumulative_sum(x, axis=0, include_initial=True)],
    "diff": lambda xp, x, y, v: [xp.diff(x), xp.diff(x, axis=0, n=2), xp.diff(v, prepend=v[:1], append=v[:1])],
    "empty": lambda xp, x, y, v: xp.zeros_like(xp.empty((2, 3), dtype=x.dtype, device="cpu")),
    "empty_like": lambda xp, x, y, v: xp.zeros_like(xp.empty_like(x, device="cpu")),
    "expand_dims": lambda xp, x, y, v: [xp.expand_dims(x, axis=1), xp.expand_dims(x, axis=-1)],
    "eye": lambda xp, x, y, v: [xp.eye(2, 3, k=1, dtype=x.dtype), xp.eye(2)],
    "finfo": lambda xp, x, y, v: xp.finfo(x.dtype).eps,
    "flip": lambda xp, x, y, v: [xp.flip(x), xp.flip(x, axis=(0, 1))],
    "from_dlpack": lambda xp, x, y, v: xp.from_dlpack(x),
    "full": lambda xp, x, y, v: [xp.full((2,), 1, dtype=x.dtype), xp.full(3, True), xp.full(3, 2), xp.full((), 0.5)],
    "full_like": lambda xp, x, y, v: [xp.full_like(x, 1), xp.full_like(x, 0.5, dtype=xp.float32)],
    "iinfo": lambda xp, x, y, v: xp.iinfo(x.dtype).max,
    "isdtype": lambda xp, x, y, v: [xp.isdtype(x.dtype, kind) for kind in (
        "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric",
        (xp.float32, "bool"))],
    "isin": lambda xp, x, y, v: [xp.isin(x, y), xp.isin(x, 3, invert=True)],
    "linspace": lambda xp, x, y, v: [xp.linspace(0, 1, 4), xp.linspace(0, 1, 4, dtype=xp.float32, endpoint=False)],
    "matmul": lambda xp, x, y, v: [xp.matmul(x, y), xp.matmul(x, v)],
    "matrix_transpose": lambda xp, x, y, v: xp.matrix_transpose(x),
    "meshgrid": lambda xp, x, y, v: xp.meshgrid(v, x[0], indexing="ij"),
    "moveaxis": lambda xp, x, y, v: xp.moveaxis(x, 0, 1),
    "nonzero": lambda xp, x, y, v: xp.nonzero(x),
    "ones": lambda xp, x, y, v: [xp.ones((2, 3), dtype=x.dtype), xp.ones(3)],
    "ones_like": lambda xp, x, y, v: xp.ones_like(x),
    "permute_dims": lambda xp, x, y, v: xp.permute_dims(x, (1, 0)),
    "repeat": lambda xp, x, y, v: [xp.repeat(x, 2), xp.repeat(x, 2, axis=1), xp.repeat(v, xp.asarray([1, 0, 2]))],
    "reshape": lambda xp, x, y, v: [xp.reshape(x, (9,)), xp.reshape(x, (1, -1), copy=True)],
    "result_type": lambda xp, x, y, v: [xp.ones(1, dtype=xp.result_type(x, xp.float32)), xp.result_type(x, y, 1)],
    "roll": lambda xp, x, y, v: [xp.roll(x, 1), xp.roll(x, (1, 2), axis=(0, 1))],
    "searchsorted": lambda xp, x, y, v: [xp.searchsorted(xp.sort(v), x[0]),
                                          xp.searchsorted(xp.sort(v), v, side="right")],
    "sort": lambda xp, x, y, v: [xp.sort(x), xp.sort(x, axis=0, stable=True)],
    "squeeze": lambda xp, x, y, v: xp.squeeze(x[None], axis=0),
    "stack": lambda xp, x, y, v: xp.stack([x, y], axis=-1),
    "take": lambda xp, x, y, v: xp.take(x, xp.asarray([2, 0]), axis=1),
    "take_along_axis": lambda xp, x, y, v: xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0),
    "tensordot": lambda xp, x, y, v: [xp.tensordot(x, y, axes=1), xp.tensordot(x, y, axes=((0,), (1,)))],
    "tile": lambda xp, x, y, v: xp.tile(x, (2, 1)),
    "tril": lambda xp, x, y, v: xp.tril(x, k=-1),
    "triu": lambda xp, x, y, v: xp.triu(x, k=1),
    "unique_all": lambda xp, x, y, v: tuple(xp.unique_all(x)),
    "unique_counts": lambda xp, x, y, v: tuple(xp.unique_counts(x)),
    "unique_inverse": lambda xp, x, y, v: tuple(xp.unique_inverse(x)),
    "unique_values": lambda xp, x, y, v: xp.sort(xp.unique_values(x)),  # the order is free
    "unstack": lambda xp, x, y, v: xp.unstack(x, axis=1),
    "vecdot": lambda xp, x, y, v: [xp.vecdot(x, y), xp.vecdot(x, v, axis=-1)],
    "where": lambda xp, x, y, v: [xp.where(x == y, x, y), xp.where(x != y, x, 0)],
    "zeros": lambda xp, x, y, v: [xp.zeros((2, 3), dtype=x.dtype), xp.zeros(3)],
    "zeros_like": lambda xp, x, y, v: xp.zeros_like(x, dtype=xp.float32, device="cpu"),
    "linalg.cholesky": lambda xp, x, y, v: xp.linalg.cholesky(x @ xp.conj(x.mT) + 9 * xp.eye(3, dtype=x.dtype)),
    "linalg.cross": lambda xp, x, y, v: [xp.linalg.cross(x, y), xp.linalg.cross(x, y, axis=0)],
    "linalg.det": lambda xp, x, y, v: xp.linalg.det(x),
    "linalg.diagonal": lambda xp, x, y, v: xp.linalg.diagonal(x, offset=1),
    "linalg.eigh": lambda xp, x, y, v: xp.linalg.eigh(x + xp.conj(x.mT)).eigenvalues,
    "linalg.eigvalsh": lambda xp, x, y, v: xp.linalg.eigvalsh(x + xp.conj(x.mT)),
    "linalg.inv": lambda xp, x, y, v: xp.linalg.inv(x),
    "linalg.matmul": lambda xp, x, y, v: xp.linalg.matmul(x, y),
    "linalg.matrix_norm": lambda xp, x, y, v: [xp.linalg.matrix_norm(x),
                                               xp.linalg.matrix_norm(x, ord=1, keepdims=True)],
    "linalg.matrix_power": lambda xp, x, y, v: xp.linalg.matrix_power(x, 2),
    "linalg.matrix_rank": lambda xp, x, y, v: xp.linalg.matrix_rank(x, rtol=1e-3),
    "linalg.matrix_transpose": lambda xp, x, y, v: xp.linalg.matrix_transpose(x),
    "linalg.outer": lambda xp, x, y, v: xp.linalg.outer(v, x[0]),
    "linalg.pinv": lambda xp, x, y, v: xp.linalg.pinv(x, rtol=1e-9),
    "linalg.qr": lambda xp, x, y, v: tuple(xp.linalg.qr(x, mode="reduced")),
    "linalg.slogdet": lambda xp, x, y, v: tuple(xp.linalg.slogdet(x)),
    "linalg.solve": lambda xp, x, y, v: [xp.linalg.solve(x, y), xp.linalg.solve(x, v)],
    "linalg.svd": lambda xp, x, y, v: xp.linalg.svd(x, full_matrices=False).S,
    "linalg.svdvals": lambda xp, x, y, v: xp.linalg.svdvals(x),
    "linalg.tensordot": lambda xp, x, y, v: xp.linalg.tensordot(x, y, axes=1),
    "linalg.trace": lambda xp, x, y, v: [xp.linalg.trace(x, offset=1), xp.linalg.trace(x, dtype=xp.complex128)],
    "linalg.vecdot": lambda xp, x, y, v: xp.linalg.vecdot(x, y, axis=-1),
    "linalg.vector_norm": lambda xp, x, y, v: [xp.linalg.vector_norm(x), xp.linalg.vector_norm(x, axis=0, ord=1),
                                              xp.linalg.vector_norm(x, axis=1, keepdims=True)],
    **{f"fft.{name}": (lambda xp, x, y, v, name=name: getattr(xp.fft, name)(x)) for name in (
        "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftshift ifftshift").split()},
    "fft.fftfreq": lambda xp, x, y, v: xp.fft.fftfreq(5, d=0.5),
    "fft.rfftfreq": lambda xp, x, y, v: xp.fft.rfftfreq(5, d=0.5),
}


def functions():
    """Each function of the standard by its name."""
    found = {name: getattr(strict, name) for name in strict.__all__}
    for extension in ("linalg", "fft"):
        module = getattr(strict, extension)
        found |= {f"{extension}.{name}": getattr(module, name) for name in module.__all__}
    return {name: function for name, function in found.items()
            if callable(function) and not isinstance(function, type) and "flags" not in name
            and hasattr(function, "__name__") and not name.startswith("__")}


def ours(name):
    extension, _, function = name.rpartition(".")
    return getattr(getattr(np, extension) if extension else np, function)


def test_every_function_is_called_here():
    assert set(functions()) == set(CALLS) and len(CALLS) > 150


NUMPY_LACKS = {"sort": {"descending"}, "argsort": {"descending"}, "fft.fftfreq": {"dtype"}, "fft.rfftfreq": {"dtype"}}


@pytest.mark.parametrize("name", CALLS)
def test_parameters(name):
    """Each parameter that may be given by name is there."""
    try:
        got = inspect.signature(ours(name)).parameters
    except ValueError:
        pytest.skip("NumPy has no signature for it")
    want = inspect.signature(functions()[name]).parameters.values()
    missing = {p.name for p in want if p.kind is p.KEYWORD_ONLY} - set(got)
    assert missing == NUMPY_LACKS.get(name, set())


def test_products_of_truths_are_truths():
    """Those of NumPy that the standard does not have, too."""
    x = arguments("bool")[0]
    calls = [lambda x: np.vdot(x, x)]
    if hasattr(numpy, "vecmat"):  # since NumPy 2.2
        calls += [lambda x: np.vecmat(x[0], x), lambda x: np.matvec(x, x[0])]
    for call in calls:
        assert numpy.asarray(call(ad.constant(x))).dtype == call(x).dtype


def test_inspection_takes_arrays():
    assert np.finfo(ad.constant([1.0])).eps == numpy.finfo(float).eps
    assert np.isdtype(ad.constant([1.0]).dtype, "real floating")
    assert ad.grad(lambda x: x * np.finfo(x).eps)(1.0) == numpy.finfo(float).eps


def arguments(dtype):
    rng = numpy.random.default_rng(5)
    x, y, v = (rng.integers(1, 5, shape) for shape in ((3, 3), (3, 3), (3,)))
    parts = [part.astype(dtype) for part in (x + numpy.diag([7, 8, 9]), y, v)]
    return [part + numpy.asarray(part * 0.5j, dtype) if part.dtype.kind == "c" else part for part in parts]


def outcome(call, xp, given):
    """What a call returns, as a list of ndarrays; or the type of the error that it raises."""
    with numpy.errstate(all="ignore"):
        try:
            y = call(xp, *given)
        except Exception as error:
            return type(error)
    return [numpy.asarray(part) for part in (y if isinstance(y, (tuple, list)) else [y])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_values_and_dtypes(name, dtype):
    given = arguments(dtype)
    want = outcome(CALLS[name], numpy, given)
    for transform in (lambda f: f(1.0), lambda f: ad.grad(f)(1.0)):
        found = []
        transform(lambda x: found.append(outcome(CALLS[name], np, [ad.constant(part) for part in given])) or x)  # noqa: B023
        (got,) = found
        if isinstance(want, type):
            assert isinstance(got, type), f"NumPy raises {want.__name__}"
            continue
        assert not isinstance(got, type), got
        assert len(got) == len(want)
        for y, wanted in zip(got, want):
            assert y.dtype == wanted.dtype and y.shape == wanted.shape
            if wanted.dtype.kind in "biufc":
                assert numpy.allclose(y, wanted, rtol=1e-5, equal_nan=True)
            else:
                assert (y == wanted).all()
