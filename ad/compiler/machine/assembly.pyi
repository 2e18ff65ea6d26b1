from typing import Self, final

from ad.compiler.machine.execution_plan import ExecutionPlan, OpaqueCall
from ad.compiler.machine.loops import OPCODES as OPCODES

@final
class CallStep:
    def __new__(cls, step: OpaqueCall) -> Self: ...

class AssembledPlan:
    def __new__(cls, plan: ExecutionPlan) -> Self: ...
    @property
    def plan(self) -> ExecutionPlan: ...
