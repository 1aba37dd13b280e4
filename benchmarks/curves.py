"""Error curves of a parameter study: exact, against the published way of sampling prompts for every point of every curve."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.agreement import deviation, estimate_deviation
from benchmarks.training import DIM, NOISE_STD, published_setting
from lsa_jax import evaluation

SCALES = np.linspace(0.2, 1.0, 9)
SHOTS = np.arange(41)
PROMPTS_A_POINT = 10 * 100_000
"""Prompts that the published study draws for each point of each curve."""

NOTEBOOK_SHOTS, TEST_SEEDS, TEST_PROMPTS, BATCH = np.arange(21), 5, 50_000, 5000
"""The published evaluation of one model on one task."""


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

    from benchmarks.peers import PublishedPretraining, tensors

    problem, _ = published_setting()
    members, task = family(), jnp.eye(DIM)[:1]
    curves = jax.jit(jax.vmap(evaluation.error_curves, (0, None, None, None)))
    exact = np.asarray(curves(members, problem, task, SHOTS))[:, 0]
    value, query_key = tensors(jax.tree.map(lambda leaf: leaf[-1], members))
    peers = [PublishedPretraining(DIM, int(shots), batch_size, NOISE_STD, value, query_key) for shots in SHOTS]

    def sampled() -> list[float]:
        with torch.no_grad():
            return [float(peer.loss()) for peer in peers]

    agreement = deviation("the published sampling", [sampled()[20] for _ in range(20)], float(exact[-1, 20]))

    seconds = timing.interleaved(
        {"published sampling": sampled, "exact curves": lambda: jax.block_until_ready(curves(members, problem, task, SHOTS))}, rounds
    )
    batches = len(SCALES) * PROMPTS_A_POINT / batch_size
    seconds["published sampling"] = [second * batches for second in seconds["published sampling"]]
    ratios = {"exact curves": timing.ratio_interval(seconds["published sampling"], seconds["exact curves"])}
    settings = {"dim": DIM, "members": len(SCALES), "shots": len(SHOTS), "prompts_a_point": PROMPTS_A_POINT, "torch": torch.__version__}
    return timing.record("error_curves", settings, seconds, unit="seconds for all curves", speedup=ratios, agreement=agreement)


def published_evaluation(rounds: int = 5) -> dict[str, Any]:
    """Time the published evaluation of one model, done whole: 21 numbers of shots, five test seeds of 50 000 prompts each.

    Args:
        rounds: timed rounds.

    Returns:
        The record: the published sampling, this project's simulation of as many prompts, and the exact curve.
    """
    import torch

    from benchmarks.peers import PublishedPretraining, tensors

    problem, prior = published_setting()
    params, key = lsa.optima.pretrained(problem, prior, 20), jax.random.key(0)
    value, query_key = tensors(params)
    peers = [PublishedPretraining(DIM, int(shots), BATCH, NOISE_STD, value, query_key) for shots in NOTEBOOK_SHOTS]
    prompts = TEST_SEEDS * TEST_PROMPTS

    def published() -> list[float]:
        with torch.no_grad():
            return [float(np.mean([float(peer.loss()) for _ in range(prompts // BATCH)])) for peer in peers]

    @jax.jit
    def simulated(key: jax.Array) -> lsa.RiskEstimate:
        estimate = lambda shots: lsa.empirical_risk(key, params, problem, jnp.eye(DIM)[0], shots, prompts)  # noqa: E731
        return jax.lax.map(estimate, jnp.asarray(NOTEBOOK_SHOTS, jnp.float32))

    exact = jax.jit(lambda: evaluation.error_curves(params, problem, jnp.eye(DIM)[:1], NOTEBOOK_SHOTS))
    risks, estimate = np.asarray(exact())[0], simulated(key)
    apart = abs(estimate_deviation("the simulation", estimate, risks))
    with torch.no_grad():
        agreement = deviation("the published sampling", [float(peers[20].loss()) for _ in range(40)], float(risks[20]))
    ways: dict[str, Callable[[], object]] = {
        "published sampling": published,
        "simulation": lambda: jax.block_until_ready(simulated(key)),
        "exact curve": lambda: jax.block_until_ready(exact()),
    }
    seconds = timing.interleaved(ways, rounds)
    ratios = {way: timing.ratio_interval(seconds["published sampling"], seconds[way]) for way in ("simulation", "exact curve")}
    settings = {"dim": DIM, "shots": len(NOTEBOOK_SHOTS), "prompts_a_point": prompts, "torch": torch.__version__}
    found = {**agreement, "simulation_largest_deviation_in_standard_errors": apart}
    return timing.record("published_evaluation", settings, seconds, unit="seconds an evaluation", speedup=ratios, agreement=found)
