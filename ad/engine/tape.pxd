"""Contract of the tapes and accumulators: what `GradientTape` and `ForwardAccumulator` are made of."""
from ad.engine.array cimport Array
from ad.engine.recorder cimport Level, Recorder, State


cdef class Tape(Recorder):
    cdef readonly bint persistent
    cdef bint watches_variables
    cdef bint active    # entered, and not left
    cdef bint used      # its one set of gradients has been taken
    cdef bint warned
    cdef dict watched   # Node -> the Array it is of, in the order of watching
    cdef int begin(self) except -1
    cdef int close(self) except -1
    cdef int forget(self) except -1
    cdef int settle_all(self, list targets) except -1
    cdef list known(self, list sources)
    cdef list pull(self, list targets, list sources, list seeds)


cdef class Accumulator(Level):
    cdef bint active
    cdef list primals, x_dots
    cdef int reenter(self, State state) except -1
