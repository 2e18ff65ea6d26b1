"""Scattering of the coefficients of terms into the data of a sparse matrix."""
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint8_t

cimport numpy as cnp

import numpy as np

cnp.import_array()

cdef enum:
    CHUNK = 128  # entries of one part before those of the next: what they write to is then still in the cache

ctypedef fused Real:
    float
    double

cdef struct Part:
    Py_ssize_t n, source, start, step
    double factor
    const int32_t *places  # NULL if they are start, start + step, ...
    bint has_base          # it is the first to write to its places, where the template has different values
    double base            # the value of the template, if that is the same at all places


cdef class Scatter:
    """Adds multiples of arrays of coefficients to the data of a sparse matrix.

    A part that is the first to write to each of its places assigns; those that come to written places add.

    Parameters
    ----------
    template : ndarray of float32 or float64
        The sums of the coefficients that are constants.
    parts : list of (int, ndarray of int32, float)
        Number of an array, the place in the data for each of its elements, negative for none, and the factor.
    """
    cdef object template, kept
    cdef Part *parts
    cdef readonly int n_parts, n_assigning, n_arrays
    cdef Py_ssize_t n_rest
    cdef const int32_t *rest  # places to which no part assigns

    def __cinit__(self, template, list parts):
        self.template, self.kept = template, []
        self.parts = <Part *>PyMem_Malloc(max(len(parts), 1) * sizeof(Part))
        if self.parts == NULL:
            raise MemoryError
        self.n_arrays = 1 + max([source for source, _, _ in parts], default=-1)
        written, adding = np.zeros(len(template), np.uint8), []
        for source, places, factor in parts:
            if claim(places, written):
                values = template[places[places >= 0]] if template.any() else template[:0]
                base = float(values[0]) if len(values) else 0.0
                self.append(source, places, factor, bool((values != base).any()), base)
            else:
                adding.append((source, places, factor))
        self.n_assigning = self.n_parts
        for source, places, factor in adding:
            self.append(source, places, factor, False, 0.0)
        rest = np.flatnonzero(written == 0).astype(np.int32)
        self.kept.append(rest)
        self.n_rest, self.rest = len(rest), indices_of(rest)

    def __dealloc__(self):
        PyMem_Free(self.parts)

    cdef append(self, Py_ssize_t source, given, double factor, bint has_base, double base):
        cdef const int32_t *places = indices_of(given)
        cdef Part *part = &self.parts[self.n_parts]
        cdef Py_ssize_t n = len(given), j
        self.n_parts += 1
        part[0] = Part(n, source, places[0] if n else 0, places[1] - places[0] if n > 1 else 0, factor, NULL, has_base,
                       base)
        for j in range(n):
            if places[j] < 0 or places[j] != part.start + j * part.step:
                part.places = places
                self.kept.append(given)
                break

    def run(self, list arrays, cnp.ndarray data):
        """Set `data` to the template plus multiples of the arrays; all are contiguous, of the template's dtype.

        There may be more arrays than the parts name.
        """
        cdef void **pointers = <void **>PyMem_Malloc((self.n_arrays + 1) * sizeof(void *))
        cdef cnp.ndarray array
        cdef int i
        if pointers == NULL:
            raise MemoryError
        try:
            for i in range(self.n_arrays):
                array = arrays[i]
                pointers[i] = cnp.PyArray_DATA(array)
            array = self.template
            with nogil:
                if cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE:
                    self.fill(<double *>cnp.PyArray_DATA(array), <double **>pointers,
                              <double *>cnp.PyArray_DATA(data))
                else:
                    self.fill(<float *>cnp.PyArray_DATA(array), <float **>pointers, <float *>cnp.PyArray_DATA(data))
        finally:
            PyMem_Free(pointers)

    cdef void fill(self, const Real *template, Real **arrays, Real *data) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.n_rest):
            data[self.rest[i]] = template[self.rest[i]]
        self.write(template, arrays, data, 0, self.n_assigning)
        self.write(data, arrays, data, self.n_assigning, self.n_parts)

    cdef void write(self, const Real *base, Real **arrays, Real *data, int first, int last) noexcept nogil:
        """Write the parts from `first` on, chunk by chunk; those that add have the data as their base."""
        cdef Py_ssize_t begin = 0, longest = 0
        cdef int i
        for i in range(first, last):
            longest = max(longest, self.parts[i].n)
        while begin < longest:
            for i in range(first, last):
                write_chunk(&self.parts[i], begin, arrays[self.parts[i].source],
                            base if self.parts[i].has_base or i >= self.n_assigning else NULL, data)
            begin += CHUNK


# Memory views would make half of the time that this module takes to compile.
cdef const int32_t *indices_of(cnp.ndarray indices) except? NULL:
    """Return the elements of a contiguous array of int32."""
    if cnp.PyArray_TYPE(indices) != cnp.NPY_INT32 or not cnp.PyArray_IS_C_CONTIGUOUS(indices):
        raise TypeError(f"indices are contiguous and of int32, not {indices.dtype}")
    return <const int32_t *>cnp.PyArray_DATA(indices)


cdef bint claim(cnp.ndarray given, cnp.ndarray marks) except -1:
    """Mark places as written, unless one of them is already; return whether that was done."""
    cdef const int32_t *places = indices_of(given)
    cdef uint8_t *written = <uint8_t *>cnp.PyArray_DATA(marks)
    cdef Py_ssize_t j, k
    for j in range(cnp.PyArray_SIZE(given)):
        if places[j] >= 0:
            if written[places[j]]:
                for k in range(j):
                    if places[k] >= 0:
                        written[places[k]] = 0
                return False
            written[places[j]] = 1
    return True


cdef void write_chunk(const Part *part, Py_ssize_t begin, const Real *source, const Real *base,
                      Real *data) noexcept nogil:
    cdef Py_ssize_t j, end = min(begin + CHUNK, part.n), start = part.start, step = part.step
    cdef const int32_t *places = part.places
    cdef double factor = part.factor, value = part.base
    if places == NULL and base == NULL:
        for j in range(begin, end):
            data[start + j * step] = <Real>(value + factor * source[j])
    elif places == NULL:
        for j in range(begin, end):
            data[start + j * step] = <Real>(base[start + j * step] + factor * source[j])
    elif base == NULL:
        for j in range(begin, end):
            if places[j] >= 0:
                data[places[j]] = <Real>(value + factor * source[j])
    else:
        for j in range(begin, end):
            if places[j] >= 0:
                data[places[j]] = <Real>(base[places[j]] + factor * source[j])
