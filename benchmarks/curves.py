"""Error curves of a parameter study: exact, against the published way of sampling prompts for every point of every curve."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.training import DIM, NOISE_STD, published_setting
from lsa_jax import evaluation

SCALES = np.linspace(0.2, 1.0, 9)
SHOTS = np.arange(41)
PROMPTS_A_POINT = 10 * 100_000
"""Prompts that the published study draws for each point of each curve."""


def family() -> lsa.Params:
    """Return the pretrained optimum at nine scales of its value matrix, batched."""
    problem, prior = published_setting()
    limit = lsa.optima.pretrained(problem, prior, jnp.inf)
    return jax.vmap(lambda scale: lsa.Params(value=scale * limit.value, query_key=limit.query_key))(jnp.asarray(SCALES))


def error_curves(rounds: int = 9, batch_size: int = 5000) -> dict[str, Any]:
    """Time nine curves of 41 numbers of shots, and one batch of prompts at each of these numbers as the published study draws them.

    The published study draws 9 x 10 x 100 000 prompts at each number of shots, for parameters whose values do not change the work: its
    time is that of one batch at each number, times the number of batches.

    Args:
        rounds: timed rounds.
        batch_size: prompts of a timed batch.

    Returns:
        The record, with the errors of both sides at 20 shots.
    """
    import torch

    from benchmarks.peers import PublishedPretraining

    problem, _ = published_setting()
    members, task = family(), jnp.eye(DIM)[:1]
    curves = jax.jit(jax.vmap(evaluation.error_curves, (0, None, None, None)))
    exact = np.asarray(curves(members, problem, task, SHOTS))[:, 0]
    value, query_key = (torch.from_numpy(np.array(leaf[-1], dtype=np.float32)) for leaf in (members.value, members.query_key))
    peers = [PublishedPretraining(DIM, int(shots), batch_size, NOISE_STD, value, query_key) for shots in SHOTS]

    def sampled() -> list[float]:
        with torch.no_grad():
            return [float(peer.loss()) for peer in peers]

    drawn = np.array([sampled() for _ in range(20)])[:, 20]
    deviation = (drawn.mean() - exact[-1, 20]) / (drawn.std(ddof=1) / len(drawn) ** 0.5)
    if abs(deviation) > 5:
        raise RuntimeError(f"the peer computes another error: {drawn.mean():.5f} against {exact[-1, 20]:.5f}, {deviation:.1f} SE")

    seconds = timing.interleaved(
        {"published sampling": sampled, "exact curves": lambda: jax.block_until_ready(curves(members, problem, task, SHOTS))}, rounds
    )
    batches = len(SCALES) * PROMPTS_A_POINT / batch_size
    seconds["published sampling"] = [second * batches for second in seconds["published sampling"]]
    ratios = {"exact curves": timing.ratio_interval(seconds["published sampling"], seconds["exact curves"])}
    settings = {"dim": DIM, "members": len(SCALES), "shots": len(SHOTS), "prompts_a_point": PROMPTS_A_POINT, "torch": torch.__version__}
    agreement = {"peer_error": float(drawn.mean()), "exact_error": float(exact[-1, 20]), "deviation_in_standard_errors": float(deviation)}
    return timing.record("error_curves", settings, seconds, unit="seconds for all curves", speedup=ratios, agreement=agreement)
