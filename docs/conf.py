"""How Sphinx builds the documentation; warnings are errors, see tox.ini."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "sa_perf"
author = "The sa_perf authors"
copyright = "The sa_perf authors"
version = release = installed_version("sa-perf")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Docstrings write names of this package in single backquotes.
default_role = "py:obj"

html_theme = "furo"
html_title = "sa_perf"
