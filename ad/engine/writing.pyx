# cython: nonecheck=True
"""Values that are written to, with NumPy's views.

An `Array` is a handle, and the graph never changes. To write is to let the handle stand for another value, which the
op `setitem` computes from the old one: `x[index] = v` is `x = setitem(x, v, index)`, and every holder of the handle
sees it.

A view knows its owner, and the op that makes it of the owner. To write to a view is to write to the owner, by the
op's `write`. A view is computed anew when it is read, if its owner has been written to since: `writes` counts how
often. `clock.writes` counts all writes, and tells without a look at the owners that there was none.

The ndarray of an Array that is written to belongs to it alone, and is written in place. Who else holds it, such as a
node that keeps it for the reverse sweep, has a reference to it; then it is copied first. Views of such an Array are
copies of the elements, so that they do not make the next write copy the whole.

Elements that are written one by one wait in `pending`, by their positions. What reads a single element finds it there
as it was written, without an op; what reads more joins them first, by one `stack` and one `setitem`. So a loop that
fills an array costs what a list and `np.stack` cost.
"""
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

cimport numpy as cnp
from ad._core cimport apply, apply_given, lift
from ad.engine.array cimport Array, clock, force, hooks, is_followed, new_array, raw_value, settle, wrap
from ad.engine cimport recorder
from ad.engine.graph cimport Op
from ad.engine.recorder cimport MOMENT, State, current, moment_of, unjoined
from ad.engine.roles cimport roles

import numpy as np

from ad.errors import lost_in_integers, not_an_output

cnp.import_array()


# -- the handle --------------------------------------------------------------------------------

cdef int note_write(Array x) except -1:
    """Note that `x` has been written to."""
    clock.writes += 1
    x.base = None
    x.changes += 1
    x.writes += 1
    x.has_history = True
    x.settled_at = 0 if x.pending is not None else clock.writes
    return 0


cdef int stand_for(Array x, Array y) except -1:
    """Let `x` stand for the value of `y`."""
    x.array, x.number, x.node, x.tangents, x.base = y.array, y.number, y.node, y.tangents, None
    x.is_sole_owner = False
    return 0


cdef int replace(Array x, Array y) except -1:
    """Write `y`, of the shape and dtype of `x`, to the whole of `x`."""
    if x.is_read_only:
        raise ValueError("assignment destination is read-only")
    if x.owner is not None:
        describe_view(x)
        x.view_op.write(x.owner, y, *x.view_params)  # first: it may raise, because the view is read-only
        x.owner_writes = x.owner.writes
        x.is_compact = True
    else:
        y = in_layout(y, x)
    forget_pending(x)
    stand_for(x, y)
    note_write(x)
    return 0


cdef Array in_layout(Array y, Array x):
    """`y` with the strides of `x`, which a write does not change: they say which of its views are copies."""
    if x.array is None or cnp.PyArray_NDIM(<cnp.ndarray>x.array) < 2 or y.array.strides == x.array.strides:
        return y
    array = np.empty_like(x.array, subok=False)
    if array.strides == y.array.strides:  # those of `x` are not those of an array of its own
        return y
    array[...] = raw_value(y)
    return new_array(array, 0, y.node, y.tangents)


cdef bint has_derivative(Array x) noexcept:
    return x.node is not None or x.tangents is not None


cdef int own_memory(Array x) except -1:
    """See to it that nothing else shares the memory of `x`, so that it may be written in place."""
    force(x)
    cdef PyObject *array = <PyObject *>x.array
    if array.ob_refcnt > 1 or not cnp.PyArray_CHKFLAGS(
            <cnp.ndarray>array, cnp.NPY_ARRAY_OWNDATA | cnp.NPY_ARRAY_WRITEABLE):
        x.array = np.array(x.array, order="K", subok=False)
    x.is_sole_owner = x.has_history = True
    return 0


# -- reading what was written ------------------------------------------------------------------

cdef int bring_up_to_date(Array x) except -1:
    """What `settle` does: compute a view anew, if its owner has been written to, and join pending elements."""
    cdef list views = []
    cdef Array owner = x
    while owner.owner is not None and owner.settled_at != clock.writes:
        views.append(owner)
        owner = owner.owner
    join_pending(owner)
    for view in reversed(views):
        compute_view(view)
    return 0


cdef int compute_view(Array view) except -1:
    cdef Array y, bare, owner = view.owner
    cdef uint64_t writes = clock.writes  # before the op, while which another thread may write
    cdef uint32_t owner_writes = owner.writes
    describe_view(view)
    if view.owner_writes != owner.writes:
        bare = new_array(owner.array, owner.number, owner.node, owner.tangents)
        if view.view_op is roles.getitem:  # a program that is being recorded may compute the index
            y = roles.getitem_function(bare, *view.view_params)
        else:
            y = apply(view.view_op, (bare,), view.view_params)
        stand_for(view, y)
        view.is_compact = owner.is_compact
        if owner.is_sole_owner and view.array is not None:
            view.array, view.is_compact = view.array.copy(order="K"), True
        view.changes += 1
        view.writes += 1
        if has_derivative(owner) and not has_derivative(view):
            return 0  # nothing records now, or not the owner: who reads this later may have to compute it again
        view.owner_writes = owner_writes
    view.settled_at = writes
    return 0


cdef int describe_view(Array view) except -1:
    """Set op and params of a slice of an array that had memory of its own: they are read from the slice's memory."""
    cdef Array owner = view.owner
    cdef cnp.npy_intp stride, start, step, n
    if view.view_op is not None:
        return 0
    base = view.array.base
    n = cnp.PyArray_DIM(<cnp.ndarray>view.array, 0)
    stride = cnp.PyArray_STRIDE(<cnp.ndarray>base, 0)
    step = cnp.PyArray_STRIDE(<cnp.ndarray>view.array, 0) // stride if n > 1 else 1
    start = (cnp.PyArray_BYTES(<cnp.ndarray>view.array) - cnp.PyArray_BYTES(<cnp.ndarray>base)) // stride if n else 0
    stop = start + n * step
    view.view_op, view.view_params = roles.getitem, (slice(start, stop if stop >= 0 else None, step),)
    view.owner_writes = owner.writes - (base is not owner.array)  # which it has instead if it was written to
    view.has_history = True
    return 0


cdef bint gives_view(Array x, Op op, tuple params) except -1:
    """Whether an op would give a view of `x`, if the view that `x` is had the strides that it has in NumPy."""
    array = strided(x)
    y = op.fn(array, *params)
    return isinstance(y, np.ndarray) and np.may_share_memory(y, array)


cdef object strided(Array view):
    """An ndarray with the shape and strides of a view in NumPy; its elements have no meaning."""
    cdef list views = []
    while view.owner is not None and view.view_op is not None:
        views.append(view)
        view = view.owner
    array = view.array
    for view in reversed(views):
        array = view.view_op.fn(array, *view.view_params)
    return array


cdef int join_pending(Array x) except -1:
    """Give `x` the node and tangents of its elements that were written one by one."""
    cdef dict pending = x.pending
    cdef Array base, y
    if pending is None:
        return 0
    base = new_array(x.array, x.number, x.node, x.tangents)
    if len(pending) == base.size:
        y = apply(roles.stack, tuple([pending[i] for i in range(base.size)]), (0,))
        if base.ndim > 1:
            y = apply(roles.reshape, (y,), (base.shape, "C"))
    elif len(pending) == 1:
        ((position, value),) = pending.items()
        y = apply_given(roles.setitem, (base, value), (index_of(base, position),), x.array)
    else:
        y = apply(roles.stack, tuple(pending.values()), (0,))
        positions = np.fromiter(pending, np.intp, len(pending))
        index = positions if base.ndim == 1 else np.unravel_index(positions, base.shape)
        y = apply_given(roles.setitem, (base, y), (index,), x.array)
    forget_pending(x)
    x.node, x.tangents = y.node, y.tangents
    return 0


cdef int join_unjoined(State state, uint64_t since) except -1:
    """Join the elements that a thread has written since then, in all Arrays."""
    cdef list addresses = []
    for address in reversed(unjoined):  # the last write first
        if unjoined[address] < since:
            break
        if unjoined[address] % MOMENT == state.owner:
            addresses.append(address)
    for address in addresses:
        if address in unjoined:
            join_pending(<Array><PyObject *><size_t>address)
    return 0


cdef int note_unjoined(Array x) except -1:
    """Note that `x` has been written to last of all Arrays with elements that wait."""
    address = <size_t><PyObject *>x
    unjoined.pop(address, None)
    unjoined[address] = moment_of(current())
    return 0


cdef int forget_pending(Array x) except -1:
    if x.pending is not None:
        x.pending = None
        x.unsettled = x.owner is not None
        unjoined.pop(<size_t><PyObject *>x, None)
    return 0


cdef object index_of(Array x, position):
    """The index of an element, from its position in C order."""
    return position if x.ndim == 1 else tuple([int(i) for i in np.unravel_index(position, x.shape)])


cdef Array read_pending(Array x, index):
    """`x[index]` for a single element of an Array with pending elements; None if there are more."""
    cdef Py_ssize_t position = position_of(x, index)
    cdef Array found
    if position < 0:
        return None
    value = x.pending.get(position)
    if value is None:
        return roles.getitem_function(new_array(x.array, x.number, x.node, x.tangents), index)
    if not isinstance(value, Array):
        return wrap(value)
    found = value
    return new_array(found.array, found.number, found.node, found.tangents)


cdef Py_ssize_t position_of(Array x, index) except -2:
    """The position of the element that an index of integers picks, in C order; -1 for another index."""
    cdef Py_ssize_t position = 0, i, n
    cdef int axis
    if type(index) is int:
        if cnp.PyArray_NDIM(<cnp.ndarray>x.array) != 1:
            return -1
        return within(index, cnp.PyArray_DIM(<cnp.ndarray>x.array, 0))
    if type(index) is not tuple or len(<tuple>index) != cnp.PyArray_NDIM(<cnp.ndarray>x.array):
        return -1
    for axis, part in enumerate(<tuple>index):
        if type(part) is not int:
            return -1
        n = cnp.PyArray_DIM(<cnp.ndarray>x.array, axis)
        i = within(part, n)
        if i < 0:
            return -1
        position = position * n + i
    return position


cdef inline Py_ssize_t within(index, Py_ssize_t n) except -2:
    """An index from the start or from the end as one from the start; -1 if there is no such element."""
    if not -n <= index < n:
        return -1
    return index if index >= 0 else index + n


# -- writing ------------------------------------------------------------------------------------

cdef int write(Array x, index, value) except -1:
    """x[index] = value"""
    if x.owner is None and x.array is not None and write_element(x, index, value):
        return 0
    settle(x)
    if x.read() is not x:
        raise not_an_output(x)
    index, value = roles.prepare_write(x, index, value)
    if index is None:  # a mask that is being recorded: the value is that of the whole
        return replace(x, value)
    refuse_loss(x, value)
    if x.array is None:
        np.asarray(0.0)[index] = raw_value(value)  # the errors of NumPy
        return write_number(x, value)
    if x.owner is not None:
        return replace(x, with_elements(x, value, index))
    own_memory(x)
    x.array[index] = raw_value(value)
    if has_derivative(x) or has_derivative(value):
        y = apply_given(roles.setitem, (x, value), (index,), x.array)
        x.node, x.tangents = (<Array>y).node, (<Array>y).tangents
    return note_write(x)


cdef int write_number(Array x, Array value) except -1:
    """Write to an Array without axes; the value has the shape that the index gives: of no element, or of one."""
    if value.size == 0:
        return 0
    if value.ndim != 0:
        value = lift(apply(roles.reshape, (value,), ((), "C")))
    if value.dtype != x.dtype:
        value = lift(apply(roles.astype, (value,), (x.dtype,)))
    return replace(x, value)


cdef Array with_elements(Array x, Array value, index):
    """`x` with other elements, in memory of its own."""
    array = np.array(raw_value(x), order="K")
    array[index] = raw_value(value)
    return apply_given(roles.setitem, (x, value), (index,), array)


cdef int refuse_loss(Array x, Array value) except -1:
    """Raise if integers would cut off the derivative of what is written."""
    if x.dtype.kind not in "fc" and value.dtype.kind in "fc" and is_followed(value):
        raise lost_in_integers(x.dtype)
    return 0


cdef bint write_element(Array x, index, value) except -1:
    """Write a number to one element of a float64 array; false if it is something else."""
    cdef Py_ssize_t position
    cdef Array v = None
    if cnp.PyArray_TYPE(<cnp.ndarray>x.array) != cnp.NPY_DOUBLE:
        return False
    if isinstance(value, Array):
        v = lift(value)
        if v.array is not None:
            return False
    elif type(value) is not float and type(value) is not int and type(value) is not np.float64:
        return False
    position = position_of(x, index)
    if position < 0:
        return False
    own_memory(x)
    x.array[index] = value if v is None else v.number
    if x.pending is not None or has_derivative(x) or v is not None and has_derivative(v):
        if x.pending is None:
            x.pending = {}
            x.unsettled = True
        x.pending[position] = float(value) if v is None else new_array(None, v.number, v.node, v.tangents)
        note_unjoined(x)
    note_write(x)
    return True


cdef object write_whole(Array x, object y):
    """What an augmented assignment gives: `x`, with the value of `y` in it; or `y`, for a number that is no view."""
    cdef Array found
    if y is NotImplemented or x.ndim == 0 and x.owner is None or x.read() is not x:
        return y
    found = lift(y)
    if found.shape != x.shape:
        raise ValueError(f"non-broadcastable output operand with shape {x.shape} doesn't match the broadcast shape "
                         f"{found.shape}")
    if found.dtype != x.dtype:
        if not np.can_cast(found.dtype, x.dtype, "same_kind"):
            raise TypeError(f"ad: cannot cast the result of an augmented assignment from {found.dtype} to {x.dtype}, "
                            "the dtype of its target, according to the rule 'same_kind'")
        found = lift(apply(roles.astype, (found,), (x.dtype,)))
    replace(x, found)
    return x


def assign(Array x, Array y):
    """Write `y`, of the shape and dtype of `x`, to the whole of `x`: to its owner, too, if it is a view."""
    settle(x)
    if x.read() is not x:
        raise not_an_output(x)
    replace(x, y)


def resize(Array x, Array y):
    """Let `x` stand for `y`, of another shape; NumPy does so only with arrays of which there are no views."""
    settle(x)
    if x.read() is not x:
        raise not_an_output(x)
    if x.owner is not None:
        raise ValueError("cannot resize this array: it does not own its data")
    stand_for(x, y)
    note_write(x)


def without_views(y):
    """Return an Array as no view: what is written to it shows nowhere else. Of a list or tuple, its Arrays likewise."""
    if type(y) is list or type(y) is tuple:
        return type(y)([without_views(part) for part in y])
    return separate(y) if isinstance(y, Array) and is_view(y) else y


def is_view(Array x):
    """Whether what is written to an Array shows in another one."""
    return x.owner is not None


def separate(Array x):
    """Return another Array of the same value and derivatives: what is written to one does not show in the other."""
    x = lift(x)
    return new_array(x.array, x.number, x.node, x.tangents)


def is_contiguous(Array x, str order):
    """Whether the elements of `x` lie one after the other in C or Fortran order, where it has the layout of NumPy's."""
    settle(x)
    if x.array is None:
        return True
    array = strided(x) if x.is_compact else x.array
    if order == "C":
        return cnp.PyArray_CHKFLAGS(<cnp.ndarray>array, cnp.NPY_ARRAY_C_CONTIGUOUS)
    return cnp.PyArray_CHKFLAGS(<cnp.ndarray>array, cnp.NPY_ARRAY_F_CONTIGUOUS)


def link(Array y, Array x, Op op, tuple params, bint is_read_only=False):
    """Make of `y`, which an op has given for `x` in memory of its own, a view that shows what is written to `x`."""
    if x.read() is x:
        y.owner, y.view_op, y.view_params = x, op, params
        y.owner_writes, y.settled_at = x.writes, clock.writes
        y.unsettled = y.has_history = True
        y.is_read_only = is_read_only


recorder.join_unjoined = join_unjoined
hooks.settle, hooks.write = bring_up_to_date, write
hooks.write_whole, hooks.read_pending, hooks.gives_view = write_whole, read_pending, gives_view
