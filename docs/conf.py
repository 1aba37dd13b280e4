"""The documentation site: `sphinx-build -W --keep-going docs build/site` builds it, and fails at a broken link or an undocumented name.

With `-t quick` the tutorials are not run, which takes most of the time. CONTRIBUTING says why it is Sphinx.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import lsa_jax
from site_builder import generated, links, mathematics, reference

project = "lsa_jax"
author = "The lsa_jax developers"
copyright = author
release = version = lsa_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
default_role = "literal"

html_theme = "pydata_sphinx_theme"
html_title = "lsa_jax"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "logo": {"text": "lsa_jax"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"start": [], "index": []}

myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "site/tutorials",
    "filename_pattern": r"/(?!flax_)\w+\.py$",  # those run that need no package beyond the library's
    "image_scrapers": ("site_builder.figures.scraper",),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "parallel": 2,
    "plot_gallery": not tags.has("quick"),
}


def setup(app: object) -> None:
    """Connect what Sphinx does not do itself.

    Args:
        app: the Sphinx application.
    """
    for part in (generated, links, mathematics, reference):
        part.setup(app)
