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


@pytest.mark.parametrize("case", WORK)
def test_an_interruption_ends_a_command_without_a_word(case: str) -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND.format(work=WORK[case])], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interruption_ends_the_imports_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-m", "lsa_jax", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_other_errors_that_cannot_be_raised_are_still_told() -> None:
    work = "gc.callbacks.append(lambda *_: 1 / 0 if gc.callbacks.clear() is None else None); gc.collect()"
    done = subprocess.run([sys.executable, "-c", COMMAND.format(work=work)], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr
