"""The machine that runs a program: its values laid out in memory once, its ops as loops over blocks in the L1 cache.

`memory_plan` makes the plan (`execution_plan`): by `lowering` of ops to `lowered_ops`, some on `sparse_blocks` of
arrays, `scheduling`, and `grouping` of loops into blocks. `vm` runs it.
"""
from ad.compiler.machine.memory_plan import lay_out
from ad.compiler.machine.vm import Machine

__all__ = ["machine_for"]


def machine_for(graph) -> Machine:
    """Plan the execution of a graph, and make the machine that follows the plan."""
    return Machine(lay_out(graph))
