"""SciPy's functions for the array API standard, beside the page that says which run on Arrays."""
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import ad
import ad.numpy as np

scipy = pytest.importorskip("scipy", minversion="1.17")  # which tells what its functions support

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scipy_array_api.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}
SAMPLE = (  # some of each kind
    "special.erf special.logsumexp special.gammainc special.exp1 fft.rfft fft.dct signal.fftconvolve signal.lfilter "
    "stats.skewtest stats.zscore stats.rankdata stats.wilcoxon integrate.cumulative_simpson differentiate.jacobian "
    "optimize.elementwise.find_root linalg.block_diag spatial.transform.Rotation.as_euler constants.nu2lambda"
).split()

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


PROGRAM = """
import numpy
import ad
from scipy import special
from ad.ops.scipy_support import scipy_special

x = numpy.array([0.3, 1.4])
assert not isinstance(special.erf, numpy.ufunc) and isinstance(scipy_special.erf, numpy.ufunc)
for function in (special.erf, scipy_special.erf, ad.special.erf, ad.numpy.special.erf):
    assert numpy.array_equal(ad.grad(lambda x: numpy.sum(function(x)))(x), 2 / numpy.sqrt(numpy.pi) * numpy.exp(-x * x))
assert numpy.array_equal(special.erf(ad.constant(x)), special.erf(x))
kinds = {}
def kept(x):
    mask = x > 0.5
    found = {"comparison": mask, "argsort": ad.numpy.argsort(x), "arange": ad.numpy.arange(2), "isnan": numpy.isnan(x),
             "inverted": ~mask, "astype": x.astype(int), "nonzero": ad.numpy.where(mask)[0], "any": mask.any(),
             "counts": ad.numpy.unique_counts(x).counts, "index": ad.numpy.unique(x, return_index=True)[1]}
    kinds.update({name: type(y) for name, y in found.items()})
    assert numpy.array_equal(x.numpy()[mask], [1.4]) and numpy.shape(x) == (2,)
    return numpy.sum(x[mask] ** 2) + numpy.sum(numpy.where(mask, x, 0.0)) if mask.any() else 0.0

for gradient in (ad.grad(kept), ad.compile(ad.grad(kept))):
    assert numpy.array_equal(gradient(x), [0.0, 3.8])
    assert set(kinds.values()) == {ad.Array}, kinds
assert isinstance(ad.constant(x) > 0.5, numpy.ndarray) and isinstance(ad.numpy.arange(2), numpy.ndarray)

try:
    ad.grad(scipy_special.ellipk)(0.5)
except ad.errors.MissingRule as error:
    assert "scipy.special.ellipk" in str(error)
else:
    raise AssertionError("no rule, and no error")
"""


def test_ufuncs_have_their_rules_and_results_without_a_derivative_are_arrays():
    run("-c", PROGRAM)


def test_without_the_variable_they_are_plain():
    kinds = []
    ad.grad(lambda x: kinds.extend([type(x > 0.5), type(numpy.argsort(x)), type(np.arange(2))]) or np.sum(x))(
        numpy.array([0.3, 1.4]))
    assert set(kinds) == {numpy.ndarray}
