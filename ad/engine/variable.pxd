"""Contract of the leaves."""
from ad.engine.array cimport Array

cdef class Variable(Array):
    cdef readonly bint trainable
    cdef readonly str name
    cdef readonly long serial
    cdef Array snapshot              # what the last read gave, until the next change
    cdef void store(self, Array value)
    cdef Array read_for_others(self)
    cdef int refuse_in_recordings(self) except -1
    cdef int refuse_cut(self, str how, other) except -1
    cdef Variable change(self, operation, str how, other)
