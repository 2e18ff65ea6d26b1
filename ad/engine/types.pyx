"""Objects that the compiled modules share."""
cimport numpy as cnp

import numpy as np

cnp.import_array()

cdef type FLOAT64_TYPE = np.float64
cdef cnp.dtype FLOAT64_DTYPE = cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)
