from typing import final

ALIASES_INPUT: object

def set_limits(from_size: int, total: int) -> tuple[int, int]: ...

@final
class Deferred:
    @property
    def stopped(self) -> bool: ...
    def close(self) -> None: ...
