from typing import Any

import numpy as np

def add_rows(out: np.ndarray[Any, Any], numbers: Any, x: Any) -> bool: ...
