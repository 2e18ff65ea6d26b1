"""Contract of the values that the compiled modules share: float64, kinds of values, operands, free lists."""
from cpython.ref cimport PyObject
from numpy cimport dtype, npy_intp

cdef type FLOAT64_TYPE      # numpy.float64
cdef dtype FLOAT64_DTYPE    # numpy.dtype(numpy.float64)

# What a Saved holds. The first three are values; the next three stand for values that were dropped.
cdef enum Kind:
    NOTHING       # dropped, with the output's shape and dtype; or an empty slot
    SCALAR        # a float64 scalar
    ARRAY         # an ndarray; a tuple of values for an op with several outputs
    SHAPE_SCALAR  # dropped: a float64 scalar
    SHAPE_VECTOR  # dropped: float64, one-dimensional, of length n
    SHAPE         # dropped: an Aval
    BOXED         # an Array: a cotangent with a node or tangents of its own (sweeps only)

# How a node's operands relate in shape, which decides the kernels that can serve its sweep.
cdef enum BroadcastClass:
    BROADCASTS  # some operand broadcasts, or the op is not elementwise
    SAME_AVAL   # every operand has the output's shape and dtype, or is a constant number
    SCALARS     # every operand is a float64 scalar

cdef union Content:
    double x
    npy_intp n
    PyObject *object   # owned

cdef struct Saved:
    Content of
    Kind kind

# One operand on its way through `apply`. Its pointers are borrowed from the arguments, except between `hold` and
# `let_go`, where the operand owns them.
cdef struct Operand:
    PyObject *value    # what NumPy is given
    PyObject *node
    PyObject *tangents
    double x
    Kind kind          # SCALAR or ARRAY

cdef enum:
    FREE_LIST_SIZE = 4096

# Objects of one type that were given back last, as they are. This is cheaper than Cython's own free lists: nothing is
# cleared twice.
cdef struct FreeList:
    int n
    PyObject *objects[FREE_LIST_SIZE]  # without a reference

cdef extern from "Python.h":
    ctypedef void (*destructor)(PyObject *) noexcept
    ctypedef struct PyTypeObject:
        const char *tp_name
        PyObject *tp_dict
        destructor tp_dealloc
        Py_ssize_t tp_weaklistoffset

cdef void give_name(type t, const char *name) noexcept
