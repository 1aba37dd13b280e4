"""Interruptions while the command line is imported, in garbage collections, and in code that drops or renames what is raised."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import gc, signal, sys, time
from lsa_jax import cli

def interrupt(*_):
    gc.callbacks.clear()
    signal.raise_signal(signal.SIGINT)

@cli.app.command
def work():
    {work}

sys.argv = ["lsa-jax", "work"]
cli.main()
"""

RENAMED = """
    try:
        interrupt()
    except KeyboardInterrupt:
        raise ImportError("numpy failed to import") from None
"""

ONCE = "gc.callbacks.append(interrupt); gc.collect(); "

WORK = {
    "raised": "interrupt()",
    "in a garbage collection": f"{ONCE}time.sleep(60)",
    "in two garbage collections": f"{ONCE}{ONCE}time.sleep(60)",
    "renamed by a library": RENAMED.strip(),
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of Python that finds the modules of a folder before all others."""
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=50, env=environment)


@pytest.mark.parametrize("case", WORK)
def test_an_interruption_ends_a_command_without_a_word(case: str, tmp_path: Path) -> None:
    done = run(tmp_path, "-c", COMMAND.format(work=WORK[case]))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interruption_waits_for_the_end_of_an_import(tmp_path: Path) -> None:
    (tmp_path / "compiled.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.3)\nprint('whole')\n")
    done = run(tmp_path, "-c", COMMAND.format(work="import compiled; time.sleep(60)"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "whole\n", "")


def test_an_interruption_ends_the_imports_of_a_command_at_once(tmp_path: Path) -> None:
    (tmp_path / "compiled.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    done = run(tmp_path, "-c", COMMAND.format(work="exec('import compiled', vars(cli))"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interruption_ends_the_imports_of_the_command_line_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    done = run(tmp_path, "-m", "lsa_jax", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_other_errors_that_cannot_be_raised_are_still_told(tmp_path: Path) -> None:
    work = "gc.callbacks.append(lambda *_: 1 / 0 if gc.callbacks.clear() is None else None); gc.collect()"
    done = run(tmp_path, "-c", COMMAND.format(work=work))
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr
