"""Lists and tuples that hold values of ours as operands: NumPy takes them for arrays, and derivatives flow."""
import numpy as np
import pytest

import ad
from ad.testing import check_grads

T = np.array([1.3, -0.7, 2.1])

AMONG_NUMPYS = {  # NumPy's functions, which see a value of ours beside the list
    "dot": lambda t: np.dot([t[0], 1.0, t[1]], t),
    "dot of a matrix": lambda t: np.dot(t, [[t[0], 1.0, 2.0], [0.0, t[1], 1.0], [1.0, 1.0, t[2]]]),
    "inner": lambda t: np.inner([t[0], 1.0, 2.0], t),
    "outer": lambda t: np.outer([t[0], 1.0], t),
    "vdot": lambda t: np.vdot([t[0], 1.0, 2.0], t),
    "kron": lambda t: np.kron([t[0], 1.0], t),
    "tensordot": lambda t: np.tensordot([t[0], 1.0, t[1]], t, axes=1),
    "einsum": lambda t: np.einsum("i,i->", [t[0], 1.0, 2.0], t),
    "einsum of sublists": lambda t: np.einsum([t[0], 1.0, 2.0], [0], t, [0]),
    "vecdot": lambda t: np.vecdot([t[0], 1.0, 2.0], t),
    "cross": lambda t: np.cross([t[0], 1.0, 2.0], t),
    "solve": lambda t: np.linalg.solve([[t[0], 1.0], [0.5, t[2]]], t[:2]),
    "lstsq": lambda t: np.linalg.lstsq([[t[0], 1.0], [0.5, t[2]], [1.0, 1.0]], t)[0],
    "where": lambda t: np.where(t > 0, [t[0], 1.0, t[1]], t),
    "where by a list": lambda t: np.where([True, False, True], [t[0], 1.0, t[1]], t),
    "select": lambda t: np.select([t > 1, t < 0], [t, [t[0], 2.0, t[1]]], t[2]),
    "interp": lambda t: np.interp([t[0], 0.5], np.array([0.0, 1.0, 2.0]), t),
    "interp between lists": lambda t: np.interp(t, [0.0, t[0], 2.5], [1.0, t[1], 3.0]),
    "average": lambda t: np.average(t, weights=[abs(t[0]), 1.0, 2.0]),
    "trapezoid": lambda t: np.trapezoid([t[0], 1.0, t[1]], t),
    "pad": lambda t: np.pad(t, (1, 2), constant_values=(t[1], 3.0)),
    "pad in two axes": lambda t: np.pad(
        np.outer(t, t), ((1, 0), (2, 1)), constant_values=((t[0], 1.0), (2.0, t[1]))),
    "diff": lambda t: np.diff(t, prepend=[t[0] * 2], append=[1.0, t[1]]),
    "broadcast_arrays": lambda t: np.broadcast_arrays([t[0], 1.0, 2.0], t)[0] * t,
    "gradient": lambda t: np.gradient(t, [0.0, t[0], 4.0]),
    "ediff1d": lambda t: np.ediff1d(t, to_end=[t[0], 1.0], to_begin=t[1]),
    "comparison": lambda t: t * ([1.0, t[0], 3.0] > t),
    "np.less": lambda t: t * np.less([1.0, t[0], 3.0], t),
    "+": lambda t: [1.0, t[0], 2.0] + t,
    "np.add": lambda t: np.add([1.0, t[0], 2.0], t),
    "@": lambda t: [[t[0], 1.0, 2.0]] @ t,
    "convolve": lambda t: np.convolve([t[0], 1.0], t),
    "polyval": lambda t: np.polyval([t[0], 1.0], t),
    "append": lambda t: np.append(t, [t[0], 1.0]),
    "insert": lambda t: np.insert(t, 1, [t[0] * 2]),
    "concatenate": lambda t: np.concatenate([[t[0], 1.0], t]),
    "clip": lambda t: np.clip(t, [t[1], 0.0, 0.0], [5.0, 5.0, abs(t[0])]),
    "matvec": lambda t: np.matvec([[t[0], 1.0, 2.0]], t),
}
BY_OUR_NAMES = {
    "mean": lambda t: ad.mean([t[0], t[1] * 2]), "sum": lambda t: ad.sum([t[0], t[1] * 2]),
    "std": lambda t: ad.std([t[0], t[1] * 2]), "max": lambda t: ad.max([t[0], t[1] * 2]),
    "min": lambda t: ad.min((t[0], t[1])), "prod": lambda t: ad.prod([t[0], t[1]]),
    "norm": lambda t: ad.linalg.norm([t[0], t[1] * 2]), "cumsum": lambda t: ad.cumsum([t[0], t[1]]),
    "cumprod": lambda t: ad.cumprod([t[0], t[1]]), "sin": lambda t: ad.sin([t[0], t[1]]),
    "hypot": lambda t: ad.hypot([t[0], 1.0], [t[1], 2.0]), "reshape": lambda t: ad.reshape([[t[0], t[1]]], 2),
    "transpose": lambda t: ad.transpose([[t[0], 1.0], [2.0, t[1]]]), "clip": lambda t: ad.clip([t[0], t[1]], 0, 1),
    "det": lambda t: ad.linalg.det([[t[0], 1.0], [2.0, t[1]]]),
    "inv": lambda t: ad.linalg.inv([[t[0], 1.0], [2.0, t[1]]]),
    "sort": lambda t: ad.sort([t[0], 1.0, t[1]]), "median": lambda t: ad.median([t[0], 1.0, t[1]]),
    "dot": lambda t: ad.dot([t[0], 1.0], [1.0, t[1]]), "matmul": lambda t: ad.matmul([[t[0], 1.0]], [1.0, t[1]]),
    "fft": lambda t: np.abs(ad.fft.fft([t[0], 1.0, t[1]])), "diag": lambda t: ad.diag([t[0], t[1]]),
    "take": lambda t: ad.take([t[0], t[1]], [1, 0]), "roll": lambda t: ad.roll([t[0], t[1]], 1),
    "broadcast_to": lambda t: ad.broadcast_to([t[0], t[1]], (3, 2)),
    "convolve": lambda t: ad.convolve([t[0]], [t[1], 1.0]),
    "angle": lambda t: ad.angle([t[0], t[1]]), "gammaln": lambda t: ad.special.gammaln([t[0], t[2]]),
}
PARAMETERS = {  # what other libraries keep as constants of the call
    "constant_values": lambda t: np.pad(t, 1, constant_values=t[0]),
    "nan": lambda t: np.nan_to_num(t * np.array([1.0, np.nan, 1.0]), nan=t[0]),
    "initial of sum": lambda t: np.sum(t, initial=t[0]), "initial of prod": lambda t: np.prod(t, initial=t[0]),
    "initial of max": lambda t: np.max(t, initial=t[0] * 5), "mean": lambda t: np.var(t, mean=t[0]),
    "dx": lambda t: np.trapezoid(t, dx=t[0]), "spacing": lambda t: np.gradient(t, t[0]),
    "q": lambda t: np.quantile(t, [abs(t[1]) / 2, 0.2]), "fill_value": lambda t: np.full_like(t, t[0]) * t,
    "ends of linspace": lambda t: np.linspace(t[0], t[1], 4),
    "rows": lambda t: np.linspace([t[0], 1.0], t[:2], 4, axis=1),
    "ends of logspace": lambda t: np.logspace(t[0], t[1], 3),
    "left": lambda t: np.interp(-1.0, np.arange(3.0), t, left=t[0]),
    "places": lambda t: np.split(t, [np.argmax(t)])[0], "shift": lambda t: np.roll(t, np.argmax(t)),
    "repeats": lambda t: np.repeat(t, np.argsort(t)),
}
EVERY = [pytest.param(f, id=name) for table in (AMONG_NUMPYS, BY_OUR_NAMES, PARAMETERS) for name, f in table.items()]


@pytest.mark.parametrize("f", EVERY)
def test_values_and_derivatives(f):
    np.testing.assert_allclose(ad.vjp(f, T)[0], f(T), rtol=1e-12)
    check_grads(f, [T], order=1)


@pytest.mark.parametrize("f", EVERY)
def test_compiled_and_over_lanes(f):
    compiled = ad.compile(f)
    compiled(T * 1.01)
    np.testing.assert_allclose(compiled(T), f(T), rtol=1e-12)
    np.testing.assert_allclose(ad.vmap(f)(np.stack([T, T * 1.01])), np.stack([f(T), f(T * 1.01)]), rtol=1e-12)


@pytest.mark.parametrize(("f", "remedy"), [
    (lambda t: np.sum([t[0], t[1]]), "or call ad.sum, which does"),
    (lambda t: np.linalg.det([[t[0], 1.0], [2.0, t[1]]]), "or call ad.linalg.det, which does"),
    (lambda t: np.fft.fft([t[0], t[1]]), "or call ad.fft.fft, which does"),
    (lambda t: np.pad(T, 1, constant_values=t[0]), "or call ad.pad, which does"),
    (lambda t: np.full_like(T, t[0]), "Make an array of floats with ad.numpy"),
    (lambda t: np.compress([True, False], [t[0], t[1]]), "or call ad.compress, which does"),
    (lambda t: np.logaddexp.reduce([t[0], t[1]]), r"\(ad.asarray\(\[x, y\]\), ad.constant\(a\)\); or cut"),
])
def test_what_numpy_alone_sees_is_refused_with_the_twin_that_sees_ours(f, remedy):
    for transform in (ad.grad, lambda f: ad.compile(ad.grad(f)), ad.jacobian):
        with pytest.raises((TypeError, ad.MissingRule), match=remedy):
            transform(lambda t: np.sum(f(t)))(T)


def test_a_static_parameter_that_is_being_differentiated():
    for f in (lambda p: np.linalg.norm(np.ones(3) * p, ord=p), lambda p: np.linalg.pinv(np.eye(2) * p, p)):
        with pytest.raises(ad.MissingRule, match="Nothing flows through it"):
            ad.grad(lambda p, f=f: np.sum(f(p)))(2.5)
