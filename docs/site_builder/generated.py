"""Pages made from the package and from files outside docs, written to docs/site before Sphinx reads anything."""

import importlib
import json
import re
from pathlib import Path

from sphinx.application import Sphinx

from lsa_jax.claims.registry import CLAIMS, CONVENTIONS
from lsa_jax.cli import app
from lsa_jax.sweeps import keys
from site_builder import reference
from site_builder.links import BORROWED, DOCS, ROOT, relinked

KEYS = """# Keys of a spec

Generated from the declarations of the knobs; `lsa-jax sweep --keys` prints the same. An axis takes one value, a list, a half-open range
(`"0:1024"`), or `"logspace(0.01, 1, 5)"` or `"linspace(0, 1, 5)"` with both ends. A spec may also have tables: `[[points]]`,
several products of axes ([sweeps](../sweeps.md)), and `[regimes.NAME]`, regimes of your own with the keys `loss`, `train`, `start`,
`within`, `rate`, `steps`, `stream` and `title` ({py:class}`lsa_jax.Regime`). To sweep a weight or rate, give a list in place of the
number, `loss = { zero_shot = 1.0, prior = [0.1, 1.0] }`; in records and figures its values are the column `weight_TERM` or `rate`.

"""

FLAGS = """# Commands and flags

`lsa-jax COMMAND --help` prints the same.

"""

AUDIT = """# The claims

Every statement that `lsa-jax verify` checks, with what it is checked against; the verdicts are from the [latest audit](../verify.md),
which lists every number. Conventions: {conventions}.

"""


def setup(sphinx: Sphinx) -> None:
    """Connect to Sphinx.

    Args:
        sphinx: the application.
    """
    sphinx.connect("builder-inited", lambda sphinx: write())


def write() -> None:
    """Write every generated page."""
    pages = {path: relinked(source.read_text(), source, DOCS / path) for source, path in BORROWED.items()}
    pages["site/keys.md"] = KEYS + keys.markdown(keys.spec_keys())
    pages["site/claims.md"] = claims(json.loads((DOCS / "verify.json").read_text())["findings"])
    pages["site/flags.md"] = FLAGS + app.generate_docs().partition("**Commands**:\n\n")[2]
    pages |= reference.pages()
    for name, text in pages.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def claims(findings: list[dict[str, object]]) -> str:
    """Return the page of the registry of claims.

    Args:
        findings: the numbers of the last audit.

    Returns:
        The page.
    """
    rows = [AUDIT.format(conventions=CONVENTIONS), "| claim | limit | source | checked by | verdict |\n|---|---|---|---|---|"]
    for claim in CLAIMS:
        anchor = re.sub(r"[^\w\- ]", "", f"{claim.name} ({claim.source})".lower()).replace(" ", "-")
        found = [row["holds"] for row in findings if row["claim"] == claim.name]
        agree = f"[{sum(map(bool, found))} of {len(found)} numbers agree](../verify.md#{anchor})" if found else "not in the last audit"
        place = Path(importlib.import_module(_checker(claim.check)).__file__ or "").relative_to(ROOT / "lsa_jax")
        cells = (f"**{claim.name}**: {claim.statement}", claim.limit, claim.source, f"`{place}`", agree)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _checker(check: object) -> str:
    """The module of the function that checks a claim."""
    return getattr(check, "func", check).__module__
