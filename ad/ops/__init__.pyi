from ad.engine.graph import Op
from ad.ops.forms import FUNCTIONS, TABLE, UFUNCS, Entry, bilinear, case, composite, custom, linear

__all__ = ["FUNCTIONS", "RAISING", "TABLE", "UFUNCS", "Entry", "bilinear", "case", "composite", "custom", "linear"]

RAISING: set[Op]
