"""Cold starts of the command line, each in a fresh process."""

import functools
import subprocess
import sys
from typing import Any

from benchmarks import timing
from benchmarks.storage import EXPERIMENT

FIRST_RISK = """
import jax.numpy as jnp, lsa_jax as lsa
problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.3)
params = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), 20)
print(lsa.population_risk(params, problem, jnp.eye(5)[0], 20))
"""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import jax": ["-c", "import jax"],
    "import lsa_jax": ["-c", "import lsa_jax"],
    "lsa-jax --help": ["-m", "lsa_jax", "--help"],
    "lsa-jax sweep --dry-run": ["-m", "lsa_jax", "sweep", str(EXPERIMENT), "--out", "unused", "--dry-run"],
    "first exact risk": ["-c", FIRST_RISK],
}


def cold_start(rounds: int = 7) -> dict[str, Any]:
    """Time whole processes.

    Args:
        rounds: timed rounds.

    Returns:
        The record.
    """
    ways = {name: functools.partial(_start, arguments) for name, arguments in COMMANDS.items()}
    return timing.record("cold_start", {"cache": "warm files"}, timing.interleaved(ways, rounds), unit="seconds a process")


def _start(arguments: list[str]) -> None:
    """One process from its start to its end."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
