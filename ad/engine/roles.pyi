from collections.abc import Callable
from typing import Any, final

from ad.engine.graph import Op

@final
class Roles:
    add: Op
    subtract: Op
    multiply: Op
    divide: Op
    power: Op
    floor_divide: Op
    remainder: Op
    negative: Op
    positive: Op
    absolute: Op
    getitem: Op
    setitem: Op
    identity: Op
    scale: Op
    scale_dots: Op
    conjugate: Op
    reshape: Op
    broadcast_to: Op
    stack: Op
    sum_to: Op
    astype: Op
    plain_index: Callable[..., Any]
    prepare_write: Callable[..., Any]
    getitem_function: Callable[..., Any]
    matmul_function: Callable[..., Any]
    compare: Callable[..., Any]
    detached: Callable[..., Any]
    either: Callable[..., Any]
    smooth_power: Callable[..., Any]
    asarray: Callable[..., Any]
    stacked: Callable[..., Any]
    refuse: Callable[..., Any]
    compares_to_arrays: bool
    array_ufunc: Callable[..., Any]
    array_function: Callable[..., Any]

def install(**served: Any) -> None: ...
