"""Objects that the compiled modules share."""
cimport numpy as cnp

import numpy as np

cnp.import_array()

cdef type FLOAT64_TYPE = np.float64
cdef cnp.dtype FLOAT64_DTYPE = cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)


cdef void give_name(type t, const char *name) noexcept:
    """Let Python's own messages call a type by its public name."""
    (<PyTypeObject *>t).tp_name = name
