"""SciPy's functions for the array API standard, beside the page that says which run on Arrays."""
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

scipy = pytest.importorskip("scipy")

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scipy_array_api.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}
SAMPLE = (  # some of each kind
    "special.erf special.logsumexp special.gammainc special.exp1 fft.rfft fft.dct signal.fftconvolve signal.lfilter "
    "stats.skewtest stats.zscore stats.rankdata stats.wilcoxon integrate.cumulative_simpson differentiate.jacobian "
    "optimize.elementwise.find_root linalg.block_diag spatial.transform.Rotation.as_euler constants.nu2lambda"
).split()
MODES = ("value", "reverse", "forward", "compiled", "vmap")


def run(*command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_says_what_the_script_finds():
    if f"SciPy {scipy.__version__} and NumPy {numpy.__version__}" not in PAGE:
        pytest.skip("the page is of other versions")
    assert run("tools/scipy_array_api.py", *SAMPLE).splitlines() == [ROWS[title] for title in ROWS if title in SAMPLE]


def test_the_page_has_no_wrong_result():
    """What a mode cannot do is an error; values and derivatives are never others than SciPy's."""
    assert len(ROWS) > 400 and not {title for title, line in ROWS.items() if "another" in line}
    assert {title for title, line in ROWS.items() if " yes | yes | yes | yes | yes |" in line} >= {
        "special.erf", "fft.fft", "stats.skew", "integrate.tanhsinh", "optimize.elementwise.find_root"}


DERIVATIVES = """
import numpy
import ad
from scipy import special
from ad.ops.scipy_support import scipy_special

x = numpy.array([0.3, 1.4])
assert not isinstance(special.erf, numpy.ufunc) and isinstance(scipy_special.erf, numpy.ufunc)
for function in (special.erf, scipy_special.erf, ad.special.erf, ad.numpy.special.erf):
    assert numpy.array_equal(ad.grad(lambda x: numpy.sum(function(x)))(x), 2 / numpy.sqrt(numpy.pi) * numpy.exp(-x * x))
assert numpy.array_equal(special.erf(ad.constant(x)), special.erf(x))
try:
    ad.grad(scipy_special.ellipk)(0.5)
except ad.errors.MissingRule as error:
    assert "scipy.special.ellipk" in str(error)
else:
    raise AssertionError("no rule, and no error")
"""


def test_the_ufuncs_of_scipy_have_their_rules():
    run("-c", DERIVATIVES)
