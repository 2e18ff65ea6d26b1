from typing import Self, final

from ad.compiler.machine.execution_plan import ExecutionPlan, OpaqueCall

@final
class CallStep:
    def __new__(cls, step: OpaqueCall) -> Self: ...

class AssembledPlan:
    def __new__(cls, plan: ExecutionPlan) -> Self: ...
    @property
    def plan(self) -> ExecutionPlan: ...
