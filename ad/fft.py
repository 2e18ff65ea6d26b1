"""Discrete Fourier transforms, under the names of `numpy.fft`."""
from ad.ops import fourier as _entries

__all__ = _entries.__all__
globals().update({name: getattr(_entries, name) for name in __all__})
