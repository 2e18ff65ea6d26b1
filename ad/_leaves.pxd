"""Contract of the leaves."""
from ad._core cimport Array

cdef class Variable(Array):
    cdef readonly bint trainable
    cdef readonly str name
    cdef readonly long serial
    cdef Array snapshot              # what the last read gave, until the next change
    cdef void store(self, Array value)
    cdef int refuse_in_recordings(self) except -1
