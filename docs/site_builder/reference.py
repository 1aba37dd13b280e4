"""The reference: a page for the public names and one for every module, each object documented once and never without a docstring."""

import ast
import importlib
import inspect
import re
import types
import typing
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

import lsa_jax

LOGGER = logging.getLogger(__name__)
FOLDER = "site/reference"
TEX = re.compile(r"(\$\$[^$]+\$\$|\$[^$]+\$)")
MEMBERS = ("Array", "ndarray", "bool", "number", "bool", "int", "float", "complex")
ARRAY_LIKE = re.compile(" [|] ".join(rf"~?[\w.]*{name}" for name in MEMBERS))
"""How the members of `jaxtyping.ArrayLike` are written out."""

FIELDS = "replace, from_tuple, to_tuple"
"""Methods that every dataclass of chex has."""


def setup(app: Sphinx) -> None:
    """Connect to Sphinx.

    Args:
        app: the application.
    """
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)


def pages() -> dict[str, str]:
    """Return every page of the reference, by its path in docs."""
    public = {name: getattr(lsa_jax, name) for name in lsa_jax.__all__ if name != "__version__"}
    rooms = {name: room for name, room in public.items() if inspect.ismodule(room)}
    known: dict[int, str] = {}
    top = [_entry("lsa_jax", name, value, known) for name, value in public.items() if name not in rooms]
    texts = {f"{FOLDER}/names.rst": _page("lsa_jax", "The public names", [".. py:module:: lsa_jax", *top])}
    for name, room in rooms.items():
        members = {member: getattr(room, member) for member in _names(room)}
        entries = [_entry(room.__name__, member, value, known) for member, value in members.items()]
        texts[f"{FOLDER}/{name}.rst"] = _page(room.__name__, name, [f".. automodule:: {room.__name__}", *entries])
    index = "\n".join(["names", *rooms])
    texts[f"{FOLDER}/index.md"] = f"# Reference\n\n{INDEX}\n\n```{{toctree}}\n:maxdepth: 1\n\n{index}\n```\n"
    return texts


INDEX = """Public names are loaded on first use: `import lsa_jax as lsa` costs next to nothing. Most programs need only
[the public names](names.rst); the modules hold the rest, one page each."""


def read_docstring(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Refuse an object without a docstring, take a constant's from below it, and keep bars from being read as markup.

    Args:
        app: the application.
        what: `module`, `class`, `function`, ...
        name: the full name.
        value: the object.
        options: options of the directive.
        lines: the docstring, changed in place.
    """
    if what == "data":
        lines[:] = _below(name)
    if not any(lines):
        LOGGER.warning("public name %s has no docstring", name)
    parts = TEX.split("\n".join(lines))
    lines[:] = "".join(_equation(part) if place % 2 else _escaped(part) for place, part in enumerate(parts)).split("\n")


def read_signature(
    app: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write the type of what becomes an array by its name, not by its members.

    Args:
        app: the application.
        what: `class`, `function`, ...
        name: the full name.
        value: the object.
        options: options of the directive.
        signature: its arguments.
        returned: its return annotation.

    Returns:
        Arguments and return annotation.
    """
    return signature and ARRAY_LIKE.sub("ArrayLike", signature), returned


def _equation(text: str) -> str:
    """An equation between dollars, displayed between two on each side, as reStructuredText."""
    tex = " ".join(text.strip("$").split())
    return f"\n\n.. math::\n\n   {tex}\n\n" if text.startswith("$$") else rf"\ :math:`{tex}`\ "


def _escaped(text: str) -> str:
    """Text whose bars are not read as markup, but for code after a prompt."""
    lines = text.split("\n")
    return "\n".join(line if line.lstrip().startswith((">>>", "...")) else line.replace("|", r"\|") for line in lines)


def _names(room: types.ModuleType) -> list[str]:
    """The public names of a room: what it lists, or the functions and classes that it defines."""
    if hasattr(room, "__all__"):
        return list(room.__all__)
    defined = vars(room).items()
    return [name for name, value in defined if not name.startswith("_") and getattr(value, "__module__", None) == room.__name__]


def _entry(home: str, name: str, value: object, known: dict[int, str]) -> str:
    """The directive of a public name, or a link to where the same object is documented already."""
    full = f"{home}.{name}"
    if inspect.isclass(value) or inspect.isroutine(value):
        if id(value) in known:
            return f"`{name}`: see :py:obj:`{known[id(value)]}`."
        known[id(value)] = full
    if inspect.isclass(value):
        return f".. autoclass:: {full}\n   :members:\n   :exclude-members: {FIELDS}"
    function = callable(value) and typing.get_origin(value) is None
    return f".. autofunction:: {full}" if function else f".. autodata:: {full}\n   :no-value:"


def _page(name: str, title: str, blocks: list[str]) -> str:
    """A page of reStructuredText."""
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *blocks]) + "\n"


def _below(full: str) -> list[str]:
    """The docstring below a constant, in the module that a room takes it from."""
    home, name = full.rsplit(".", 1)
    module = importlib.import_module(home)
    tree = ast.parse(Path(module.__file__ or "").read_text())
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and any((one.asname or one.name) == name for one in node.names):
            return _below(f"{node.module}.{name}")
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}:
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            return inspect.cleandoc(str(text)).splitlines()
    return []
