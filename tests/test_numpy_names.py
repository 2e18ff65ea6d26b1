"""`ad.numpy` and `ad.scipy` have the names, docstrings and signatures of NumPy and SciPy."""
import importlib
import inspect
import pickle
import subprocess
import sys
import types

import numpy
import pytest

import ad
import ad.numpy as np

MODULES = "fft lib lib.stride_tricks linalg ma polynomial random".split()
SUBMODULES = ("char ctypeslib dtypes exceptions fft lib lib.stride_tricks linalg ma ma.extras polynomial "
              "polynomial.chebyshev random rec strings testing typing").split()
SCALARS = [numpy.dtype(char).type for char in numpy.typecodes["AllFloat"]]


def public(module):
    return [name for name in dir(module) if not name.startswith("_")]


def test_no_name_is_missing():
    assert set(dir(numpy)) <= set(dir(np)) and set(numpy.__all__) <= set(np.__all__)
    assert all(hasattr(np, name) for name in {*dir(numpy), *numpy.__all__})
    assert set(dir(np)) - set(dir(numpy)) == {"adopt"}
    with pytest.raises(AttributeError, match="no_such_name"):
        np.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules(name):
    ours, theirs = (importlib.import_module(f"{root}.{name}") for root in ("ad.numpy", "numpy"))
    assert set(dir(theirs)) <= set(dir(ours)) and ours.__doc__ == theirs.__doc__
    assert all(hasattr(ours, each) for each in public(theirs))
    found = np
    for part in name.split("."):
        found = getattr(found, part)
    assert found is ours
    assert theirs.__spec__.name == f"numpy.{name}" and sys.modules[f"numpy.{name}"] is theirs


def test_a_module_that_does_not_exist():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        importlib.import_module("ad.numpy.no_such_module")


def test_the_random_module_is_numpys():
    assert np.random is numpy.random  # libraries ask `seed is np.random`


@pytest.mark.parametrize("module", [numpy, numpy.linalg, numpy.fft], ids=lambda module: module.__name__)
def test_docstrings_and_signatures(module):
    ours = importlib.import_module(f"ad.{module.__name__}")
    replaced = 0
    for name in public(module):
        got, want = getattr(ours, name), getattr(module, name)
        if got is want or isinstance(want, types.ModuleType):
            continue
        replaced += 1
        is_rewritten = "Array API Standard Support" in (want.__doc__ or "")  # by SciPy, when it is imported: np.sinc
        assert got.__doc__ == want.__doc__ or is_rewritten, name
        if callable(want):
            assert got.__name__ == want.__name__ and pickle.loads(pickle.dumps(got)) is got
            try:
                signature = inspect.signature(want)
            except ValueError:
                continue
            assert inspect.signature(got) == signature, name
    assert replaced > 10


def test_ufuncs_constants_and_states_are_numpys_own():
    for name in public(numpy):
        want = getattr(numpy, name)
        if isinstance(want, (numpy.ufunc, float, dict, tuple)) or want is None:
            assert getattr(np, name) is want, name
    for name in "errstate seterr printoptions set_printoptions int64 bool_ str_ dtype generic floating newaxis".split():
        assert getattr(np, name) is getattr(numpy, name)


def test_arrays_of_both_kinds_are_ndarrays():
    assert isinstance(numpy.ones(2), np.ndarray) and isinstance(ad.constant([1.0]), np.ndarray)
    assert isinstance(ad.Variable([1.0]), np.ndarray) and not isinstance([1.0], np.ndarray)
    assert isinstance(numpy.ma.ones(2), np.ndarray) and not isinstance(numpy.float64(1), np.ndarray)
    assert issubclass(numpy.ndarray, np.ndarray) and issubclass(ad.Array, np.ndarray)
    assert issubclass(np.ndarray, numpy.ndarray) and not issubclass(int, np.ndarray)
    assert type(numpy.ones(2)) == np.ndarray and type(ad.constant(1.0)) == np.ndarray and int != np.ndarray  # noqa: E721
    assert {np.ndarray: 1}[numpy.ndarray] == 1 and np.ndarray == numpy.ndarray


def test_ndarray_is_a_type_as_numpys():
    assert type(np.ndarray((2, 3), dtype=np.float32)) is numpy.ndarray
    assert np.ndarray[tuple[int], np.dtype[np.float64]].__origin__ is not None
    assert numpy.ones(2).view(np.ndarray).shape == (2,) and np.ndarray.mean(numpy.ones(2)) == 1.0

    class Tagged(np.ndarray):
        pass

    tagged = numpy.ones(3).view(Tagged)
    assert type(tagged) is Tagged and isinstance(tagged, numpy.ndarray) and isinstance(tagged, np.ndarray)
    assert not isinstance(numpy.ones(3), Tagged) and not issubclass(numpy.ndarray, Tagged)
    assert type(Tagged((2,))) is Tagged and Tagged != np.ndarray and {Tagged: 1}[Tagged] == 1


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: scalar.__name__)
def test_a_scalar_type_is_a_dtype(scalar):
    ours, dtype = getattr(np, scalar.__name__), numpy.dtype(scalar)
    assert numpy.dtype(ours) == dtype and numpy.zeros(2, ours).dtype == ours and dtype == ours and ours == dtype
    assert ours == scalar and scalar == ours and ours in (int, scalar) and {scalar: 1}[ours] == 1
    assert np.issubdtype(ours, np.inexact) and np.issubdtype(dtype, ours) and not np.issubdtype(np.int64, ours)
    assert type(ours(1)) is scalar and isinstance(ours(1), ours) and not isinstance(1, ours)
    assert issubclass(scalar, ours) and issubclass(ours, scalar) and np.isdtype(dtype, ours)
    assert numpy.result_type(ours, numpy.int8) == numpy.result_type(scalar, numpy.int8)
    assert numpy.ones(2).astype(ours).dtype == numpy.sum(numpy.ones(2), dtype=ours).dtype == dtype
    assert numpy.dtype([("x", ours)]) == numpy.dtype([("x", scalar)]) and numpy.finfo(ours) is numpy.finfo(scalar)
    assert ad.constant([1.0], dtype=ours).dtype == ours


def test_a_scalar_type_keeps_derivatives():
    def f(x):
        y = np.float64(x) * np.float64(2.0)
        assert isinstance(y, np.float64) and y.dtype == np.float64 and isinstance(np.float32(x), np.float32)
        assert np.complex128(x).dtype == complex and not isinstance(np.float32(x), np.float64)
        return y + np.float32(x).astype(float) + np.real(np.complex128(x) * (2 - 1j)) + np.sum(np.float64([x, x]))

    assert ad.grad(f)(3.0) == ad.jvp(f, (3.0,), (1.0,))[1] == 7.0
    assert ad.compile(ad.grad(f))(3.0) == 7.0


def test_a_class_derived_from_a_scalar_type():
    class Metre(np.float64):
        pass

    assert type(Metre(2.0)) is Metre and isinstance(Metre(2.0), numpy.float64) and isinstance(Metre(1.0), np.float64)
    assert not isinstance(np.float64(1.0), Metre) and Metre != np.float64


def test_isscalar():
    assert np.isscalar(3.0) and np.isscalar(numpy.float32(1)) and not np.isscalar(numpy.ones(2))
    assert np.isscalar(ad.constant(1.0)) and not np.isscalar(ad.constant([1.0]))


def test_importing_ad_does_not_import_them():
    code = "import sys, ad; print([m for m in sys.modules if m.startswith(('ad.numpy', 'ad.scipy', 'scipy'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    code = "import sys, ad; ad.numpy.zeros; ad.scipy; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# -- ad.scipy ------------------------------------------------------------------------------------


def test_scipy_has_scipys_names():
    scipy = pytest.importorskip("scipy")
    assert set(dir(scipy)) <= set(dir(ad.scipy)) and ad.scipy.__version__ == scipy.__version__
    for name in "special optimize linalg stats sparse.linalg spatial.transform stats.qmc signal.windows".split():
        ours, theirs = (importlib.import_module(f"{root}.{name}") for root in ("ad.scipy", "scipy"))
        assert set(public(theirs)) <= set(public(ours)), name
        assert theirs.__spec__.name == f"scipy.{name}" and sys.modules[f"scipy.{name}"] is theirs
    assert ad.scipy.linalg is scipy.linalg
    with pytest.raises(AttributeError, match="no_such_name"):
        ad.scipy.no_such_name  # noqa: B018


def test_scipy_special_has_what_ad_special_has():
    special = pytest.importorskip("scipy.special")
    ours = ad.scipy.special
    assert ours.erf is special.erf  # a ufunc, which takes Arrays, and has more than ours: `reduce`, `types`
    assert set(ad.special.__all__) <= set(dir(ours))
    assert ad.grad(lambda x: ours.logsumexp(x))(numpy.zeros(2)).tolist() == [0.5, 0.5]
    assert ours.logsumexp(numpy.zeros(2)) == special.logsumexp(numpy.zeros(2))


def test_scipy_optimize_is_called_as_scipys():
    optimize = pytest.importorskip("scipy.optimize")
    ours = ad.scipy.optimize
    for name in {*ad.optimize.__all__} - {"EvaluationError", "Problem"}:  # which SciPy has not
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(optimize, name))
        assert getattr(ours, name).__doc__ == getattr(optimize, name).__doc__
    assert ours.brentq is optimize.brentq
    t = numpy.arange(4.0)
    fit = ours.least_squares(lambda p: p[0] * numpy.exp(p[1] * t) - 2 * numpy.exp(-t), [1.0, -0.5], "2-point",
                             (-9, 9), "trf", 1e-12)
    assert numpy.allclose(fit.x, [2.0, -1.0])
    assert numpy.allclose(ours.minimize(lambda x, a: np.sum((x - a) ** 2), [0.0, 0.0], (3.0,), "BFGS").x, 3.0)
    assert numpy.allclose(ours.root(lambda x: x ** 2 - 2, [1.0]).x, 2 ** 0.5)
    popt, pcov = ours.curve_fit(lambda t, a, b: a * np.exp(b * t), t, 2 * numpy.exp(-t), [1.0, -0.5], full_output=False)
    assert numpy.allclose(popt, [2.0, -1.0])
    with pytest.raises(TypeError):
        ours.minimize(lambda x: x @ x, [0.0], no_such_option=1)


def test_without_scipy():
    code = """
import sys, types
sys.modules["scipy"] = None
import ad, numpy
module = types.ModuleType("module")
module.np = numpy
with ad.numpy.adopt(module):
    print(module.np is ad.numpy)
try:
    from ad.scipy import stats
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True\nad.scipy needs SciPy: pip install")
