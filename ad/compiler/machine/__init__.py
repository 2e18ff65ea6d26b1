"""The machine that runs a graph: its values placed in memory once, its ops as loops over blocks in the L1 cache.

`memory_plan` makes an `execution_plan`: it applies `lowering` of ops to `lowered_ops`, some on `sparse_blocks` of
arrays; `scheduling` of these in steps; `allocation` of memory; and `grouping` of loops into blocks. `assembly`
translates the plan to C structs, which `vm` runs with the inner loops of `loops`.
"""
from typing import Any

from ad.compiler.machine.memory_plan import plan_execution
from ad.compiler.machine.vm import Machine

__all__ = ["machine_for"]


def machine_for(graph: Any) -> Machine:
    """Return a machine that runs a graph."""
    return Machine(plan_execution(graph))
