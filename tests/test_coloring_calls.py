"""Colors of the caller's, recovery into arrays, and what is refused."""
import itertools
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from coloring_examples import arrow, banded, color_of, compressed, numbers, stencil

from ad.sparse import _coloring, coloring

SYMMETRIC = ("star", "acyclic")


def given(matrix, kind, columns=None, rows=None):
    return coloring.from_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, column_colors=columns,
                                row_colors=rows)


def fits(matrix, kind, columns=None, rows=None):
    try:
        given(matrix, kind, columns, rows)
    except ValueError:
        return False
    return True


def is_alone(pattern, colors, i, j):
    """Whether column j has a color, and is the only one of it in row i."""
    return colors[j] != 0 and (pattern[i] & (colors == colors[j])).sum() == 1


def has_no_cycle(pattern, colors):
    """Whether neighbors differ and each two colors span a forest: as many edges as vertices less components."""
    off_diagonal = pattern & ~np.eye(len(pattern), dtype=bool)
    if (off_diagonal & (colors[:, None] == colors)).any():
        return False
    for pair in itertools.combinations(np.unique(colors), 2):
        inside = np.isin(colors, pair)
        graph = off_diagonal[inside][:, inside]
        if graph.sum() // 2 != inside.sum() - sp.csgraph.connected_components(graph)[0]:
            return False
    return True


def test_colors_fit_if_each_entry_can_be_read():
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(1500):
        n = int(rng.integers(1, 6))
        a = rng.random((n, n)) < rng.choice([0.2, 0.5])
        s = a | a.T
        columns, rows = rng.integers(0, n + 1, (2, n))
        by_column = np.array([[is_alone(a, columns, i, j) for j in range(n)] for i in range(n)])
        by_row = np.array([[is_alone(a.T, rows, j, i) for j in range(n)] for i in range(n)])
        once = np.array([[is_alone(s, columns, i, j) for j in range(n)] for i in range(n)])
        positive = rng.integers(1, n + 1, n)
        expected = {
            "columns": (a, by_column[a].all(), columns, None), "rows": (a, by_row[a].all(), None, rows),
            "bidirectional": (a, (by_column | by_row)[a].all(), columns, rows),
            "star": (s, (once | once.T)[s].all(), columns, None),
            "acyclic": (s, has_no_cycle(s, positive), positive, None),
        }
        for kind, (pattern, is_right, by_columns, by_rows) in expected.items():
            assert fits(sp.csr_array(pattern.astype(float)), kind, by_columns, by_rows) == is_right
            seen.add((kind, bool(is_right)))
    assert len(seen) == 10


@pytest.mark.parametrize("kind", coloring.KINDS)
def test_colors_of_a_coloring_can_be_given_back(kind):
    matrix = numbers(arrow(40) + banded(40, 1, 1))
    colors = color_of(matrix, kind)
    used = {name: getattr(colors, name) for name, is_used in (
        ("column_colors", kind != "rows"), ("row_colors", kind in ("rows", "bidirectional"))) if is_used}
    again = coloring.from_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, **used)
    assert again.order == "given" and again.num_colors == colors.num_colors
    np.testing.assert_array_equal(again.recover(*compressed(matrix, again)), matrix.data)
    coloring.check_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, **used)


def test_colors_may_leave_gaps():
    matrix = numbers(banded(6, 1, 1))
    colors = given(matrix, "columns", [5, 2, 4, 5, 2, 4])
    assert colors.num_colors == 5
    np.testing.assert_array_equal(colors.recover(*compressed(matrix, colors)), matrix.data)


@pytest.mark.parametrize("kind, colors, message", [
    ("columns", {"column_colors": [1, 2, 1, 3, 2]}, "columns 0 and 2 have color 1 and an entry each in row 1"),
    ("columns", {"column_colors": [1, 2, 3, 0, 1]}, "column 3 has no color"),
    ("rows", {"row_colors": [1, 2, 3, 2, 1]}, "rows 1 and 3 have color 2 and an entry each in column 2"),
    ("star", {"column_colors": [1, 2, 1, 2, 1]},
     "columns 2 and 0 have color 1 and an entry each in row 1, and columns 1 and 3 have color 2"),
    ("acyclic", {"column_colors": [1, 2, 2, 1, 2]}, "columns 1 and 2 both have color 2"),
    ("acyclic", {"column_colors": [1, 2, 0, 1, 2]}, "entry (2, 2) cannot be read: column 2 has no color"),
    ("bidirectional", {"column_colors": [1, 2, 1, 2, 1], "row_colors": [1, 2, 3, 1, 2]}, None),
    ("bidirectional", {"column_colors": [1, 2, 1, 2, 1], "row_colors": [1, 2, 0, 1, 2]}, "row 2 has no color"),
])
def test_colors_that_collide_are_named(kind, colors, message):
    matrix = banded(5, 1, 1)
    if message is None:
        return coloring.check_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, **colors)
    with pytest.raises(ValueError, match=re.escape(message)):
        coloring.check_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, **colors)


def test_a_cycle_of_two_colors_is_named():
    ring = banded(4, 1, 1).tolil()
    ring[0, 3] = ring[3, 0] = 1
    with pytest.raises(ValueError, match=r"columns \d and \d are on a cycle of columns with colors . and ."):
        given(sp.csr_array(ring), "acyclic", [1, 2, 1, 2])


@pytest.mark.parametrize("kind, colors, message", [
    ("columns", {"column_colors": [1, 2, 3]}, "has to be 5 integers"),
    ("columns", {"column_colors": [1.0, 2.0, 3.0, 1.0, 2.0]}, "has to be 5 integers"),
    ("columns", {"column_colors": [1, 2, 3, -1, 2]}, "from 0 (no color) to 5; it goes from -1 to 3"),
    ("columns", {"column_colors": [1, 2, 3, 6, 2]}, "from 0 (no color) to 5; it goes from 1 to 6"),
    ("columns", {"column_colors": [1, 2, 3, 1, 2], "row_colors": [1, 2, 3, 1, 2]}, "takes no row_colors"),
    ("rows", {"column_colors": [1, 2, 3, 1, 2]}, "takes no column_colors"),
    ("star", {"row_colors": [1, 2, 3, 1, 2]}, "takes no row_colors"),
    ("columns", {}, "column 0 has no color"),
])
def test_colors_that_are_none(kind, colors, message):
    matrix = banded(5, 1, 1)
    with pytest.raises(ValueError, match=re.escape(message)):
        coloring.check_colors(matrix.indptr, matrix.indices, matrix.shape, kind=kind, **colors)


@pytest.mark.parametrize("indptr, indices, shape, options, message", [
    ([0, 1], [0], (1, 1), {"kind": "colums"}, "kind is 'colums'; it has to be one of columns, rows"),
    ([0, 1], [0], (1, 1), {"order": "smallest"}, "order is 'smallest'; it has to be one of natural"),
    ([0, 1], [0], (1, 1), {"order": [1]}, "a permutation of the 1 vertices"),
    ([0, 1], [0], (1, 1), {"kind": "bidirectional", "order": [0]}, "a permutation of the 2 vertices"),
    ([0, 1], [0], (2, 1), {}, "indptr has to have 3 elements for 2 rows"),
    ([], [], (0, 0), {}, "indptr has to have 1 elements for 0 rows"),
    ([0], [], (-1, 3), {}, "cannot be negative"),
    ([0, 1], [0, 1], (1, 2), {}, "from 0 to the number of indices, 2; it has 2, from 0 to 1"),
    ([0, 2, 1, 3], [0, 1, 2], (3, 3), {}, "indptr decreases, or is out of range, behind element 1"),
    ([0, 5, 3], [0, 1, 2], (2, 3), {}, "indptr decreases, or is out of range, behind element 0"),
    ([0, 1], [1], (1, 1), {}, "row 0 has an index out of range for 1 columns"),
    ([0, 1], [2**32], (1, 1), {}, "row 0 has an index out of range for 1 columns"),
    ([0, 1], [-1], (1, 1), {}, "row 0 has an index out of range for 1 columns"),
    ([0, 1, 3], [0, 1, 0], (2, 2), {}, "row 1 has indices out of order or twice"),
    ([0, 2], [1, 1], (1, 2), {}, "row 0 has indices out of order or twice"),
    ([0, 1], [0.0], (1, 1), {}, "indices has to be a vector of integers"),
    ([[0, 1]], [0], (1, 1), {}, "indptr has to be a vector of integers"),
    ([0, 1], [0], (1, 2), {"kind": "star"}, "is for symmetric matrices; this one has shape 1 by 2"),
    ([0, 1, 1], [1], (2, 2), {"kind": "acyclic"}, "this one has entry (0, 1) and not (1, 0)"),
    ([0, 2, 3, 4], [0, 1, 2, 1], (3, 3), {"kind": "star"}, "this one has entry (0, 1) and not (1, 0)"),
])
def test_patterns_and_options_that_are_none(indptr, indices, shape, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        coloring.color(indptr, indices, shape, **options)


@pytest.mark.parametrize("kind", coloring.KINDS)
def test_index_arrays_of_any_type(kind):
    """A wide index array is narrowed where it can be; the algorithms are the same for both."""
    matrix = numbers(stencil(7))
    expected = color_of(matrix, kind, "smallest_last")
    for dtype in (np.int64, np.uint16, np.int32):
        indptr, indices = matrix.indptr.astype(dtype), matrix.indices.astype(dtype)
        indptr.flags.writeable = indices.flags.writeable = False
        colors = coloring.color(indptr, indices, matrix.shape, kind=kind, order="smallest_last")
        assert np.array_equal(colors.column_colors, expected.column_colors)
        assert np.array_equal(colors.source, expected.source) and colors.source.dtype == np.int32


def wide(arrays):
    return [a.astype(np.int64) for a in arrays]


def test_the_algorithms_on_wide_index_arrays():
    """What only a matrix with 2**30 entries reaches, on a small one."""
    matrix = numbers(arrow(90) + stencil(9, 10).astype(bool))
    narrow = (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32))
    order, skipped = np.arange(90, dtype=np.int32), np.zeros(90, np.uint8)
    for rule in _coloring.RULES.values():
        found = _coloring.degree_order(*narrow, *narrow, True, 90, rule)
        np.testing.assert_array_equal(_coloring.degree_order(*wide(narrow * 2), True, 90, rule), found)
    mirror = _coloring.transposed(*narrow, 90)[2]
    assert _coloring.first_fault(*wide(narrow), 90) == (-1, "")
    np.testing.assert_array_equal(_coloring.transposed(*wide(narrow), 90)[2], mirror)
    np.testing.assert_array_equal(_coloring.star(*wide([*narrow, order]), False, 90),
                                  _coloring.star(*narrow, order, False, 90))
    np.testing.assert_array_equal(_coloring.partial_distance2(*wide([*narrow, *narrow, order]), skipped),
                                  _coloring.partial_distance2(*narrow, *narrow, order, skipped))
    colors = _coloring.acyclic(*narrow, order)
    np.testing.assert_array_equal(_coloring.acyclic(*wide([*narrow, order])), colors)
    for one, other in zip(_coloring.elimination(*wide([*narrow, mirror]), colors),
                          _coloring.elimination(*narrow, mirror, colors)):
        np.testing.assert_array_equal(one, other)
    assert _coloring.best_split(*wide(narrow), 90, np.arange(90)) == _coloring.best_split(*narrow, 90, order) == 1
    source = np.empty(matrix.nnz, np.int64)
    lone = _coloring.readable_in_rows(*wide(narrow), colors)
    np.testing.assert_array_equal(lone, _coloring.readable_in_rows(*narrow, colors))
    star = _coloring.star(*narrow, order, False, 90)
    lone = _coloring.readable_in_rows(*narrow, star)
    assert _coloring.direct_sources(*wide(narrow), star, star, lone, lone[mirror], 90, 0, source) == (-1, -1)
    np.testing.assert_array_equal(source, color_of(matrix, "star").source)


# Recovery

@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", coloring.KINDS)
def test_recovery_writes_into_out(kind, dtype):
    matrix = numbers(arrow(30) + banded(30, 2, 2))
    colors = color_of(matrix, kind)
    columns, rows = (part.astype(dtype) for part in compressed(matrix, colors))
    columns.flags.writeable = rows.flags.writeable = False
    out = np.full(matrix.nnz, np.nan, dtype)
    assert colors.recover(columns, rows, out=out) is out
    np.testing.assert_array_equal(out, matrix.data)
    assert colors.recover(np.asfortranarray(columns), rows, overwrite=True).dtype == dtype


def test_only_with_overwrite_is_the_compressed_matrix_changed():
    matrix = numbers(banded(50, 1, 1))
    colors = color_of(matrix, "acyclic")
    assert colors.num_colors == 2 and colors.targets.size
    columns = np.ascontiguousarray(compressed(matrix, colors)[0])
    before = columns.copy()
    np.testing.assert_array_equal(colors.recover(columns), matrix.data)
    np.testing.assert_array_equal(columns, before)
    np.testing.assert_array_equal(colors.recover(columns, overwrite=True), matrix.data)
    assert not np.array_equal(columns, before)


def test_stars_are_read_without_substitution():
    """A tree of two colors that is a star has no sum to subtract from, so that the arrow's entries stay exact."""
    assert not color_of(numbers(arrow(50)), "acyclic").targets.size


def test_substitution_goes_from_the_leaves_inwards():
    """A chain of n edges is eliminated from both ends: errors grow over n / 2 subtractions."""
    matrix = numbers(banded(100, 1, 1))
    colors = color_of(matrix, "acyclic")
    depth = np.zeros(200, int)
    for target, read in zip(colors.targets, colors.reads):
        depth[target] = max(depth[target], depth[read] + 1)
    assert depth.max() <= 50


def test_seeds_mark_the_columns_of_each_color():
    colors = given(banded(4, 0, 0), "columns", [2, 1, 2, 3])
    np.testing.assert_array_equal(colors.column_seeds(np.int8), [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])
    assert colors.column_seeds(np.int8).dtype == np.int8 and colors.row_seeds().shape == (0, 4)


@pytest.mark.parametrize("columns, rows, out, error, message", [
    (np.ones((3, 4)), None, None, ValueError, "columns has to be of shape (3, 5), colors first; it is of shape (3, 4)"),
    (None, None, None, ValueError, "columns has to be of shape (3, 5), colors first; it is not given"),
    (np.ones((3, 5)), np.ones((1, 5)), None, ValueError, "rows has to be of shape (0, 5)"),
    (np.ones((3, 5), int), None, None, TypeError, "columns has dtype int64"),
    (np.ones((3, 5), complex), None, None, TypeError, "columns has dtype complex128"),
    (np.ones((3, 5)), np.ones((0, 5), np.float32), None, TypeError, "rows has dtype float32"),
    (np.ones((3, 5)), None, np.ones(12), ValueError, "shape (13,) and dtype float64; it has shape (12,)"),
    (np.ones((3, 5)), None, np.ones(13, np.float32), ValueError, "dtype float64; it has shape (13,) and dtype float32"),
    (np.ones((3, 5)), None, np.ones(26)[::2], ValueError, "out has to be a contiguous"),
])
def test_compressed_matrices_that_do_not_fit(columns, rows, out, error, message):
    with pytest.raises(error, match=re.escape(message)):
        color_of(banded(5, 1, 1), "columns").recover(columns, rows, out=out)


def test_a_coloring_is_constant_and_can_be_pickled():
    colors = color_of(banded(5, 1, 1), "star")
    with pytest.raises(AttributeError):
        colors.kind = "acyclic"
    with pytest.raises(ValueError, match="read-only"):
        colors.column_colors[0] = 5
    assert np.array_equal(pickle.loads(pickle.dumps(colors)).source, colors.source)


def test_colors_of_the_caller_stay_writable():
    mine = np.array([1, 2, 3, 1, 2], np.int32)
    given(banded(5, 1, 1), "columns", mine)
    mine[0] = 7
