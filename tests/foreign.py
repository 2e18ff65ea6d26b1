"""Ufuncs of someone else's, under any name, made without a compiler: their loops are Python functions of float64."""
import ctypes

import numpy as np

__all__ = ["foreign_gufunc", "foreign_ufunc"]

_LOOP = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_ssize_t), ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p)
_DOUBLE, _NONE, _FROM_DATA_AND_SIGNATURE = 12, -1, 31  # of NumPy's C API
_kept = []  # what a ufunc points to


def _api(k):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(np._core._multiarray_umath._UFUNC_API, None)
    return ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[k]


def _number(address):
    return ctypes.c_double.from_address(address)


def _make(name, loop, nin, signature):
    make = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_int] * 4, ctypes.c_char_p,
        ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)(_api(_FROM_DATA_AND_SIGNATURE))
    loops, data = (_LOOP * 1)(_LOOP(loop)), (ctypes.c_void_p * 1)(None)
    texts = bytes([_DOUBLE] * (nin + 1)), name.encode(), b"of someone else's", signature and signature.encode()
    _kept.append((loops, data, texts))
    types, name, doc, signature = texts
    return make(ctypes.cast(loops, ctypes.c_void_p), ctypes.cast(data, ctypes.c_void_p), types, 1, nin, 1, _NONE, name,
                doc, 0, signature)


def foreign_ufunc(name, f, nin=1):
    """A ufunc of this name that computes f, element by element."""
    def loop(args, n, steps, _data):
        for i in range(n[0]):
            values = [_number(args[k] + i * steps[k]).value for k in range(nin)]
            _number(args[nin] + i * steps[nin]).value = f(*values)

    return _make(name, loop, nin, None)


def foreign_gufunc(name, f):
    """A generalised ufunc of this name that makes a number of a vector."""
    def loop(args, n, steps, _data):
        for i in range(n[0]):
            values = [_number(args[0] + i * steps[0] + j * steps[2]).value for j in range(n[1])]
            _number(args[1] + i * steps[1]).value = f(values)

    return _make(name, loop, 1, "(n)->()")
