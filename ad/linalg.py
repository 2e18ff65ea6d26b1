"""Linear algebra on stacks of matrices, under the names of `numpy.linalg`, with functions of Hermitian matrices.

The last two axes of an argument are the matrix, the others a batch. Functions of a Hermitian matrix read one triangle
of it, as NumPy's do; their derivative is that of the function of the Hermitian part (JAX's and PyTorch's convention),
so that the gradient is Hermitian.
"""
from ad.ops import linalg as _entries

__all__ = _entries.__all__
globals().update({name: getattr(_entries, name) for name in __all__})
