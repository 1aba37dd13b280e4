"""All claims checked at a setting, or on a grid: tables, and the same as JSON and Markdown."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from lsa_jax import store
from lsa_jax.claims import case as cases
from lsa_jax.claims.registry import CLAIMS, CONVENTIONS
from lsa_jax.claims.sensitivity import sensitivities
from lsa_jax.claims.settings import Settings
from lsa_jax.claims.slips import slips

Progress = Callable[[str, int, int], None]
"""Told what is checked next, how many steps are done, and of how many."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What an audit found.

    Args:
        settings: the settings it ran at.
        findings: one row a number of a claim and setting.
        slips: one row a slip of the published code, at the first setting.
        sensitivities: one row a dropped assumption, at the first setting.
        seconds: how long it took.
    """

    settings: tuple[Settings, ...]
    findings: pd.DataFrame
    slips: pd.DataFrame
    sensitivities: pd.DataFrame
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every claim holds at every setting."""
        return bool(self.findings["holds"].all())


def verify(settings: Sequence[Settings], progress: Progress = lambda name, done, total: None) -> Report:
    """Check every claim at every setting, and at the first one also the slips and what the assumptions are worth.

    Args:
        settings: where to check.
        progress: told of every step.

    Returns:
        What was found.

    Raises:
        ValueError: if a setting is out of range.
    """
    begun, rows, done, total = time.monotonic(), [], 0, len(settings) * len(CLAIMS) + 2
    with jax.enable_x64(True):
        prepared = [cases.prepare(one) for one in settings]
        for place, case in enumerate(prepared):
            for claim in CLAIMS:
                progress(f"d = {case.settings.dim}: {claim.name}", done, total)
                for finding in claim.check(case):
                    told = {"holds": finding.holds, "precise": finding.precise, "deviation": finding.deviation, "verdict": finding.verdict}
                    rows.append({"setting": place, "claim": claim.name, "source": claim.source, **dataclasses.asdict(finding), **told})
                done += 1
        progress("slips", done, total)
        found = pd.DataFrame([dataclasses.asdict(slip) for slip in slips(prepared[0])])
        progress("sensitivity", done + 1, total)
        dropped = pd.DataFrame([dataclasses.asdict(one) for one in sensitivities(prepared[0])])
    progress("done", total, total)
    return Report(tuple(settings), pd.DataFrame(rows), found, dropped, time.monotonic() - begun)


def worst_cases(report: Report) -> pd.DataFrame:
    """Reduce an audit on a grid to the worst of each claim.

    Args:
        report: the audit.

    Returns:
        One row a claim: numbers checked, whether all hold, the largest deviation of a simulation and the largest distance of a rate from a
        whole power, and the first verdict against it.
    """
    rows = []
    for claim, found in report.findings.groupby("claim", sort=False):
        rates = [rate for one in found["rates"] for rate in one.values() if rate is not None]
        against = found.loc[~found["holds"], "verdict"]
        rows.append({
            "claim": claim,
            "numbers": len(found),
            "holds": bool(found["holds"].all()),
            "worst_deviation": float(found["deviation"].max()),
            "worst_rate_error": max((abs(rate - round(rate)) for rate in rates), default=0.0),
            "verdict": "agrees" if against.empty else str(against.iloc[0]),
        })
    return pd.DataFrame(rows)


def save(report: Report, out: Path) -> None:
    """Write an audit as `verify.json` and `verify.md`.

    Args:
        report: the audit.
        out: the folder, which is there.
    """
    texts = [
        {field: getattr(claim, field) for field in ("name", "source", "statement", "assumptions", "limit", "finite")} for claim in CLAIMS
    ]
    content: dict[str, Any] = {
        "settings": [dataclasses.asdict(one) for one in report.settings],
        "conventions": CONVENTIONS,
        "claims": texts,
        "findings": report.findings.astype(object).where(report.findings.notna(), None).to_dict("records"),
        "slips": report.slips.to_dict("records"),
        "sensitivities": report.sensitivities.to_dict("records"),
        "seconds": report.seconds,
        "environment": store.environment(),
    }
    store.save_json(out / "verify.json", content)
    with store.replacing(out / "verify.md") as temporary:
        temporary.write_text(markdown(report))


def markdown(report: Report) -> str:
    """Return an audit as Markdown.

    Args:
        report: the audit.

    Returns:
        The text.
    """
    blocks = ["# The theory, audited", f"Conventions: {CONVENTIONS}."]
    for claim in CLAIMS:
        formulas = f"*Limit:* {claim.limit}. *Exact:* {claim.finite}."
        blocks.append(f"## {claim.name} ({claim.source})\n\n{claim.statement} *Assumes* {claim.assumptions}. {formulas}")
        found = report.findings[report.findings["claim"] == claim.name]
        blocks.append(
            _table(["number", "stated", "exact", "simulated", "verdict"], [finding_cells(row, report) for _, row in found.iterrows()])
        )
    blocks.append("## Slips of the published code")
    blocks.append(_table(["slip", "used", "right", "error", "with it", "without"], [slip_cells(row) for _, row in report.slips.iterrows()]))
    blocks.append("## Assumptions dropped")
    blocks.append(
        _table(["dropped", "error", "assumed", "changed"], [sensitivity_cells(row) for _, row in report.sensitivities.iterrows()])
    )
    return "\n\n".join(blocks) + "\n"


def finding_cells(row: pd.Series, report: Report) -> list[str]:
    """Return a finding as texts: which number, stated, exact, simulated, verdict."""
    where = f"d = {report.settings[row['setting']].dim}: " if len(report.settings) > 1 else ""
    stated = "" if pd.isna(row["stated"]) else f"{row['stated']:.4f}"
    simulated = "" if pd.isna(row["simulated"]) else f"{row['simulated']:.4f} ± {row['standard_error']:.4f}"
    return [where + row["case"], stated, f"{row['exact']:.4f}", simulated, row["verdict"]]


def slip_cells(row: pd.Series) -> list[str]:
    """Return a slip as texts."""
    return [row["name"], f"{row['used']:.4f}", f"{row['right']:.4f}", row["risk"], f"{row['risk_used']:.5f}", f"{row['risk_right']:.5f}"]


def sensitivity_cells(row: pd.Series) -> list[str]:
    """Return a dropped assumption as texts."""
    error = f" ± {row['standard_error']:.4f}" if row["standard_error"] else ""
    return [row["dropped"], row["error"], f"{row['assumed']:.4f}", f"{row['changed']:.4f}{error}"]


def _table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    cells = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
