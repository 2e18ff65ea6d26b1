"""Greedy graph coloring of sparse matrices, and plans that read the entries back from the compressed matrix.

Patterns are index arrays in compressed row form: the columns of row i are `indices[indptr[i]:indptr[i + 1]]`, in
ascending order. The index arrays of one call have one type, int32 or int64. Colors are int32 and begin at 1; 0 is a
vertex without one.

In the graph of a symmetric matrix, vertices are columns and edges are entries off the diagonal. Some functions keep,
for each vertex, one *slot* for each color among its neighbors. The slots of vertex v lie from `indptr[v]` on, `size[v]`
of them. Dense rows and columns have many neighbors and few colors, so a loop over slots stays short where one over
neighbors would take time that grows with the square of their number.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np

ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused source_t:
    int32_t
    int64_t

ctypedef fused real_t:
    float
    double

cdef enum:
    LONG = 64  # hyperedges with more vertices keep a list of their colors
    SINGLE = 0  # what a slot says of the edges in it: one edge, of no larger star as far as is known
    HUB = 1  # several edges: the vertex is the hub of their star
    SPOKE = 2  # one edge, whose other end is the hub of its star

cdef enum Rule:
    LARGEST_FIRST = 0
    SMALLEST_LAST = 1
    INCIDENCE_DEGREE = 2
    DYNAMIC_LARGEST_FIRST = 3

RULES = {
    "largest_first": LARGEST_FIRST, "smallest_last": SMALLEST_LAST, "incidence_degree": INCIDENCE_DEGREE,
    "dynamic_largest_first": DYNAMIC_LARGEST_FIRST,
}


cdef object new(Py_ssize_t size, bint wide):
    return np.empty(size, np.int64 if wide else np.int32)


# Patterns

def first_fault(const index_t[::1] indptr, const index_t[::1] indices, Py_ssize_t width):
    """Return the first row that is not in order, with "indptr", "range" or "order"; (-1, "") where there is none."""
    cdef Py_ssize_t i, k, row = -1, rows = indptr.shape[0] - 1
    cdef int fault = 0
    with nogil:
        for i in range(rows):
            if indptr[i + 1] < indptr[i] or indptr[i + 1] > indices.shape[0]:
                fault = 1
            else:
                for k in range(indptr[i], indptr[i + 1]):
                    if indices[k] < 0 or indices[k] >= width:
                        fault = 2
                    elif k > indptr[i] and indices[k] <= indices[k - 1]:
                        fault = 3
            if fault:
                row = i
                break
    return row, ("", "indptr", "range", "order")[fault]


def transposed(const index_t[::1] indptr, const index_t[::1] indices, Py_ssize_t width):
    """Return indptr and indices of the transpose, and where each of its entries is in the original."""
    cdef Py_ssize_t i, k, rows = indptr.shape[0] - 1
    cdef bint wide = index_t is int64_t
    cdef index_t at, column
    starts, others, positions = new(width + 2, wide), new(indices.shape[0], wide), new(indices.shape[0], wide)
    starts[:] = 0
    cdef index_t[::1] start = starts, other = others, position = positions
    with nogil:
        # Counted two places on, then summed: start[j + 1] is where column j begins, and it ends where j + 1 does.
        for k in range(indices.shape[0]):
            start[indices[k] + 2] += 1
        for i in range(2, width + 2):
            start[i] += start[i - 1]
        for i in range(rows):
            for k in range(indptr[i], indptr[i + 1]):
                column = indices[k] + 1
                at = start[column]
                start[column] = at + 1
                other[at] = <index_t>i
                position[at] = <index_t>k
    return starts[:width + 1], others, positions


# Orders

cdef Py_ssize_t gather_neighbors(
    Py_ssize_t v, const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] edge_indptr,
    const index_t[::1] edge_indices, bint through_edges, Py_ssize_t limit, index_t[::1] stamp, index_t[::1] found,
) noexcept nogil:
    """Write the neighbors of v to `found`, each once; return their number. `stamp[v]` must differ for each v."""
    cdef Py_ssize_t k, p, count = 0
    cdef index_t w, edge, token = <index_t>v
    stamp[v] = token
    for k in range(indptr[v], indptr[v + 1]):
        if not through_edges:
            w = indices[k]
            if w != token:
                found[count] = w
                count += 1
            continue
        edge = indices[k]
        if edge_indptr[edge + 1] - edge_indptr[edge] > limit:
            continue
        for p in range(edge_indptr[edge], edge_indptr[edge + 1]):
            w = edge_indices[p]
            if stamp[w] != token:
                stamp[w] = token
                found[count] = w
                count += 1
    return count


cdef inline void push(
    Py_ssize_t v, index_t degree, index_t[::1] head, index_t[::1] following, index_t[::1] previous,
) noexcept nogil:
    cdef index_t first = head[degree]
    following[v] = first
    previous[v] = -1
    if first >= 0:
        previous[first] = <index_t>v
    head[degree] = <index_t>v


cdef inline void unlink(
    Py_ssize_t v, index_t degree, index_t[::1] head, index_t[::1] following, index_t[::1] previous,
) noexcept nogil:
    if previous[v] >= 0:
        following[previous[v]] = following[v]
    else:
        head[degree] = following[v]
    if following[v] >= 0:
        previous[following[v]] = previous[v]


def degree_order(
    const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] edge_indptr,
    const index_t[::1] edge_indices, bint through_edges, Py_ssize_t limit, int rule,
):
    """Return the vertices in an order by degree.

    With `through_edges`, indices are hyperedges and two vertices are neighbors if they share one of at most `limit`
    vertices. A vertex is taken from the bucket of its degree, which changes as neighbors are taken.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1, t, k, count
    cdef bint wide = index_t is int64_t
    cdef index_t v, w, level
    ordered, degrees = new(n, wide), new(n, wide)
    cdef index_t[::1] order = ordered, degree = degrees, found = new(n + 1, wide)
    cdef index_t[::1] stamp = new(n, wide), head = new(n + 1, wide), following = new(n, wide), previous = new(n, wide)
    cdef index_t step = 1 if rule == INCIDENCE_DEGREE else -1
    cdef bint from_low = rule == SMALLEST_LAST
    stamp[:] = -1
    head[:] = -1
    with nogil:
        for t in range(n):
            if rule == INCIDENCE_DEGREE:
                degree[t] = 0
            else:
                degree[t] = <index_t>gather_neighbors(
                    t, indptr, indices, edge_indptr, edge_indices, through_edges, limit, stamp, found)
    if rule == LARGEST_FIRST:
        return np.argsort(-degrees, kind="stable").astype(degrees.dtype)
    stamp[:] = -1
    with nogil:
        for t in range(n - 1, -1, -1):  # backwards, so that the first vertex is the first of its bucket
            push(t, degree[t], head, following, previous)
        level = 0 if from_low or n == 0 else <index_t>(n - 1)
        for t in range(n):
            if from_low:
                level = level - 1 if level > 0 else 0  # taking a vertex lowers degrees by one at most
                while head[level] < 0:
                    level += 1
            else:
                if step > 0:
                    level = level + 1 if level < n - 1 else <index_t>(n - 1)
                while head[level] < 0:
                    level -= 1
            v = head[level]
            unlink(v, level, head, following, previous)
            degree[v] = -1
            order[n - 1 - t if from_low else t] = v
            count = gather_neighbors(
                v, indptr, indices, edge_indptr, edge_indices, through_edges, limit, stamp, found)
            for k in range(count):
                w = found[k]
                if degree[w] >= 0:
                    unlink(w, degree[w], head, following, previous)
                    degree[w] += step
                    push(w, degree[w], head, following, previous)
    return ordered


def best_split(const index_t[::1] indptr, const index_t[::1] indices, Py_ssize_t width, const index_t[::1] order):
    """Return how many of the first rows of `order`, the longest first, to color by rows so that the bound is least.

    The bound is the length of the longest row left plus the most entries that a column has in the rows taken.
    """
    cdef Py_ssize_t t, k, taken = 0, rows = order.shape[0]
    cdef index_t row, most = 0, length, bound = 0
    cdef bint wide = index_t is int64_t
    cdef index_t[::1] count = new(width, wide)
    count[:] = 0
    with nogil:
        for t in range(rows + 1):
            length = indptr[order[t] + 1] - indptr[order[t]] if t < rows else 0
            if t == 0 or length + most < bound:
                bound = length + most
                taken = t
            if t == rows or most >= bound:
                break
            row = order[t]
            for k in range(indptr[row], indptr[row + 1]):
                count[indices[k]] += 1
                most = max(most, count[indices[k]])
    return taken


# Coloring

def partial_distance2(
    const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] edge_indptr,
    const index_t[::1] edge_indices, const index_t[::1] order, const uint8_t[::1] skipped,
):
    """Return colors such that no two vertices of a hyperedge have the same one.

    Parameters
    ----------
    indptr, indices : hyperedges of each vertex
    edge_indptr, edge_indices : vertices of each hyperedge
    order : the vertices to color; others get 0, as do those in no hyperedge
    skipped : whether a hyperedge is left out
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1, edges = edge_indptr.shape[0] - 1, t, k, p, base
    cdef bint wide = index_t is int64_t, is_needed
    cdef index_t v, edge, kept
    cdef int32_t c, low, prefix
    cdef index_t visit = 0
    result = np.zeros(n, np.int32)
    cdef int32_t[::1] color = result
    cdef index_t[::1] forbidden = new(n + 2, wide), seen = new(n + 2, wide)
    # A long hyperedge has the colors 1 to `full`, and those in its list.
    cdef bint is_long = (np.diff(edge_indptr) > LONG).any()
    cdef index_t[::1] listed = new(edges if is_long else 0, wide)
    cdef int32_t[::1] full = np.zeros(edges if is_long else 0, np.int32)
    cdef int32_t[::1] used = np.empty(edge_indices.shape[0] if is_long else 0, np.int32)
    forbidden[:] = -1
    seen[:] = 0
    listed[:] = 0
    with nogil:
        for t in range(order.shape[0]):
            v = order[t]
            low = 1
            is_needed = False
            for k in range(indptr[v], indptr[v + 1]):
                edge = indices[k]
                if skipped[edge]:
                    continue
                is_needed = True
                base = edge_indptr[edge]
                if edge_indptr[edge + 1] - base <= LONG:
                    for p in range(base, edge_indptr[edge + 1]):
                        forbidden[color[edge_indices[p]]] = v
                    continue
                visit += 1
                prefix = full[edge]
                kept = 0
                for p in range(base, base + listed[edge]):
                    c = used[p]
                    if c > prefix:
                        used[base + kept] = c
                        kept += 1
                        forbidden[c] = v
                        seen[c] = visit
                listed[edge] = kept
                while seen[prefix + 1] == visit:
                    prefix += 1
                full[edge] = prefix
                low = max(low, prefix + 1)
            if not is_needed:
                continue
            c = low
            while forbidden[c] == v:
                c += 1
            color[v] = c
            if is_long:
                for k in range(indptr[v], indptr[v + 1]):
                    edge = indices[k]
                    if edge_indptr[edge + 1] - edge_indptr[edge] > LONG and not skipped[edge]:
                        used[edge_indptr[edge] + listed[edge]] = c
                        listed[edge] += 1
    return result


cdef inline Py_ssize_t find_slot(
    Py_ssize_t start, Py_ssize_t size, const int32_t[::1] slot_color, int32_t c,
) noexcept nogil:
    """Return the slot of a vertex for color c, or -1."""
    cdef Py_ssize_t s
    for s in range(start, start + size):
        if slot_color[s] == c:
            return s
    return -1


@cython.final
cdef class _Slots:
    """For each vertex, the colors among its neighbors."""

    cdef object size, color, by_color, stamp

    def __init__(self, Py_ssize_t vertices, Py_ssize_t entries, bint wide):
        self.size = new(vertices, wide)
        self.size[:] = 0
        self.color = np.empty(entries, np.int32)
        # The slot of the vertex at hand for a color, valid where the stamp is that vertex.
        self.by_color = new(vertices + 2, wide)
        self.stamp = new(vertices + 2, wide)
        self.stamp[:] = -1


def star(
    const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] order, bint bipartite, Py_ssize_t most,
):
    """Return a star coloring: neighbors differ, and every path of four vertices has three colors at least.

    In a bipartite graph whose sides have colors of their own (`bipartite`), neighbors always differ. Returns None if a
    vertex would need a color above `most`.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1, t, k, s, own
    cdef bint wide = index_t is int64_t, is_done = True
    cdef index_t v, w, x
    cdef int32_t c, a
    result = np.zeros(n, np.int32)
    cdef _Slots slots = _Slots(n, indices.shape[0], wide)
    cdef int32_t[::1] color = result, slot_color = slots.color
    cdef index_t[::1] size = slots.size, by_color = slots.by_color, stamp = slots.stamp
    cdef index_t[::1] forbidden = new(n + 2, wide), met = new(n + 2, wide), first = new(n + 2, wide)
    cdef index_t[::1] neighbor = new(indices.shape[0], wide)  # the first in a slot
    cdef uint8_t[::1] state = np.empty(indices.shape[0], np.uint8)
    forbidden[:] = -1
    met[:] = -1
    with nogil:
        for t in range(n):
            v = order[t]
            for k in range(indptr[v], indptr[v + 1]):
                w = indices[k]
                a = color[w]
                if a == 0 or w == v:
                    continue
                if not bipartite:
                    forbidden[a] = v
                if met[a] != v:
                    met[a] = v
                    first[a] = w
                    for s in range(indptr[w], indptr[w] + size[w]):
                        if state[s] == SPOKE:
                            forbidden[slot_color[s]] = v
                    continue
                # v is the hub of a star: its neighbors of color a may have no other neighbor of its color.
                for s in range(indptr[w], indptr[w] + size[w]):
                    forbidden[slot_color[s]] = v
                x = first[a]
                if x >= 0:
                    for s in range(indptr[x], indptr[x] + size[x]):
                        forbidden[slot_color[s]] = v
                    first[a] = -1
            c = 1
            while forbidden[c] == v:
                c += 1
            if c > most:
                is_done = False
                break
            color[v] = c
            for k in range(indptr[v], indptr[v + 1]):
                w = indices[k]
                a = color[w]
                if a == 0 or w == v:
                    continue
                s = find_slot(indptr[w], size[w], slot_color, c)
                if s < 0:
                    s = indptr[w] + size[w]
                    size[w] += 1
                    slot_color[s] = c
                    state[s] = SINGLE
                    neighbor[s] = v
                elif state[s] == SINGLE:
                    x = neighbor[s]
                    state[s] = HUB
                    state[find_slot(indptr[x], size[x], slot_color, a)] = SPOKE
                if stamp[a] != v:
                    own = indptr[v] + size[v]
                    size[v] += 1
                    stamp[a] = v
                    by_color[a] = <index_t>own
                    slot_color[own] = a
                    neighbor[own] = w
                    state[own] = SPOKE if state[s] == HUB else SINGLE
                    continue
                own = by_color[a]
                state[s] = SPOKE
                if state[own] == SINGLE:
                    x = neighbor[own]
                    state[own] = HUB
                    state[find_slot(indptr[x], size[x], slot_color, c)] = SPOKE
    return result if is_done else None


cdef inline index_t find_root(index_t[::1] parent, index_t s) noexcept nogil:
    while parent[s] != s:
        parent[s] = parent[parent[s]]
        s = parent[s]
    return s


def acyclic(const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] order):
    """Return an acyclic coloring: neighbors differ, and every cycle has three colors at least.

    The edges between two colors form trees. The slots of one tree are a disjoint set.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1, t, k, s, own
    cdef bint wide = index_t is int64_t
    cdef index_t v, w, root
    cdef int32_t c, a
    result = np.zeros(n, np.int32)
    cdef _Slots slots = _Slots(n, indices.shape[0], wide)
    cdef int32_t[::1] color = result, slot_color = slots.color
    cdef index_t[::1] size = slots.size, by_color = slots.by_color, stamp = slots.stamp
    cdef index_t[::1] forbidden = new(n + 2, wide), parent = new(indices.shape[0], wide)
    # The vertex that came to a tree last, and the neighbor by which it came first.
    cdef index_t[::1] visitor = new(indices.shape[0], wide), entrance = new(indices.shape[0], wide)
    forbidden[:] = -1
    visitor[:] = -1
    with nogil:
        for t in range(n):
            v = order[t]
            for k in range(indptr[v], indptr[v + 1]):
                w = indices[k]
                if color[w] == 0 or w == v:
                    continue
                forbidden[color[w]] = v
                for s in range(indptr[w], indptr[w] + size[w]):
                    root = find_root(parent, <index_t>s)
                    if visitor[root] != v:
                        visitor[root] = v
                        entrance[root] = w
                    elif entrance[root] != w:  # with the color of the slot, v would close a cycle
                        forbidden[slot_color[s]] = v
            c = 1
            while forbidden[c] == v:
                c += 1
            color[v] = c
            for k in range(indptr[v], indptr[v + 1]):
                w = indices[k]
                a = color[w]
                if a == 0 or w == v:
                    continue
                s = find_slot(indptr[w], size[w], slot_color, c)
                if s < 0:
                    s = indptr[w] + size[w]
                    size[w] += 1
                    slot_color[s] = c
                    parent[s] = <index_t>s
                if stamp[a] != v:
                    own = indptr[v] + size[v]
                    size[v] += 1
                    stamp[a] = v
                    by_color[a] = <index_t>own
                    slot_color[own] = a
                    parent[own] = <index_t>own
                parent[find_root(parent, by_color[a])] = find_root(parent, <index_t>s)
    return result


# Recovery plans

def readable_in_rows(const index_t[::1] indptr, const index_t[::1] indices, const int32_t[::1] color):
    """Return whether each entry is the only one in its row whose column has its color, and the color is not 0."""
    cdef Py_ssize_t i, k, rows = indptr.shape[0] - 1
    cdef bint wide = index_t is int64_t
    result = np.empty(indices.shape[0], np.uint8)
    cdef uint8_t[::1] alone = result
    cdef int32_t c
    cdef Py_ssize_t colors = np.max(color, initial=0) + 1
    cdef index_t[::1] row = new(colors, wide), last = new(colors, wide)
    row[:] = -1
    with nogil:
        for i in range(rows):
            for k in range(indptr[i], indptr[i + 1]):
                c = color[indices[k]]
                if row[c] == i:
                    alone[last[c]] = 0
                    alone[k] = 0
                else:
                    alone[k] = c != 0
                row[c] = <index_t>i
                last[c] = <index_t>k
    return result


def required_colors(
    const index_t[::1] indptr, const index_t[::1] indices, const int32_t[::1] column_color,
    const int32_t[::1] row_color, const uint8_t[::1] by_column, const uint8_t[::1] by_row, int32_t offset,
    Py_ssize_t colors,
):
    """Return which colors some entry cannot be read without, and the choices that this leaves open.

    An entry can be read by the color of its column if `by_column`, and by that of its row, plus `offset`, if `by_row`.
    The choices are two arrays: one of the two colors is needed.
    """
    cdef Py_ssize_t i, k, count = 0, rows = indptr.shape[0] - 1
    cdef int32_t a, b
    cdef int step
    needed = np.zeros(colors + 1, np.uint8)
    cdef uint8_t[::1] need = needed
    cdef int32_t[:, ::1] choice = np.empty((2, 0), np.int32)
    for step in range(3):  # what is needed; how many choices there are; these
        if step == 1 and needed[1:].all():
            break
        if step == 2:
            choice = np.empty((2, count), np.int32)
            count = 0
        with nogil:
            for i in range(rows):
                for k in range(indptr[i], indptr[i + 1]):
                    a = column_color[indices[k]] if by_column[k] else 0
                    b = row_color[i] + offset if by_row[k] else 0
                    if step == 0:
                        if a == 0 or b == 0 or a == b:
                            need[max(a, b)] = 1
                    elif a and b and not need[a] and not need[b]:
                        if step == 2:
                            choice[0, count] = a
                            choice[1, count] = b
                        count += 1
    return needed, np.asarray(choice)


def direct_sources(
    const index_t[::1] indptr, const index_t[::1] indices, const int32_t[::1] column_color,
    const int32_t[::1] row_color, const uint8_t[::1] by_column, const uint8_t[::1] by_row,
    Py_ssize_t width, Py_ssize_t base, source_t[::1] source,
):
    """Write where each entry is read: by the color of its column, else by that of its row, from `base` on.

    Returns the first entry that can be read by neither, as (row, position), or (-1, -1).
    """
    cdef Py_ssize_t i, k, c, row = -1, position = -1, rows = indptr.shape[0] - 1
    with nogil:
        for i in range(rows):
            for k in range(indptr[i], indptr[i + 1]):
                c = column_color[indices[k]] if by_column[k] else 0
                if c:
                    source[k] = <source_t>((c - 1) * rows + i)
                    continue
                c = row_color[i] if by_row[k] else 0
                if c:
                    source[k] = <source_t>(base + (c - 1) * width + indices[k])
                    continue
                row, position = i, k
                break
            if row >= 0:
                break
    return row, position


def elimination(
    const index_t[::1] indptr, const index_t[::1] indices, const index_t[::1] mirror, const int32_t[::1] color,
):
    """Take the two-colored trees of an acyclic coloring apart, from the leaves to the root.

    Returns
    -------
    edges : positions of the entries (leaf, parent), in order
    updates : whether the parent is a leaf in its turn
    is_alone : whether the edge is a whole tree, so that either end may be the leaf
    left : an entry on a cycle, or between columns of one color or none, as (row, position), or (-1, -1)

    Vertices of color 0 have no edges in common: each is a leaf for each of its edges.
    """
    cdef Py_ssize_t i, k, n = indptr.shape[0] - 1, entries = indices.shape[0], pairs = 0, slots = 0
    cdef Py_ssize_t count = 0, head = 0, tail = 0, row = -1, position = -1
    cdef bint wide = index_t is int64_t
    cdef int32_t c
    cdef index_t s, other
    cdef index_t[::1] edge = new(entries, wide), slot = new(entries, wide), degree = new(entries, wide)
    cdef index_t[::1] remaining = new(entries, wide)  # of a slot, the positions of its edges combined by exclusive or
    cdef index_t[::1] queue = new(entries, wide)
    cdef uint8_t[::1] is_leaf = np.zeros(entries, np.uint8), is_inner = np.zeros(entries, np.uint8)
    cdef uint8_t[::1] update = np.empty(entries, np.uint8), is_alone = np.empty(entries, np.uint8)
    cdef Py_ssize_t colors = np.max(color, initial=0) + 1
    cdef index_t[::1] stamp = new(colors, wide), by_color = new(colors, wide)
    stamp[:] = -1
    with nogil:
        for i in range(n):
            for k in range(indptr[i], indptr[i + 1]):
                if indices[k] == i:
                    continue
                pairs += 1
                c = color[indices[k]]
                if c == color[i]:
                    row, position = i, k
                    break
                if c == 0:
                    slot[k] = -1  # nothing is read by a color that is not there
                    continue
                if stamp[c] != i:
                    stamp[c] = <index_t>i
                    by_color[c] = <index_t>slots
                    degree[slots] = 0
                    remaining[slots] = 0
                    slots += 1
                s = by_color[c]
                slot[k] = s
                degree[s] += 1
                remaining[s] ^= <index_t>k
            if row >= 0:
                pairs = slots = 0
                break
        for i in range(slots):
            if degree[i] == 1:
                is_leaf[i] = 1
                queue[tail] = <index_t>i
                tail += 1
        while head < tail:
            s = queue[head]
            head += 1
            if degree[s] == 0:
                continue  # the root
            k = remaining[s]
            other = slot[mirror[k]]
            degree[s] = 0
            is_inner[s] = 1
            is_alone[count] = other >= 0 and is_leaf[s] and is_leaf[other]
            edge[count] = <index_t>k
            count += 1
            if other >= 0:
                degree[other] -= 1
                remaining[other] ^= mirror[k]
                if degree[other] == 1:
                    queue[tail] = other
                    tail += 1
        for i in range(count):
            other = slot[mirror[edge[i]]]
            update[i] = other >= 0 and is_inner[other]
        if 2 * count < pairs:
            for i in range(n):
                for k in range(indptr[i], indptr[i + 1]):
                    if indices[k] != i and slot[k] >= 0 and degree[slot[k]] > 1:
                        row, position = i, k
    return np.asarray(edge[:count]), np.asarray(update[:count]), np.asarray(is_alone[:count]), (row, position)


# Running the plans

def gather(
    const source_t[::1] source, const real_t[::1] columns, const real_t[::1] rows, real_t[::1] out,
):
    """Write the entries: those at `source` in `columns` and `rows`, one behind the other."""
    cdef Py_ssize_t k, s, split = columns.shape[0]
    with nogil:
        if rows.shape[0] == 0:
            for k in range(source.shape[0]):
                out[k] = columns[source[k]]
        elif split == 0:
            for k in range(source.shape[0]):
                out[k] = rows[source[k]]
        else:
            for k in range(source.shape[0]):
                s = source[k]
                out[k] = columns[s] if s < split else rows[s - split]


def eliminate(const source_t[::1] targets, const source_t[::1] reads, real_t[::1] work):
    """Subtract each entry at `reads`, in order, from the sum at its target."""
    cdef Py_ssize_t k
    with nogil:
        for k in range(targets.shape[0]):
            work[targets[k]] -= work[reads[k]]
