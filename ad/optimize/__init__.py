"""SciPy's optimizers, Ipopt and Uno with exact derivatives: under the names of the functions of scipy.optimize.

`x0` is an array, a number, or any container of arrays (a dict, a list, a namedtuple, a dataclass); the function is
called with such a container, and `result.x` is one. As in SciPy, a list or a tuple of nothing but numbers is an array.

SciPy itself works on one flat vector: the elements of the leaves in order, in double precision whatever the dtypes in
`x0`. Results over that vector stay flat: `result.jac`, `hess`, `hess_inv`, `grad`, `active_mask`, `allvecs`.
"""
from ad.errors import needs_scipy

try:
    import scipy.optimize  # noqa: F401
except ImportError:
    raise needs_scipy("ad.optimize") from None

from ad.optimize.equations import curve_fit, least_squares, root
from ad.optimize.minimizers import minimize
from ad.optimize.problem import EvaluationError, Problem

__all__ = ["EvaluationError", "Problem", "curve_fit", "least_squares", "minimize", "root"]
