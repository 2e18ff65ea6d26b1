from ad.ops.forms import FUNCTIONS, TABLE, UFUNCS, Entry, bilinear, case, composite, custom, linear

__all__ = ["FUNCTIONS", "TABLE", "UFUNCS", "Entry", "bilinear", "case", "composite", "custom", "linear"]
