from typing import Any, final

from numpy.typing import ArrayLike

from ad.engine.array import Array

@final
class Dual(Array):
    def __init__(self, primal: ArrayLike, tangent: ArrayLike = 1.0) -> None: ...
    @property
    def primal(self) -> Any: ...  # a Dual if nested, else an ndarray or NumPy scalar
    @property
    def tangent(self) -> Any: ...
