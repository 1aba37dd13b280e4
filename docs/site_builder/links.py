"""Links between Markdown files of the repository, as links between pages of the site."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BORROWED = {
    ROOT / "experiments/README.md": "site/experiments.md",
    ROOT / "benchmarks/README.md": "site/benchmarks.md",
    ROOT / "benchmarks/results/cpu-2-cores/report.md": "site/benchmarks-cpu.md",
    ROOT / "CONTRIBUTING.md": "site/contributing.md",
    ROOT / "CHANGELOG.md": "site/changelog.md",
}
"""Pages of the site that are files of the repository outside docs."""

TUTORIALS = {ROOT / "examples": "site/tutorials/index.rst"} | {
    path: f"site/tutorials/{path.stem}.rst" for path in (ROOT / "examples").glob("*.py")
}
"""Pages of the site that are made from examples."""

LINK = re.compile(r"(?<=\])\((?P<target>[^()\s#:]+)(?P<anchor>#[\w-]+)?\)")


def setup(app: Sphinx) -> None:
    """Connect to Sphinx.

    Args:
        app: the application.
    """
    app.connect("source-read", relink_page)


def relink_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Rewrite the links of a page that lead out of docs.

    Args:
        app: the application.
        page: name of the page.
        source: its text, as the only entry.
    """
    path = Path(app.env.doc2path(page))
    if path.suffix == ".md" and DOCS / "site" not in path.parents:
        source[0] = relinked(source[0], path, path)


def relinked(text: str, written: Path, page: Path) -> str:
    """Return Markdown with its relative links leading to pages of the site.

    Args:
        text: the Markdown.
        written: the file whose folder its links start from.
        page: the file of the page that it becomes.

    Returns:
        The Markdown. Links to what is not on the site are left as they are, so that the strict build refuses them.
    """

    def lead(match: re.Match[str]) -> str:
        target = (written.parent / match["target"]).resolve()
        if known := (BORROWED | TUTORIALS).get(target):
            target = DOCS / known
        return f"({os.path.relpath(target, page.parent)}{match['anchor'] or ''})"

    return LINK.sub(lead, text)
