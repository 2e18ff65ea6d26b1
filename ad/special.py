"""The functions of `scipy.special`, and the stable sums of exponentials that go with them. Needs SciPy.

A ufunc is reached as `scipy.special.erf(x)` or as `ad.special.erf(x)`. SciPy's other functions do not tell `ad` that
they were called on an `Array`: call those from here.
"""
from ad.ops import special as _entries

__all__ = _entries.__all__
globals().update({name: getattr(_entries, name) for name in __all__})
