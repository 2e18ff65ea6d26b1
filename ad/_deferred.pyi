from typing import final

VIEW: object

def wait_from(size: int) -> int: ...

@final
class Deferred:
    @property
    def mixed(self) -> bool: ...
    def close(self) -> None: ...
