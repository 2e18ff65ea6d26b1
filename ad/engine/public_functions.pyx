"""What the table makes public of its ops: built-in functions of elementwise ops, and methods of `Array`."""
from cpython.mem cimport PyMem_Calloc
from cpython.ref cimport PyObject

from ad._core cimport apply, apply1, apply2, refuse_operands
from ad.engine.array cimport Array
from ad.engine.graph cimport Op
from ad.engine.roles cimport roles
from ad.engine.types cimport PyTypeObject

cdef extern from "Python.h":
    ctypedef PyObject *(*PyCFunction)(PyObject *, PyObject *) noexcept
    ctypedef struct PyMethodDef:
        const char *ml_name
        PyCFunction ml_meth
        int ml_flags
        const char *ml_doc
    int METH_FASTCALL, METH_KEYWORDS
    object PyCFunction_NewEx(PyMethodDef *method, object self, object module)
    void PyType_Modified(type t)

ctypedef void (*Function)() noexcept  # of any signature: C's way from one to another, without a warning


cdef object call_elementwise(PyObject *op, PyObject **args, Py_ssize_t n, PyObject *names):
    """Call a public elementwise function, as in `ad.sin(x)`."""
    cdef Op self = <Op>op
    if names == NULL:
        if n == 1 and self.arity == 1:
            if isinstance(<object>args[0], Array):
                return apply1(self, <object>args[0])
        elif n == 2 and self.arity == 2:
            if isinstance(<object>args[0], Array) or isinstance(<object>args[1], Array):
                found = apply2(self, <object>args[0], <object>args[1])
                return found if found is not NotImplemented else refuse_operands(
                    self, (<object>args[0], <object>args[1]))
    values = tuple([roles.stacked(<object>args[i]) for i in range(n)])
    if names == NULL and n == self.arity and any([isinstance(value, Array) for value in values]):
        return apply(self, values)
    keywords = {} if names == NULL else {
        name: <object>args[n + i] for i, name in enumerate(<tuple>names)}
    return self.fn(*values, **keywords)


def elementwise_function(Op op, doc):
    """Return the public function of an elementwise op: a built-in function, which is cheap to call."""
    cdef PyMethodDef *method = <PyMethodDef *>PyMem_Calloc(1, sizeof(PyMethodDef))  # lives for ever
    if method == NULL:
        raise MemoryError
    op.public = (op.name.encode(), doc.encode())
    method.ml_name = op.public[0]
    method.ml_doc = op.public[1]
    method.ml_meth = <PyCFunction><Function>call_elementwise
    method.ml_flags = METH_FASTCALL | METH_KEYWORDS
    function = PyCFunction_NewEx(method, op, "ad")
    op.public += (function,)
    return function


def add_method(str name, function):
    """Make a function of the table a method (or property) of Array."""
    cdef dict namespace = <dict>(<PyTypeObject *>Array).tp_dict
    namespace[name] = function
    PyType_Modified(Array)
