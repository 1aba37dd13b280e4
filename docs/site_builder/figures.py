"""Figures of the tutorials: those that an example leaves in its variables, as the library's plots never touch pyplot."""

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def scraper(block: tuple, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Save the figures among the variables of an example.

    Args:
        block: the block of the example, not used.
        variables: what sphinx-gallery knows of the run: the variables, and where images go.
        settings: the settings of the gallery.

    Returns:
        Directives that show the figures.
    """
    names, words = [], []
    for variable, value in list(variables["example_globals"].items()):
        if isinstance(value, Figure):
            path = next(variables["image_path_iterator"])
            value.savefig(path, dpi=200)
            names.append(path)
            words.append(f"{value.axes[0].get_ylabel()} against {value.axes[-1].get_xlabel()}")
            del variables["example_globals"][variable]
    return figure_rst(names, settings["src_dir"], "; ".join(words))
