"""What the pages say: their Python is run, page by page, and so are the examples in docstrings.

What a statement prints stands in the page behind `# -> `, on its last line or on the lines below it.
"""
import ast
import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import ad
from ad.ops import TABLE
from ad.ops.writing import WRITERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
API = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
MODULES = [name for _, name, _ in pkgutil.walk_packages(ad.__path__, "ad.") if name != "ad.__main__"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MARK = "# -> "


def blocks(page):
    """The fenced Python of a page, each block behind as many empty lines as it has above it there."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield "\n" * text.count("\n", 0, found.start(1)) + found[1]


def claimed(lines, end):
    """What the page says that the statement which ends on this line prints."""
    said = [lines[end - 1].partition(MARK)[2]]
    for line in lines[end:]:
        if not line.startswith(MARK):
            break
        said.append(line.removeprefix(MARK))
    return "".join(line + "\n" for line in said if line)


def run(block, page, namespace):
    """Run a block statement by statement, and compare what each one prints with what the page says."""
    lines = block.splitlines()
    for statement in ast.parse(block, str(page)).body:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(ast.Module([statement], []), str(page), "exec"), namespace)
        want, got = claimed(lines, statement.end_lineno), printed.getvalue()
        if want:
            assert doctest.OutputChecker().check_output(want, got, FLAGS), (
                f"{page.name}, line {statement.end_lineno}: the page says\n{want}and it prints\n{got}")


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for block in blocks(page):
        run(block, page, namespace)


def examples(name):
    """The examples in the docstrings of a module of ours; NumPy's are not ours to test."""
    borrowed = {function.__doc__ for entry in TABLE.values() for function in entry.numpy}
    borrowed |= {getattr(value, "__doc__", None) for value in vars(np).values()}  # which `ad.numpy` has
    borrowed |= {value.__doc__ for value in vars(ad.numpy).values() if hasattr(value, "__wrapped__")}
    found = doctest.DocTestFinder().find(importlib.import_module(name), globs={"ad": ad, "np": np})
    return [test for test in found if test.examples and test.docstring not in borrowed]


@pytest.mark.parametrize("test", [test for name in MODULES for test in examples(name)], ids=lambda test: test.name)
def test_the_examples_of_a_docstring(test):
    report = io.StringIO()
    assert not doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.write).failed, report.getvalue()


@pytest.mark.parametrize("name", sorted({*ad.__all__} - {*TABLE}))
def test_every_public_name_has_its_place_in_the_reference(name):
    assert re.search(rf":: ad\.{name}\b", API)


def test_the_picture_of_the_speed_table_is_of_that_table():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| gradient of |")[2].partition("\n\n")[0]
    shown = [f"{float(number):g}x" for number in re.findall(r"\| ([\d.]+)x", table)]
    picture = (ROOT / "docs" / "_static" / "speed.svg").read_text(encoding="utf-8")
    assert len(shown) > 15 and sorted(re.findall(r">([\d.]+x)<", picture)) == sorted(shown)


def test_the_page_about_writing_lists_the_functions_that_write():
    page = (ROOT / "docs" / "writing.md").read_text(encoding="utf-8")
    (functions,) = re.findall(r"^\| functions \| (.*) \|$", page, re.MULTILINE)
    assert functions == ", ".join(f"`np.{function.__name__}`" for function in WRITERS)


def test_how_it_works_names_what_is_there():
    """But for a column of each of two other libraries' terms."""
    page = (ROOT / "docs" / "how_it_works.md").read_text(encoding="utf-8")
    sources = [path for path in (ROOT / "ad").rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".h")]
    words = set(re.findall(r"\w+", "".join(path.read_text(encoding="utf-8") for path in sources)))
    words |= {path.stem for path in sources}
    for name in set(re.findall(r"`([^`\s]+)`", page)) - {"FakeTensor", "ShapedArray"}:
        known = (ROOT / name).exists() if "/" in name else name.split(".")[-1] in words | {"h", "py", "pyx"}
        assert known or not re.fullmatch(r"[\w./]+", name), name
