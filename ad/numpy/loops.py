"""The classes of NumPy that call a function, or that iterate, for each element."""
import inspect
from typing import Any

import numpy as np

from ad.engine.inspection import is_differentiating
from ad.ops import mapping
from ad.ops.creation import held

__all__ = ["ndenumerate", "vectorize"]


class vectorize(mapping.vectorize):
    __doc__ = np.vectorize.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        y = super().__call__(*args, **kwargs)
        return held(y) if is_differentiating(args) else y


class ndenumerate(mapping.ndenumerate):
    __doc__ = np.ndenumerate.__doc__
    __signature__ = inspect.signature(np.ndenumerate)
