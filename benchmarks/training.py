"""The published setting's pretraining, and the time of a sampled step against three PyTorch ways."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.agreement import deviation
from lsa_jax import models, objectives, optimizers, regimes, training

DIM, SHOTS, NOISE_STD = 5, 20, 0.1**0.5


def published_setting() -> tuple[lsa.LinearRegression, lsa.SpherePrior]:
    """Return the data law and the task prior of the published experiment."""
    return lsa.LinearRegression(covariance=jnp.eye(DIM), noise_std=NOISE_STD), lsa.SpherePrior(dim=DIM)


def pretraining_run(gradient: str, batch_size: int, steps: int) -> Callable[[jax.Array], training.Trained]:
    """Return a whole pretraining run of the published setting as a function of its key."""
    problem, prior = published_setting()
    settings = training.Settings(steps=steps, history_stride=steps)

    def run(key: jax.Array) -> training.Trained:
        exact = objectives.population_gradient(problem, prior)
        risk = exact if gradient == "population" else objectives.fresh_prompts(problem, prior, batch_size)
        start = models.LINEAR.init(jax.random.fold_in(key, 0), DIM)
        optimizer = optimizers.sgd(0.01, steps, "constant")
        return training.train(jax.random.fold_in(key, 1), regimes.stages("pretrained", risk, SHOTS)[0], start, optimizer, settings)

    return run


def sampled_steps(rounds: int = 9, batch_size: int = 5000, steps: int = 50) -> dict[str, Any]:
    """Time sampled pretraining steps: three PyTorch ways (see `benchmarks.peers`), one seed, and eight seeds at once.

    Args:
        rounds: timed rounds.
        batch_size: prompts a step.
        steps: steps a round.

    Returns:
        The record, with ratios against the published way and against the strongest of the three.
    """
    import torch

    key = jax.random.key(0)
    peers, agreement = _peers(batch_size)
    one = jax.jit(pretraining_run("sampled", batch_size, steps))
    eight, keys = jax.jit(jax.vmap(pretraining_run("sampled", batch_size, steps))), jax.random.split(key, 8)
    ways: dict[str, Callable[[], object]] = {
        **{name: lambda peer=peer: [peer.step() for _ in range(steps)] for name, peer in peers.items()},
        "one seed": lambda: jax.block_until_ready(one(key)),
        "eight seeds": lambda: jax.block_until_ready(eight(keys)),
    }
    seconds = timing.interleaved(ways, rounds)
    per_step = {way: [second / steps / (8 if "eight" in way else 1) for second in taken] for way, taken in seconds.items()}
    strongest = min(peers, key=lambda peer: statistics.median(per_step[peer]))
    published = next(iter(peers))

    def against(peer: str) -> dict[str, tuple[float, float, float]]:
        return {way: timing.ratio_interval(per_step[peer], taken) for way, taken in per_step.items() if way != peer}

    settings = {"dim": DIM, "shots": SHOTS, "batch_size": batch_size, "steps": steps, "torch": torch.__version__, "strongest": strongest}
    told = {"speedup": against(published), "speedup_against_strongest": against(strongest), "agreement": agreement}
    return timing.record("sampled_steps", settings, per_step, unit="seconds a seed and step", **told)


def _peers(batch_size: int) -> tuple[dict[str, Any], dict[str, float]]:
    """The PyTorch ways from one start, and how the published one's loss compares with the exact one."""
    import torch

    from benchmarks.peers import CompiledPretraining, LastTokenPretraining, PublishedPretraining, tensors

    problem, prior = published_setting()
    params = lsa.optima.pretrained(problem, prior, SHOTS)
    value, query_key = tensors(params)
    setting = DIM, SHOTS, batch_size, NOISE_STD, value, query_key
    published, last_token = PublishedPretraining(*setting), LastTokenPretraining(*setting)
    exact = float(lsa.prior_risk(params, problem, prior, SHOTS))
    with torch.no_grad():
        agreement = deviation("the published loss", [float(published.loss()) for _ in range(40)], exact)
        deviation("the last-token loss", [float(last_token.loss()) for _ in range(40)], exact)
    return {
        "published PyTorch step": published,
        "PyTorch, last token only": last_token,
        "PyTorch, compiled, eight seeds": CompiledPretraining(*setting, seeds=8),
    }, agreement
