from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from ad.compiler.machine.execution_plan import Call, Layout
from ad.engine.graph import Op

SIMPLE: dict[str, int]
LOOKING: set[str]
SCALARS: dict[str, int]

@final
class CallStep:
    def __new__(cls, step: Call) -> Self: ...

@final
class Machine:
    def __new__(cls, layout: Layout) -> Self: ...
    @property
    def layout(self) -> Layout: ...
    def run(
        self, values: Sequence[NDArray[Any] | float], out: Sequence[NDArray[np.float64] | None] | None = None
    ) -> list[Any]: ...
    def check(self, out: Sequence[NDArray[Any] | None]) -> None: ...

def has_loop(op: Op) -> bool: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
