"""What `lsa-jax verify` prints, and the exit code it ends with."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lsa_jax import exit_codes, store
from lsa_jax.claims import report as reports
from lsa_jax.claims.registry import CLAIMS
from lsa_jax.claims.settings import Settings, thorough
from lsa_jax.consoles import wide_console

TABLE_WIDTH = 150


def run(settings: Settings, *, grid: bool, out: Path | None, quiet: bool) -> int:
    """Check every claim, print the tables and write them if asked to.

    Args:
        settings: where to check.
        grid: check on a grid of settings, and print the worst case of each claim.
        out: folder for `verify.json` and `verify.md`.
        quiet: print the tables only, no progress.

    Returns:
        The exit code.
    """
    out = store.writable_folder(out) if out else None
    where = thorough(settings) if grid else [settings]
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("verify")
        report = reports.verify(where, lambda name, done, total: bar.update(task, completed=done, total=total, description=name))
    console = wide_console(TABLE_WIDTH)
    if grid:
        _print_worst(console, report)
    else:
        _print_findings(console, report)
    _print_slips(console, report)
    if out is not None:
        reports.save(report, out)
        console.print(f"written: {out / 'verify.json'}, {out / 'verify.md'}", highlight=False, soft_wrap=True)
    failed = report.findings.loc[~report.findings["holds"], "claim"].unique()
    told = "every claim holds" if report.holds else f"does not hold: {', '.join(failed)}"
    noisy = int((~report.findings["precise"]).sum())
    unsure = f", {noisy} simulated too noisily to count" if noisy else ""
    console.print(f"{told} ({len(report.findings)} numbers{unsure}; {report.seconds:.0f} s)", highlight=False)
    return exit_codes.DONE if report.holds else exit_codes.CLAIM_FAILED


def _print_findings(console: Console, report: reports.Report) -> None:
    """Print every number of every claim."""
    one = report.settings[0]
    sizes = f"d = {one.dim}, m = {one.pretraining_shots}, n = {one.shots}, σ = {one.noise_std:.4g}"
    title = f"{sizes}, {one.covariance} covariance, {one.prior} prior"
    table = _table(title, "number", "stated limit", "exact", "simulated ± SE", "verdict")
    for claim in CLAIMS:
        table.add_row(f"[bold]{claim.name}[/bold] · {claim.source}", style="dim")
        for _, row in report.findings[report.findings["claim"] == claim.name].iterrows():
            cells = reports.finding_cells(row, report)
            table.add_row(f"  {cells[0]}", *cells[1:-1], _marked(cells[-1], good=row["holds"]))
        table.add_section()
    console.print(table)


def _print_worst(console: Console, report: reports.Report) -> None:
    """Print the worst case of each claim."""
    table = _table(f"worst case over {len(report.settings)} settings", "claim", "numbers", "largest |z|", "largest rate error", "verdict")
    for _, row in reports.worst_cases(report).iterrows():
        verdict = _marked(row["verdict"], good=row["holds"])
        table.add_row(row["claim"], str(row["numbers"]), f"{row['worst_deviation']:.2f}", f"{row['worst_rate_error']:.3f}", verdict)
    console.print(table)


def _print_slips(console: Console, report: reports.Report) -> None:
    """Print the slips of the published code and the assumptions dropped."""
    table = _table("slips of the published code", "slip", "used", "right", "error", "with it", "without")
    _fill(table, [reports.slip_cells(row) for _, row in report.slips.iterrows()])
    console.print(table)
    table = _table("assumptions dropped, one at a time", "dropped", "error", "as assumed", "changed")
    _fill(table, [reports.sensitivity_cells(row) for _, row in report.sensitivities.iterrows()])
    console.print(table)


def _fill(table: Table, rows: list[list[str]]) -> None:
    """Add rows to a table."""
    for row in rows:
        table.add_row(*row)


def _table(title: str, *headings: str) -> Table:
    """An empty table; the first and last columns hold text."""
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in {0, len(headings) - 1} or heading == "error" else "right")
    return table


def _marked(verdict: str, *, good: bool) -> str:
    """A verdict, red if it speaks against the claim."""
    return verdict if good else f"[red]{verdict}[/red]"
