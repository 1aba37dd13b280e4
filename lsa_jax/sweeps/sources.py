"""Where a spec is read from: a TOML file, a Python file, and settings given beside it."""

import runpy
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsa_jax.errors import InputError


def from_file(path: Path) -> dict[str, Any]:
    """Return what a spec file says.

    Args:
        path: a TOML file, or a Python file that defines the dictionary `spec`; modules beside a Python file are found.

    Returns:
        The spec as written.

    Raises:
        ValueError: if the file cannot be read as a spec.
        FileNotFoundError: if there is none.
    """
    path = path.expanduser()
    if path.is_dir():
        raise InputError(f"{path} is a folder; a spec is a TOML or a Python file")
    return _python(path) if path.suffix == ".py" else _toml(path)


def override(text: str) -> tuple[str, Any]:
    """Return name and value of a setting written as NAME=VALUE, the value in TOML or else a text.

    Args:
        text: what was written.

    Returns:
        Name and value.

    Raises:
        ValueError: if there is no equals sign, the text has several lines, or it names what is a table.

    Example:
        >>> override("dim=[3, 5]"), override("prior=sphere")
        (('dim', [3, 5]), ('prior', 'sphere'))
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or "\n" in text or "\r" in text:
        raise InputError(f"--set got {text!r}; it must be NAME=VALUE, on one line")
    if name in {"points", "regimes"}:
        raise InputError(f"--set cannot give {name}, which are tables: write them in the spec")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return name, value.strip()


def _toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; a byte-order mark before them is passed over."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise InputError(f"{path} is nested too deep for a spec") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML ({error}): see experiments for examples") from None


def _python(path: Path) -> dict[str, Any]:
    """What a Python file defines as `spec`."""
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        defined = runpy.run_path(str(path)).get("spec")
    except FileNotFoundError:
        if not path.exists():
            raise
        raise InputError(f"{path} asks for a file that is not there") from None
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be run as a spec: {type(error).__name__}{f': {reason}' if reason else ''}") from None
    finally:
        sys.path.remove(beside)
    if not isinstance(defined, Mapping):
        raise InputError(f"{path} defines no dictionary `spec`: write spec = {{...}} in it")
    return dict(defined)
