"""Equations as they stand in the Markdown: their own numbers are kept, and each numbered one can be linked to as `#eq-12`."""

import re

from docutils import nodes
from sphinx.application import Sphinx

TAG = re.compile(r"\\tag\{(\w+)\}")


def setup(app: Sphinx) -> None:
    """Connect to Sphinx.

    Args:
        app: the application.
    """
    app.connect("doctree-read", keep_tags)


def keep_tags(app: Sphinx, doctree: nodes.document) -> None:
    r"""Hand displayed equations to MathJax unwrapped: inside Sphinx's `split` a `\tag` is an error.

    Args:
        app: the application.
        doctree: the page.
    """
    for block in doctree.findall(nodes.math_block):
        text = block.astext()
        block["no-wrap"] = True
        block["ids"] += [f"eq-{tag}" for tag in TAG.findall(text)]
        block.children = [nodes.Text(rf"\[{text}\]")]
