"""Watching a sweep from outside: told until it is complete, and left without harm."""

import shutil
from pathlib import Path

import pytest

from lsa_jax import commands
from lsa_jax.sweeps import state

GOLDEN = Path(__file__).parent / "golden" / "sweep"


@pytest.fixture
def unfinished(tmp_path: Path) -> tuple[Path, Path]:
    """A sweep that lacks a chunk, and the chunk."""
    out = tmp_path / "sweep"
    shutil.copytree(GOLDEN, out)
    lacking = sorted((out / "chunks").glob("*.parquet"))[0]
    return out, lacking.rename(tmp_path / lacking.name)


def test_a_sweep_is_told_again_until_it_is_complete(
    unfinished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lacking = unfinished
    pauses = []

    def finish(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            lacking.rename(out / "chunks" / lacking.name)

    monkeypatch.setattr(state.time, "sleep", finish)
    assert commands.status(out) == 75
    assert commands.status(out, watch=True) == commands.status(GOLDEN) == 0
    assert len(pauses) == 2
    assert min(pauses) >= state.WATCH_SECONDS
    told = capsys.readouterr().out
    assert told.splitlines().count("cells done        276 of 276 (100.0%)") == 2
    assert "cells/s" in told


def test_an_interruption_ends_the_watching_alone(unfinished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = unfinished
    before = sorted(out.rglob("*"))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(state.time, "sleep", interrupt)
    assert commands.status(out, watch=True) == 75
    assert sorted(out.rglob("*")) == before


def test_a_complete_sweep_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.time, "sleep", lambda seconds: pytest.fail("there is nothing to wait for"))
    assert commands.status(GOLDEN, watch=True) == 0
