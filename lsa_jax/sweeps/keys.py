"""Every key that a spec may have, from the declarations of the knobs."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from lsa_jax.knobs import Kind
from lsa_jax.regimes import Family
from lsa_jax.setting import EVALUATION, plain
from lsa_jax.sweeps.spec import axes_of

ENTERS: dict[Kind, str] = {
    "traced": "an axis, traced: its values share compiled programs",
    "branch": "an axis, branched: its values share one pretrained model",
    "static": "an axis, static: every value is compiled",
    "shared": "an axis, shared: runs of a program share its value",
    "sweep": "one for the whole sweep",
}
"""What each kind of key means to a sweep."""


@dataclasses.dataclass(frozen=True)
class SpecKey:
    """One key of a spec.

    Args:
        name: the key.
        meaning: what it is, mathematics in TeX.
        default: its value, or its values, where a spec does not say it.
        values: what a value must be.
        kind: how it enters a sweep, a key of `ENTERS`.
    """

    name: str
    meaning: str
    default: str
    values: str
    kind: Kind

    @property
    def plain(self) -> str:
        """What it is, without TeX."""
        return plain(self.meaning)


def spec_keys(family: Family | None = None) -> list[SpecKey]:
    """Return every key that a spec may have beside the tables `[[points]]` and `[regimes.NAME]`.

    Args:
        family: the regimes whose knobs count; by default the paper's.

    Returns:
        The axes, and then what belongs to the whole sweep, each in the order of its declaration.

    Example:
        >>> one = next(key for key in spec_keys() if key.name == "noise_std")
        >>> one.plain, one.default, one.values, one.kind
        ('noise σ', '0.3162', 'a finite number, at least 0', 'traced')
    """
    knobs = {**axes_of(family or Family.of()), **EVALUATION}
    return [
        SpecKey(name, knob.label, _shown(knob.default if knob.swept is None else knob.swept), knob.check.words, knob.kind)
        for name, knob in knobs.items()
    ]


def markdown(keys: Sequence[SpecKey]) -> str:
    """Return keys as a Markdown table a kind.

    Args:
        keys: the keys.

    Returns:
        The text.
    """
    blocks = []
    for kind, words in ENTERS.items():
        rows = [f"| `{key.name}` | {key.meaning} | `{key.default}` | {key.values} |" for key in keys if key.kind == kind]
        blocks.append(
            "\n".join([f"## {words[0].upper()}{words[1:]}", "", "| key | meaning | default | a value is |", "|---|---|---|---|", *rows])
        )
    return "\n\n".join(blocks) + "\n"


def _shown(default: Any) -> str:
    """A default as a spec would write it."""
    if isinstance(default, tuple | list):
        return f"[{', '.join(map(_shown, default))}]"
    if isinstance(default, str):
        return f'"{default}"'
    if isinstance(default, bool):
        return str(default).lower()
    return '"inf"' if default == math.inf else f"{default:.4g}"
