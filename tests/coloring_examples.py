"""Sparse matrices for which others publish how many colors they need."""
import numpy as np
import scipy.sparse as sp

from ad.sparse import coloring

# Rows of the entries on and below the diagonal, column by column; both ends of a range belong to it.
# The matrix of the tutorial of SparseMatrixColorings.jl: 100 by 100, 1530 entries.
TUTORIAL = """
1-3 11-13 21-23; 2-4 11-14 22-24; 3-5 12-15 23-25; 4-6 13-16 24-26; 5-7 14-17 25-26; 6-8 15-17 26; 7-9 15-18 26-27;
8-10 16-19 26-28; 9-10 17-20 27-29; 10 18-20 28-30; 11-13 21-23 31-33; 12-14 21-24 32-34; 13-15 22-25 33-35;
14-16 23-26 34-36; 15-17 24-27 35-36; 16-18 25-27 36; 17-19 25-28 36-37; 18-20 26-29 36-38; 19-20 27-30 37-39;
20 28-30 38-40; 21-23 31-33 41-43; 22-24 31-34 42-44; 23-25 32-35 43-45; 24-26 33-36 44-46; 25-27 34-37 45-46;
26-28 35-37 46; 27-29 35-38 46-47; 28-30 36-39 46-48; 29-30 37-40 47-49; 30 38-40 48-50; 31-33 41-43 51-52;
32-34 41-44 51-53; 33-35 42-45 52-54; 34-36 43-46 53-55; 35-37 44-47 54-57; 36-38 45-47 55-57; 37-39 45-48 55-58;
38-40 46-49 57-59; 39-40 47-50 58-60; 40 48-50 59-60; 41-43 51-52 61; 42-44 51-53 61-62; 43-45 51-54 61-63;
44-46 52-55 62-64; 45-47 53-57 63-65; 46-48 54-58 64-68; 47-49 55-59 67-69; 48-50 57-60 68-70; 49-50 58-60 69-70;
50 59-60 70; 51-53 61-62 71; 52-54 61-63 71-72; 53-55 61-64 71-73; 54-56 62-65 72-74; 55-57 63-67 73-75;
56-58 64-68 74-78; 57-59 65-69 77-79; 58-60 67-70 78-80; 59-60 68-70 79-80; 60 69-70 80; 61-63 71-72 81;
62-64 71-73 81-82; 63-65 71-74 81-83; 64-66 72-75 82-84; 65-67 73-77 83-85; 66-68 74-78 84-88; 67-69 75-79 87-89;
68-70 77-80 88-90; 69-70 78-80 89-90; 70 79-80 90; 71-73 81-82 91; 72-74 81-83 91-92; 73-75 81-84 91-93;
74-76 82-85 92-94; 75-77 83-87 93-95; 76-78 84-88 94-98; 77-79 85-89 97-99; 78-80 87-90 98-100; 79-80 88-90 99-100;
80 89-90 100; 81-83 91-92; 82-84 91-93; 83-85 91-94; 84-86 92-95; 85-87 93-97; 86-88 94-98; 87-89 95-99; 88-90 97-100;
89-90 98-100; 90 99-100; 91-93; 92-94; 93-95; 94-96; 95-97; 96-98; 97-99; 98-100; 99-100; 100
"""

# bcsstk01 of the Harwell-Boeing collection, the example of ColPack: 48 by 48, 400 entries.
BCSSTK01 = """
1 5-7 11 19 25 30; 2 4 6 8 10 20 24 26; 3-5 9 21 23 27-28; 4 8 10 22 27-28; 5 7 11 21 23 29; 6 12 20 24-25 30;
7 11-13 31 36; 8 10 12 14 18 32; 9-11 15 17 33-34; 10 16 33-34; 11 15 17 35; 12 14 18 31 36;
13 17-19 23 37 42-43 47-48; 14-16 18 20 22 38 44-46; 15-17 21 39-40 44-46; 16 20 22 39-40 44-46;
17-19 23 41 43 47-48; 18 24 37 42-43 47-48; 19 23-24 43 48; 20 22 24 44; 21-23 45-46; 22 45-46; 23 47; 24 43 48;
25 29-31 35; 26 28 32 34; 27-28 33; 28 32 34; 29 31 35; 30 36; 31 35-37; 32 34 36 38 42; 33-35 39 41; 34 40; 35 39 41;
36 38 42; 37 41-43 47; 38 40 42 44 46; 39-41 45; 40 44 46; 41 43 47; 42 48; 43 47-48; 44-46; 45-46; 46; 47-48; 48
"""

# Figure 4.1 of "What color is your Jacobian?"; star coloring.
FIGURE_4_1 = "1-2; 2-3 5-6; 3-4; 4 6; 5; 6"
# Figure 6.1 there and figure 1 of "Efficient computation of sparse Hessians using coloring and automatic
# differentiation" (Gebremedhin, Pothen, Tarafdar, Walther, INFORMS Journal on Computing 2009) are one matrix.
FIGURE_6_1 = "1-2 7; 2-3 5; 3-4 6; 4 10; 5-6 8; 6 9; 7-8; 8-9; 9-10; 10"

# The Jacobian at the beginning of the tutorial of SparseMatrixColorings.jl.
SMALL = np.array([[0, 0, 1, 1, 0, 1], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0]])


def symmetric(text):
    """The pattern that a text of the form above says, with ones."""
    columns = [[range(int(run.split("-")[0]), int(run.split("-")[-1]) + 1) for run in column.split()]
               for column in text.split(";")]
    lower = np.zeros((len(columns), len(columns)))
    for j, runs in enumerate(columns):
        for run in runs:
            lower[np.array(run) - 1, j] = 1
    return sp.csr_array(lower + np.tril(lower, -1).T)


def banded(n, below, above, m=None):
    """A matrix with bands below and above the diagonal."""
    m = m or n
    offsets = [k for k in range(-below, above + 1) if -m < k < n]
    lengths = [min(m + min(k, 0), n - max(k, 0)) for k in offsets]
    return sp.csr_array(sp.diags_array([np.ones(length) for length in lengths], offsets=offsets, shape=(m, n)))


def arrow(n):
    """A diagonal, a dense first row and a dense first column."""
    i, zero = np.arange(n), np.zeros(n, int)
    matrix = sp.coo_array((np.ones(3 * n), (np.r_[i, zero, i], np.r_[i, i, zero]))).tocsr()
    matrix.data[:] = 1
    return matrix


def stencil(k, m=None):
    """The five-point stencil on a grid of k by m points."""
    return sp.csr_array(sp.kronsum(banded(m or k, 1, 1), banded(k, 1, 1)))


def numbers(matrix):
    """A CSR array with the pattern of a matrix and integers as entries, in canonical form; symmetric as it is."""
    result = sp.csr_array(matrix)
    result.sum_duplicates()
    rows, columns = np.repeat(np.arange(result.shape[0]), np.diff(result.indptr)), result.indices
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    is_symmetric = result.shape[0] == result.shape[1] and np.array_equal(result.toarray() != 0, result.T.toarray() != 0)
    first, second = (low, high) if is_symmetric else (rows, columns)
    result.data = (first * 7919 + second * 104729) % 1009 + 1.0
    return result


def color_of(matrix, kind, order="natural", **options):
    """The coloring of a CSR array."""
    return coloring.color(matrix.indptr, matrix.indices, matrix.shape, kind=kind, order=order, **options)


def compressed(matrix, colors):
    """The sums of the columns and of the rows of each color, by products with the dense matrix."""
    dense = matrix.toarray()
    return (dense @ colors.column_seeds().T).T, colors.row_seeds() @ dense
