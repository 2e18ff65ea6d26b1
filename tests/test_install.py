"""The installed package: what it needs, what it brings, what its import costs."""
import importlib.metadata
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import ad
from ad.ops import table

ROOT = Path(__file__).parent.parent
PACKAGE = Path(ad.__file__).parent


# What `import ad` leaves to its first use: parts of NumPy and of the standard library, of which an annotation is enough
# to import some, and most of the library itself.
DEFERRED = (
    "numpy.random", "numpy.fft", "numpy.typing", "copy", "dataclasses", "importlib.util", "string", "threading",
    "ad.compiler", "ad.errors.", "ad.linalg", "ad.fft", "ad.optim", "ad.special", "ad.testing", "ad.transforms",
    *table.FAMILIES, *table.LATER,
)


def run(code):
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout


def distribution():
    try:
        return importlib.metadata.distribution("dualtape")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ad is not installed: it runs from an in-place build")


def test_numpy_is_the_only_requirement():
    needed = [line for line in distribution().requires if "extra ==" not in line]
    assert [re.match(r"[\w-]+", line).group() for line in needed] == ["numpy"]


def test_extras():
    extras = set(distribution().metadata.get_all("Provides-Extra"))
    assert extras == {"scipy", "ipopt", "uno", "plot", "test", "bench", "docs"}


def test_version():
    assert distribution().version == ad.__version__


def test_licence():
    assert distribution().metadata["License-Expression"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_modules_are_compiled():
    sources = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "ad").rglob("*.pyx")]
    assert len(sources) > 10
    for source in sources:
        module = importlib.import_module(".".join(source.parts))
        assert not module.__file__.endswith(".py")


def test_declarations_and_data_are_shipped():
    for path in (ROOT / "ad").rglob("*"):
        if path.suffix in (".pxd", ".h", ".pyi", ".csv", ".md") or path.name == "py.typed":
            assert files("ad").joinpath(*path.relative_to(ROOT / "ad").parts).is_file()
    assert "public domain" in (files("ad") / "data" / "anes96.md").read_text(encoding="utf-8")


def test_import_brings_nothing_beyond_numpy():
    code = "import sys, numpy; before = set(sys.modules); import ad; print(*set(sys.modules) - before)"
    modules = run(code).split()
    assert not {name for name in modules if name.startswith(DEFERRED)}
    brought = {name.split(".")[0] for name in modules}
    assert not {name for name in brought - sys.stdlib_module_names if not re.match("ad$|numpy$|_?cython_", name)}


def test_annotations_are_not_evaluated_by_an_import():
    """They are a sixth of its time; the fields of a NamedTuple are evaluated either way."""
    code = """if True:
        import ad, sys
        from types import FunctionType
        for name, module in [*sys.modules.items()]:
            for found in vars(module).values() if name.startswith("ad.") else ():
                if isinstance(found, FunctionType) and found.__module__ == name:
                    print(*[name for given in found.__annotations__.values() if not isinstance(given, str)])
    """
    assert {*run(code).split()} <= {"ad.ops.traits"}


@pytest.mark.parametrize("statement, value", [
    ("import ad.special", "ad.special.expit(0.0)"), ("from ad.special import expit", "expit(0.0)"),
    ("import ad.linalg", "ad.linalg.det([[0.5]])"), ("from ad.linalg import det", "det([[0.5]])"),
    ("import ad.fft", "ad.fft.fft([0.5])[0].real"), ("from ad.fft import fft", "fft([0.5])[0].real"),
])
def test_public_modules_are_imported_by_name(statement, value):
    if "special" in statement:
        pytest.importorskip("scipy")
    assert float(run(f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {statement}; print({value})")) == 0.5


def test_a_checkout_that_is_not_built_says_how_to_build_it(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ad", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ad"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    # in an editable installation the finder of setuptools finds some of the compiled modules
    assert re.match(r"ImportError: ad is not built: its compiled module ad\.[\w.]+ is missing in ", last)
    assert "run `python setup.py build_ext --inplace`" in last


def test_public_names_exist():
    assert [name for name in ad.__all__ if not hasattr(ad, name)] == []


def test_readme_opens_with_two_commands():
    title, _, sentence, _, first, second = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:6]
    assert title == "# ad" and sentence.endswith(".")
    assert first.startswith("    python3 -m venv") and '".[scipy]"' in first and first.endswith("-m ad")
    assert second.startswith("    python3 -m venv") and second.endswith("-m pytest")


def test_a_free_threaded_build_of_python_is_refused_in_one_line():
    pytest.importorskip("Cython")
    code = """if True:
        import sysconfig, sys, runpy
        found = sysconfig.get_config_var
        sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else found(name)
        sys.argv = ["setup.py", "-q", "build_ext"]
        runpy.run_path("setup.py", run_name="__main__")
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: dualtape: .* is a free-threaded build of Python, which .*\n", done.stderr)
