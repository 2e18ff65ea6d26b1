"""The type stubs: as the run time has it, and of use to a type checker."""
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typing_sample

import ad

ROOT = Path(__file__).parent.parent
PACKAGE = Path(ad.__file__).parent
EXAMPLES, CONFIG, TOOLS = ROOT / "examples", ROOT / "pyproject.toml", ROOT / "tools"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder in which one run of mypy leaves what it has found for the next."""
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture
def check(tmp_path):
    """Runs a tool of mypy's; what it prints where it finds something."""
    pytest.importorskip("mypy")
    # A build in place is found from its folder; what is installed is found from anywhere but its own.
    cwd = tmp_path if PACKAGE.parent.name == "site-packages" else PACKAGE.parent

    def run(*command):
        done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_stubs_are_as_the_run_time_has_it(check):
    """Names (those of `ad.__all__` too), signatures, defaults."""
    check("mypy.stubtest", "ad", "--concise", "--ignore-disjoint-bases", "--mypy-config-file", CONFIG,
          "--allowlist", ROOT / "tests" / "stubtest_allowlist.txt")


def test_code_of_users(check, cache):
    check("mypy", "--config-file", CONFIG, "--cache-dir", cache, typing_sample.__file__)


@pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples here")
def test_examples(check, cache):
    check("mypy", "--config-file", CONFIG, "--cache-dir", cache, EXAMPLES)


def test_the_package_itself(check, cache):
    check("mypy", "--config-file", CONFIG, "--cache-dir", cache, "-p", "ad")


@pytest.mark.skipif(not TOOLS.exists(), reason="no tools here")
def test_stubs_of_the_table_are_as_it_has_them(monkeypatch, capsys):
    monkeypatch.syspath_prepend(TOOLS)
    make_stubs = importlib.import_module("make_stubs")
    assert make_stubs.main(["--check"]) == 0, capsys.readouterr().err
    square = make_stubs.stub_of("square", ad.square)
    assert square == "def square(x: _A, /, **kwargs: Any) -> _A: ..."
    with monkeypatch.context() as patch:
        patch.setitem(make_stubs.RESULTS, "square", "int")
        assert make_stubs.main(["--check"]) == 1


def test_the_sample_runs():
    x = np.array([1.01, 1.03, 1.05])
    newton = typing_sample.transforms(x)
    assert typing_sample.rosen_numpy(newton) < typing_sample.rosen_numpy(x)
    assert abs(typing_sample.training()) < 1e-9
    np.testing.assert_allclose(typing_sample.duals(), 2 * np.cos(2) + np.sin(2), rtol=1e-15)
    np.testing.assert_allclose(ad.grad(typing_sample.log1pexp)(0.0), 0.5)
    np.testing.assert_allclose(typing_sample.programs(x), 2 * x)
    np.testing.assert_allclose(typing_sample.own_ops(x), np.sum(x**2) / 4)
    np.testing.assert_allclose(typing_sample.minimum(x), 1, rtol=1e-6)
    assert np.all(np.abs(typing_sample.optimizers()) < [1.0, 2.0])
    assert typing_sample.arrays(ad.constant([1.0, -3.0]), np.ones(2)).numpy() == 0.5


def test_stubs_are_shipped():
    assert (PACKAGE / "py.typed").is_file()
    compiled = {path.stem for path in (ROOT / "ad").glob("*.pyx")}
    assert compiled <= {path.stem for path in PACKAGE.glob("*.pyi")}
