# cython: nonecheck=True
"""What the table, the transforms and the compiler ask about values, and about the program that is being recorded.

`apply` and `Array` need none of it.
"""
from ad._core cimport lift
from ad.engine.array cimport Array, is_live, is_traced, is_watched, public_value, read_only, record_guard, wrap
from ad.engine.graph cimport NodePtr
from ad.engine.recorder cimport Recorder, State, current, n_tracing, tracer_of


# -- values --------------------------------------------------------------------------------

def metadata_view(Array x):
    """Return the value for the sake of its shape, dtype and strides: the elements may not be computed yet."""
    return read_only(lift(x))


def value_or_tracer(value):
    """Return the value of an Array; or the Array, if a program that is being recorded computes it."""
    cdef Array x
    if not isinstance(value, Array):
        return value
    x = lift(value)
    return x if is_traced(x) else public_value(x)


def concrete(value):
    """Return the value of an Array; a program that is being recorded guards it against another value."""
    cdef Array x
    if not isinstance(value, Array):
        return value
    x = lift(value)
    return record_guard(x, "array", public_value(x))


def is_differentiated(value):
    """Whether a derivative could flow through a value; none does through integers and truths."""
    return isinstance(value, Array) and value.dtype.kind in "fc" and is_watched(lift(value))


def as_array(value):
    """Return an Array of an ndarray, without a derivative; the elements are not copied."""
    return wrap(value)


# -- what this thread does -------------------------------------------------------------------

def is_differentiating(tuple arguments=()):
    """Whether a tape, a transform or a recording of this thread is open.

    With the arguments of a call: also whether there is a `Dual` in them, or a value that another thread differentiates.
    """
    cdef State state = current()
    return state.n_recording > 0 or len(state.levels) > 0 or is_any_live(arguments)


cdef bint is_any_live(values):
    """Whether an op on an Array in nested lists would be recorded."""
    for value in values:
        if isinstance(value, Array):
            if is_live(<Array>value):
                return True
        elif isinstance(value, (list, tuple)) and is_any_live(value):
            return True
    return False


# -- the program that is being recorded ----------------------------------------------------

def note_failure(list arrays):
    """Tell the program that is being recorded that a function of these values raised."""
    cdef Recorder tracer
    cdef Array x
    for x in arrays:
        tracer = None if x.node is None else tracer_of(<NodePtr>x.node)
        if tracer is not None:
            tracer.fail(<NodePtr>x.node)


def is_tracing():
    """Whether this thread is recording a program."""
    return current().tracer is not None


def is_any_tracing():
    """Whether some thread is recording a program."""
    return n_tracing > 0


def find_tracer(arrays):
    """The tracer whose program computes one of these values; or None."""
    cdef Array x
    for value in arrays:
        x = lift(value)
        tracer = None if x.node is None else tracer_of(<NodePtr>x.node)
        if tracer is not None:
            return tracer
    return None


cdef class Untraced:
    """A block whose ops are part of no program that this thread records."""
    cdef State state
    cdef Recorder tracer

    def __enter__(self):
        self.state = current()
        self.tracer = self.state.tracer
        self.state.trace(None)

    def __exit__(self, kind, error, traceback):
        self.state.trace(self.tracer)


def lift_constant(value):
    """Lift a constant into the program being traced, so that ops on it are traced; else return it unchanged.

    Ops on the ndarray itself would be evaluated at once, and their results would be constants of the program.
    """
    cdef Recorder tracer = current().tracer
    return value if tracer is None else tracer.lift_constant(value)
