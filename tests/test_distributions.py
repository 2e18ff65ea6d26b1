"""A wheel and a source distribution, each installed in an empty environment and used from an empty folder.

Slow, and in need of a package index, so a run of its own: `pytest -m distributions`. With AD_DIST the
distributions are left in that folder.
"""
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.distributions

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What no installation of a user's has: a path to this checkout, or the switch of the debug build.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AD_"))}


def run(*command, cwd, **environment):
    """The finished process of a command in a folder."""
    return subprocess.run([*map(str, command)], cwd=cwd, env=ENVIRONMENT | environment, capture_output=True, text=True)


def output(*command, cwd):
    """What a command prints that must succeed."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def empty_environment(folder, *packages):
    """The Python of a new virtual environment with these packages, and what they need, in it."""
    output(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if packages:
        output(python, "-m", "pip", "install", "-q", *packages, cwd=folder.parent)
    return python


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the source distribution of this checkout, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("build")
    dist = Path(os.environ.get("AD_DIST", folder / "dist"))
    output(empty_environment(folder / "tools", "build"), "-m", "build", "--outdir", dist, ROOT, cwd=folder)
    return dist


@pytest.fixture(scope="module")
def sdist(dist):
    (found,) = dist.glob("dualtape-*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(dist):
    (found,) = dist.glob("dualtape-*.whl")
    return found


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def python(request, tmp_path_factory):
    """The Python of an environment into which one of the two was installed, as the README's first command has it."""
    archive = request.getfixturevalue(request.param)
    return empty_environment(tmp_path_factory.mktemp(request.param) / "environment", f"{archive}[scipy]")


def test_the_main_job(python, tmp_path):
    printed = output(python, "-m", "ad", cwd=tmp_path)
    assert "electionstudies.org" in printed
    assert printed.strip().splitlines()[-1].startswith("Optimized value of x:")


def test_the_programs_of_the_readme(python, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    program = tmp_path / "readme.py"
    program.write_text("".join(blocks), encoding="utf-8")
    assert "Optimized value of x:" in output(python, program, cwd=tmp_path)


def test_what_is_installed_is_what_runs(python, tmp_path):
    where = Path(output(python, "-c", "import ad; print(ad.__file__)", cwd=tmp_path).strip())
    assert python.parent.parent in where.parents


def test_numpy_is_enough(wheel, tmp_path):
    python = empty_environment(tmp_path / "environment", wheel)
    installed = {line.partition("==")[0] for line in output(python, "-m", "pip", "freeze", cwd=tmp_path).splitlines()}
    assert {name.partition(" @ ")[0] for name in installed} == {"dualtape", "numpy"}
    assert output(python, "-c", "import ad; print(ad.grad(lambda x: x ** 2)(3.0))", cwd=tmp_path).strip() == "6.0"
    missing = run(python, "-c", "import ad; ad.special.erf(0.5)", cwd=tmp_path)
    assert missing.stderr.splitlines()[-1] == 'ImportError: ad.special needs SciPy: pip install "dualtape[scipy]"'


def shipped(suffixes, *folders):
    """The files of these folders, of these suffixes or names, that are no product of a build: by their paths."""
    found = {path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*")
             if path.suffix in suffixes or path.name in suffixes}
    return {name for name in found if not re.search(r"/(_build|env|results|html|__pycache__)/", name)}


def test_the_wheel_holds_the_package_alone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"ad", "dualtape"}
    assert shipped({".py", ".pyi", "py.typed", ".pxd", ".h", ".csv", ".md"}, "ad") <= names
    compiled = {name.partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    assert compiled == {name.removesuffix(".pyx") for name in shipped({".pyx"}, "ad")}


def test_the_source_distribution_holds_what_was_written(sdist):
    names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    folders = [name for name in ("ad", "asv_bench", "docs", "examples", "tests") if (ROOT / name).is_dir()]
    written = {".py", ".pyi", "py.typed", ".pyx", ".pxd", ".h", ".csv", ".md", ".css", ".json"}
    assert shipped(written, *folders) <= names
    assert {"LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml", ".ci/run"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc", ".c"))]


# -- a machine on which it cannot be built ----------------------------------------------------------


def failed_installation(sdist, tmp_path, **environment):
    """The line about ours in what pip says when it cannot install the source distribution."""
    python = empty_environment(tmp_path / "environment")
    done = run(python, "-m", "pip", "install", "-q", sdist, cwd=tmp_path, **environment)
    assert done.returncode != 0
    (line,) = re.findall(r"^.*error: dualtape.*$", done.stdout + done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stdout + done.stderr
    return line.strip()


def what_to_install():
    if sys.platform == "darwin":
        return "Install Apple's command line tools: `xcode-select --install`."
    return ("Install it: `apt install build-essential python3-dev` on Debian or Ubuntu, "
            "`dnf install gcc python3-devel` on Fedora.")


unix = pytest.mark.skipif(sys.platform == "win32", reason="Visual C++ is not found by name")


@unix
def test_a_compiler_that_is_not_there(sdist, tmp_path):
    line = failed_installation(sdist, tmp_path, CC="/nonexistent/cc")
    assert line == f"error: dualtape: there is no C compiler that works (tried /nonexistent/cc). {what_to_install()}"


@unix
def test_no_compiler_on_the_path(sdist, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    line = failed_installation(sdist, tmp_path, PATH=str(empty))
    assert re.match(r"error: dualtape: there is no C compiler that works \(tried [\w.-]+\)\. ", line)
    assert line.endswith(what_to_install())


@unix
def test_no_python_headers(sdist, tmp_path):
    blind = tmp_path / "cc"  # a compiler on a machine where Python.h was not installed
    blind.write_text('#!/bin/sh\nfor flag; do shift; case $flag in -I*) ;; *) set -- "$@" "$flag" ;; esac; done\n'
                     'exec cc "$@"\n', encoding="ascii")
    blind.chmod(0o755)
    line = failed_installation(sdist, tmp_path, CC=str(blind))
    assert re.match(rf"error: dualtape: there is no Python\.h for \S+ \(tried {re.escape(str(blind))}\)\. ", line)
    assert line.endswith(what_to_install())
