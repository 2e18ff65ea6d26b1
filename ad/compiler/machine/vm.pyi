from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ad.compiler.machine.assembly import AssembledPlan

@final
class Machine(AssembledPlan):
    def run(
        self, values: Sequence[NDArray[Any] | float], out: Sequence[NDArray[np.float64] | None] | None = None
    ) -> list[Any]: ...
    def check(self, out: Sequence[NDArray[Any] | None]) -> None: ...
