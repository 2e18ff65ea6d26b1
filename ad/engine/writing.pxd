"""Contract of writing: an Array is brought up to date, and stands for another value."""
from ad._core cimport Array

cdef int replace(Array x, Array y) except -1
