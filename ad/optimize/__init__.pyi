from ad.optimize.equations import curve_fit, least_squares, root
from ad.optimize.minimizers import minimize

__all__ = ["curve_fit", "least_squares", "minimize", "root"]
