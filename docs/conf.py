"""How the site is built: ``bash .ci/docs``. Nothing is asked of a network, then or in the browser."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent

project = "bayesglm"
author = "the bayesglm authors"
version = release = version_of("bayesglm")
language = "en"

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# -- pages ----------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# -- notebooks ------------------------------------------------------------------------------------

# "off" shows the notebooks as they were committed, in a minute less each.
nb_execution_mode = os.environ.get("BAYESGLM_DOCS_NOTEBOOKS", "force")
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_merge_streams = True


def copy_notebooks() -> None:
    """Bring the notebooks into the source folder, without those that are no more."""
    source, target = HERE.parent / "notebooks", HERE / "notebooks"
    target.mkdir(exist_ok=True)
    found = {path.name: path for path in sorted(source.glob("*.ipynb"))}
    for old in target.iterdir():
        if old.name not in found:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, path in found.items():
        copy = target / name
        # A copy that is newer would be read, and run, again.
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


copy_notebooks()

# -- reference ------------------------------------------------------------------------------------

autosummary_generate = True
# The docstrings say the types, in words.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Single backticks in docstrings name an object of the package, or an argument.
default_role = "py:obj"

# -- looks ----------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"bayesglm {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
# The sign before what is typed is not copied, nor what is printed.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def show_inline(translator: Any, node: Any) -> None:
    """Write a formula in a sentence."""
    translator.body.append(tex2mathml(node.astext()))
    # What is inside is written already.
    raise SkipNode


def show_block(translator: Any, node: Any) -> None:
    """Write a formula on lines of its own."""
    formula = tex2mathml(node.astext().strip(), as_block=True)
    translator.body.append(f'<div class="math">{formula}</div>')
    raise SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the formulas: MathML needs no script, and so no network when a page is read."""
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
