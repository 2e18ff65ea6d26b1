"""How Sphinx builds these pages: `sphinx-build -W -b html docs docs/_build`."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import ad  # noqa: E402

project = "ad"
author = "The dualtape authors"
project_copyright = "2026, the dualtape authors"
release = version = ad.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "op_table"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "literal"  # single backquotes in docstrings
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"ad {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False


def _without_self(app, what, name, obj, options, signature, return_annotation):
    """The signature that a compiled method has in its docstring, as it is called."""
    if what == "method" and signature:
        return signature.replace("(self, ", "(").replace("(self)", "()"), return_annotation
    return None


def _initials_begin_no_list(app, what, name, obj, options, lines):
    """A reference that begins with an author's initial is no item of a list."""
    lines[:] = [re.sub(r"^(\s*)(?=[A-Z]\. )", r"\1\\", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", _initials_begin_no_list)
    app.connect("autodoc-process-signature", _without_self)
