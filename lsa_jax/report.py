"""One page about a sweep that needs no other file: how far it is, what was asked, its figures, and the numbers behind them."""

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lsa_jax import plotting, store
from lsa_jax.setting import label_of, plain
from lsa_jax.sweeps import chunks, results
from lsa_jax.sweeps.folder import Folder

MOST_ROWS = 500
"""Rows of a table on the page; files of `lsa-jax plot` and `lsa-jax export` hold all."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }}
img {{ max-width: 100%; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; }}
th, td {{ padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left; }}
pre {{ background: #f4f4f4; padding: .8rem; overflow-x: auto; }}
</style>
<main>
<h1>{title}</h1>
{body}
</main>
</html>
"""


def save(out: Path, to: Path) -> None:
    """Write the page.

    Args:
        out: folder of the sweep.
        to: the file, replaced whole.

    Raises:
        ValueError: if the folder holds no sweep, or no records yet.
    """
    text = page(out)
    to.parent.mkdir(parents=True, exist_ok=True)
    with store.replacing(to) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(out: Path) -> str:
    """Return the page.

    Args:
        out: folder of the sweep.

    Returns:
        HTML in which figures are embedded, so that it can be mailed or archived alone.

    Raises:
        ValueError: if the folder holds no sweep, or no records yet.
    """
    manifest = Folder(out).manifest()
    frame = results.load(out).frame
    blocks = [
        _section("Progress", _table(_progress(out, manifest))),
        *(_drawn(frame, axis) for axis in plotting.drawable(frame)),
        _section("What did not go well", _table(_flagged(frame))),
        _section("Spec", f"<pre>{html.escape(json.dumps(manifest['spec'], indent=2, ensure_ascii=False))}</pre>"),
        _section("Computed by", _items(chunks.makers(Folder(out).chunks.glob("*.parquet")))),
    ]
    return PAGE.format(title=html.escape(f"Sweep {out.resolve().name}"), body="\n".join(blocks))


def _progress(out: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    """Cells done of all, and how many of them are flagged."""
    folder = Folder(out)
    finished, damaged = folder.finished()
    done, diverged, missed = chunks.total(finished).values()
    told = {"cells": manifest["cells"], "done": done, "diverged": diverged, "above the pretraining minimum": missed}
    return pd.DataFrame([told | {"damaged files": len(damaged), "failed chunks": len(folder.failures())}])


def _flagged(frame: pd.DataFrame) -> pd.DataFrame:
    """How many models of each regime diverged, or started from a local minimum of pretraining, of how many."""
    models = frame.drop_duplicates([name for name in frame if name not in {*results.MEASURED, *results.OF_EVALUATION}])
    counts = models.groupby("regime", observed=True)[["diverged", "above_minimum"]].sum()
    return counts.assign(models=models.groupby("regime", observed=True).size()).reset_index()


def _drawn(frame: pd.DataFrame, axis: str) -> str:
    """The figure against an axis, with its numbers folded below."""
    numbers, figure = plotting.draw(frame, axis)
    words = f"Error against {plain(label_of(axis))}"
    image = f'<img alt="{html.escape(words)}" src="{_embedded(figure)}">'
    return _section(words, f"{image}\n<details><summary>The numbers</summary>{_table(numbers)}</details>")


def _embedded(figure: Figure) -> str:
    """A figure as an address that holds it."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=160, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _section(title: str, content: str) -> str:
    """A section of the page."""
    return f"<h2>{html.escape(title)}</h2>\n{content}"


def _items(lines: Iterable[str]) -> str:
    """A list."""
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _table(table: pd.DataFrame) -> str:
    """A table, cut where it is too long to be read."""
    shown = table.head(MOST_ROWS).to_html(index=False, border=0, float_format="{:.5g}".format)
    cut = f"<p>The first {MOST_ROWS} of {len(table)} rows.</p>" if len(table) > MOST_ROWS else ""
    return f'{cut}<div class="wide">{shown}</div>'
