"""`ad.numpy.adopt`: another module, with `ad.numpy` and `ad.scipy` in the place of NumPy and SciPy."""
import subprocess
import sys
import threading
import types

import numpy
import pytest

import ad

SOURCE = """
import math
import numpy
import numpy as np
import numpy.linalg as la
from numpy import array, float64, ndarray, pi, random, sin, zeros
from numpy.fft import fftfreq
from numpy.linalg import norm

def rosenbrock(x):
    x, y = array([x[0], 1.0]), np.array([x[1], 2.0])
    return 100 * (y[0] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 * norm([x[1], 0.0])

def kind():
    return type(zeros(2)), type(np.zeros(2)), type(numpy.linspace(0, 1, 3))
"""
SCIPY = """
import scipy
import scipy.optimize as so
from scipy import linalg, optimize, special
from scipy.special import erf, logsumexp

def f(x):
    return logsumexp([x, 2 * x]) + special.softmax(np.array([x, 1.0]))[0]
import numpy as np
"""


def module_of(source, name="adopted"):
    module = types.ModuleType(name)
    exec(source, vars(module))
    return module


def globals_of(module):
    return {name: id(value) for name, value in vars(module).items()}


def test_globals_are_replaced_and_put_back():
    module = module_of(SOURCE)
    before = globals_of(module)
    with ad.numpy.adopt(module) as entered:
        assert entered is module
        assert module.np is module.numpy is ad.numpy and module.la is ad.numpy.linalg
        for name in "array float64 ndarray zeros".split():
            assert vars(module)[name] is getattr(ad.numpy, name)
        assert module.norm is ad.numpy.linalg.norm and module.fftfreq is ad.numpy.fft.fftfreq
        assert {name: id(value) for name, value in vars(module).items() if name in ("math", "pi", "random", "sin")} == {
            name: before[name] for name in ("math", "pi", "random", "sin")}
        assert module.kind() == (numpy.ndarray,) * 3
        assert ad.grad(module.rosenbrock)(numpy.array([1.0, 1.5])).tolist() == [-200.0, 100.0]
    assert globals_of(module) == before


def test_only_inside_values_are_ours():
    module, kinds = module_of(SOURCE), []
    with ad.numpy.adopt(module):
        ad.grad(lambda x: kinds.extend(module.kind()) or x)(1.0)
    assert kinds == [ad.Array] * 3


def test_undone_after_an_error():
    module = module_of(SOURCE)
    before = globals_of(module)
    with pytest.raises(ZeroDivisionError), ad.numpy.adopt(module):
        1 / 0  # noqa: B018
    assert globals_of(module) == before


def test_by_hand_it_lasts_until_it_is_left():
    module = module_of(SOURCE)
    before = globals_of(module)
    ad.numpy.adopt(module).__enter__()
    assert module.np is ad.numpy
    adoption = ad.numpy.adopt(module)
    adoption.__enter__()
    adoption.__exit__(None, None, None)
    assert module.np is ad.numpy
    ad.numpy.adopt(module).__exit__(None, None, None)
    assert globals_of(module) == before


def test_nested_and_overlapping():
    module, other = module_of(SOURCE), module_of(SOURCE)
    before = globals_of(module)
    first, second = ad.numpy.adopt(module), ad.numpy.adopt(module)
    first.__enter__()
    with ad.numpy.adopt(other):
        second.__enter__()
        first.__exit__(None, None, None)
        assert module.np is other.np is ad.numpy
    assert other.np is numpy and module.np is ad.numpy
    second.__exit__(None, None, None)
    assert globals_of(module) == before


def test_what_the_module_changed_itself_stays():
    module = module_of(SOURCE)
    with ad.numpy.adopt(module):
        module.zeros = 3
        del module.array
        module.new = module.np
    assert module.zeros == 3 and not hasattr(module, "array") and module.np is numpy and module.new is ad.numpy


def test_by_name(tmp_path, monkeypatch):
    (tmp_path / "adopted_by_name.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    with ad.numpy.adopt("adopted_by_name") as module:
        assert module is sys.modules["adopted_by_name"] and module.np is ad.numpy
    assert module.np is numpy
    with pytest.raises(ModuleNotFoundError):
        ad.numpy.adopt("no_such_module_at_all").__enter__()
    with pytest.raises(TypeError, match="adopt takes a module"):
        ad.numpy.adopt(numpy.zeros)


def test_left_without_having_been_entered():
    with pytest.raises(RuntimeError, match="adopted"):
        ad.numpy.adopt(module_of(SOURCE)).__exit__(None, None, None)


def test_threads():
    module = module_of(SOURCE)
    before, wrong = globals_of(module), []

    def work():
        for _ in range(200):
            with ad.numpy.adopt(module):
                if module.np is not ad.numpy or not numpy.isfinite(ad.grad(module.rosenbrock)(numpy.ones(2))).all():
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and globals_of(module) == before


def test_scipy():
    scipy = pytest.importorskip("scipy")
    module = module_of(SCIPY)
    before = globals_of(module)
    with ad.numpy.adopt(module):
        assert module.scipy is ad.scipy and module.so is module.optimize is ad.scipy.optimize
        assert module.linalg is scipy.linalg and module.erf is scipy.special.erf
        x, h = 0.3, 1e-6
        assert ad.grad(module.f)(x) == pytest.approx((module.f(x + h) - module.f(x - h)) / (2 * h), rel=1e-8)
    assert globals_of(module) == before
    with pytest.raises(TypeError, match="would make a constant"):
        ad.grad(module.f)(0.3)


def test_adopting_imports_nothing_of_scipy():
    code = ("import sys, types, numpy, ad; m = types.ModuleType('m'); m.np = numpy\n"
            "with ad.numpy.adopt(m): print('scipy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
