"""Sets of indices, one for each row: the arithmetic of patterns.

The sets are in compressed sparse rows: those of row i are `indices[indptr[i]:indptr[i + 1]]`, in rising order. All
arrays are contiguous, of int32.
"""
import os

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

import numpy as np

ctypedef int32_t Index


def _most_entries():
    """Return how many entries a pattern may have: a quarter of the memory for their columns and their values."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        memory = 1 << 33
    return min(2**31 - 1, memory // 4 // 12)


MAX_ENTRIES = _most_entries()
cdef int64_t most = MAX_ENTRIES


def refuse(entries):
    """Raise that a derivative has too many entries."""
    raise MemoryError(
        f"ad.sparse: the derivative has {entries} entries or more, of 12 bytes each ({entries * 12 / 1e9:.3g} GB); at "
        f"most {MAX_ENTRIES} are stored on this machine. It is not sparse: use products with it (ad.jvp, ad.vjp, "
        "ad.hvp)")


cdef Index[::1] _pointers(Index[::1] lengths_at_next):
    """Sum up row lengths, which stand one place on, to pointers, in place."""
    cdef Py_ssize_t i
    cdef int64_t total = 0
    for i in range(1, lengths_at_next.shape[0]):
        total += lengths_at_next[i]
        lengths_at_next[i] = <Index>total
    if total > most:
        refuse(total)
    return lengths_at_next


def take(const Index[::1] indptr, const Index[::1] indices, const Index[::1] source):
    """Return the rows `source` of a pattern; an empty row where it is negative."""
    cdef Py_ssize_t i, m = source.shape[0]
    cdef Index row, start, length
    lengths = np.zeros(m + 1, np.int32)
    cdef Index[::1] pointers = lengths
    for i in range(m):
        row = source[i]
        if row >= 0:
            pointers[i + 1] = indptr[row + 1] - indptr[row]
    _pointers(pointers)
    taken = np.empty(pointers[m], np.int32)
    cdef Index[::1] out = taken
    for i in range(m):
        row, start = source[i], pointers[i]
        length = pointers[i + 1] - start
        if length == 1:
            out[start] = indices[indptr[row]]
        elif length:
            memcpy(&out[start], &indices[indptr[row]], length * sizeof(Index))
    return lengths, taken


def union(const Index[::1] indptr1, const Index[::1] indices1, const Index[::1] indptr2, const Index[::1] indices2):
    """Return the union of two patterns of as many rows, row by row."""
    cdef Py_ssize_t i, m = indptr1.shape[0] - 1
    cdef Index a, b, end_a, end_b
    cdef Py_ssize_t k = 0
    lengths = np.zeros(m + 1, np.int32)
    cdef Index[::1] pointers = lengths
    merged = np.empty(indices1.shape[0] + indices2.shape[0], np.int32)
    cdef Index[::1] out = merged
    cdef Py_ssize_t begin
    for i in range(m):
        a, end_a, b, end_b, begin = indptr1[i], indptr1[i + 1], indptr2[i], indptr2[i + 1], k
        while a < end_a and b < end_b:
            if indices1[a] < indices2[b]:
                out[k] = indices1[a]
                a += 1
            elif indices1[a] > indices2[b]:
                out[k] = indices2[b]
                b += 1
            else:
                out[k] = indices1[a]
                a += 1
                b += 1
            k += 1
        while a < end_a:
            out[k] = indices1[a]
            a += 1
            k += 1
        while b < end_b:
            out[k] = indices2[b]
            b += 1
            k += 1
        pointers[i + 1] = <Index>(k - begin)
    _pointers(pointers)
    return lengths, merged[:k].copy() if k < len(merged) else merged


def product(const Index[::1] links, const Index[::1] linked, const Index[::1] indptr, const Index[::1] indices,
            Py_ssize_t n):
    """Return for each row i the union of the rows `linked[links[i]:links[i + 1]]` of a pattern with n columns."""
    cdef Py_ssize_t i, m = links.shape[0] - 1, capacity = max(16, 2 * indices.shape[0]), k = 0, begin
    cdef Index at, entry, row, column
    lengths = np.zeros(m + 1, np.int32)
    cdef Index[::1] pointers = lengths
    last = np.full(n, -1, np.int32)  # the row that has each column already
    cdef Index[::1] seen = last
    found = np.empty(capacity, np.int32)
    cdef Index[::1] out = found
    for i in range(m):
        begin = k
        for at in range(links[i], links[i + 1]):
            row = linked[at]
            if k + (indptr[row + 1] - indptr[row]) > capacity:
                if k > most:
                    refuse(k)
                capacity = 2 * capacity + (indptr[row + 1] - indptr[row])
                found = np.concatenate([found[:k], np.empty(capacity - k, np.int32)])
                out = found
            for entry in range(indptr[row], indptr[row + 1]):
                column = indices[entry]
                if seen[column] != i:
                    seen[column] = <Index>i
                    out[k] = column
                    k += 1
        if links[i + 1] - links[i] > 1 and k - begin > 1:
            _sort(&out[begin], k - begin)
        pointers[i + 1] = <Index>(k - begin)
    _pointers(pointers)
    return lengths, found[:k].copy()


cdef void _sort(Index *values, Py_ssize_t n) noexcept nogil:
    """Sort: by insertion if there are few."""
    cdef Py_ssize_t i, j
    cdef Index value
    if n > 32:
        qsort(values, n, sizeof(Index), &_compare)
        return
    for i in range(1, n):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


cdef int _compare(const void *a, const void *b) noexcept nogil:
    cdef Index x = (<const Index *>a)[0], y = (<const Index *>b)[0]
    return (x > y) - (x < y)


def transpose(const Index[::1] indptr, const Index[::1] indices, Py_ssize_t n):
    """Return the transpose of a pattern with n columns."""
    cdef Py_ssize_t i, m = indptr.shape[0] - 1
    cdef Index at, column
    lengths = np.zeros(n + 1, np.int32)
    cdef Index[::1] pointers = lengths
    for at in range(indptr[m]):
        pointers[indices[at] + 1] += 1
    _pointers(pointers)
    turned, places = np.empty(indices.shape[0], np.int32), lengths[:n].copy()
    cdef Index[::1] out = turned, place = places
    for i in range(m):
        for at in range(indptr[i], indptr[i + 1]):
            column = indices[at]
            out[place[column]] = <Index>i
            place[column] += 1
    return lengths, turned


def intersection(const Index[::1] indptr1, const Index[::1] indices1, const Index[::1] indptr2,
                 const Index[::1] indices2):
    """Return the intersection of two patterns of as many rows, row by row."""
    cdef Py_ssize_t i, m = indptr1.shape[0] - 1
    cdef Index a, b
    cdef Py_ssize_t k = 0, begin
    lengths = np.zeros(m + 1, np.int32)
    cdef Index[::1] pointers = lengths
    common = np.empty(min(indices1.shape[0], indices2.shape[0]), np.int32)
    cdef Index[::1] out = common
    for i in range(m):
        a, b, begin = indptr1[i], indptr2[i], k
        while a < indptr1[i + 1] and b < indptr2[i + 1]:
            if indices1[a] < indices2[b]:
                a += 1
            elif indices1[a] > indices2[b]:
                b += 1
            else:
                out[k] = indices1[a]
                a += 1
                b += 1
                k += 1
        pointers[i + 1] = <Index>(k - begin)
    _pointers(pointers)
    return lengths, common[:k].copy()


def from_pairs(const Index[::1] rows, const Index[::1] columns, Py_ssize_t m, Py_ssize_t n):
    """Return the pattern of m rows and n columns that has these entries, given in any order and maybe repeatedly."""
    cdef Py_ssize_t i, k = 0, begin
    by_row = transpose(*_bucket(columns, rows, n), m)  # a stable sort by columns, then one by rows
    cdef Index[::1] pointers = by_row[0], found = by_row[1]
    cdef Index at, start
    start = 0
    for i in range(m):
        begin = k
        for at in range(start, pointers[i + 1]):
            if k == begin or found[k - 1] != found[at]:
                found[k] = found[at]
                k += 1
        start, pointers[i + 1] = pointers[i + 1], <Index>k
    return by_row[0], by_row[1] if k == len(by_row[1]) else by_row[1][:k].copy()


cdef tuple _bucket(const Index[::1] keys, const Index[::1] values, Py_ssize_t n):
    """Return the values of each key, in the order given."""
    cdef Py_ssize_t i
    lengths = np.zeros(n + 1, np.int32)
    cdef Index[::1] pointers = lengths
    for i in range(keys.shape[0]):
        pointers[keys[i] + 1] += 1
    _pointers(pointers)
    kept, places = np.empty(keys.shape[0], np.int32), lengths[:n].copy()
    cdef Index[::1] out = kept, place = places
    for i in range(keys.shape[0]):
        out[place[keys[i]]] = values[i]
        place[keys[i]] += 1
    return lengths, kept


def positions(const Index[::1] indptr, const Index[::1] indices, const Index[::1] rows, const Index[::1] columns):
    """Return where each of these entries stands in a pattern; -1 for what is not in it."""
    cdef Py_ssize_t i
    cdef Index low, high, middle, column
    found = np.empty(rows.shape[0], np.int32)
    cdef Index[::1] out = found
    for i in range(rows.shape[0]):
        low, high, column = indptr[rows[i]], indptr[rows[i] + 1], columns[i]
        while low < high:
            middle = low + (high - low) // 2
            if indices[middle] < column:
                low = middle + 1
            else:
                high = middle
        out[i] = low if low < indptr[rows[i] + 1] and indices[low] == column else -1
    return found


def expand(const Index[::1] indptr, const Index[::1] source):
    """Return the entries of the rows `source`, and for each the place in `source` of the row that it came from.

    Rows are given by pointers; a negative source has none.
    """
    cdef Py_ssize_t i, k = 0
    cdef int64_t total = 0
    cdef Index at
    for i in range(source.shape[0]):
        if source[i] >= 0:
            total += indptr[source[i] + 1] - indptr[source[i]]
    if total > most:
        refuse(total)
    entries, places = np.empty(total, np.int32), np.empty(total, np.int32)
    cdef Index[::1] out = entries, place = places
    for i in range(source.shape[0]):
        if source[i] >= 0:
            for at in range(indptr[source[i]], indptr[source[i] + 1]):
                out[k], place[k] = at, <Index>i
                k += 1
    return entries, places
