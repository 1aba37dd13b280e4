"""Training throughput: sampled steps against the published PyTorch step, and whole population-gradient runs over seeds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from lsa_jax import objectives, optimizers, training

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
        start = training.initial_params(jax.random.fold_in(key, 0), DIM)
        optimizer = optimizers.sgd(0.01, steps, "constant")
        return training.train(jax.random.fold_in(key, 1), objectives.pretraining(risk, SHOTS), start, optimizer, settings)

    return run


def sampled_steps(rounds: int = 9, batch_size: int = 5000, steps: int = 100) -> dict[str, Any]:
    """Time sampled pretraining steps: the published PyTorch step, one seed, and eight seeds at once.

    Args:
        rounds: timed rounds.
        batch_size: prompts a step.
        steps: steps a round.

    Returns:
        The record, with the losses of both sides at the same parameters.
    """
    import torch

    from benchmarks.peers import PublishedPretraining

    key = jax.random.key(0)
    problem, prior = published_setting()
    params = lsa.optima.pretrained(problem, prior, SHOTS)
    value, query_key = (torch.from_numpy(np.array(leaf, dtype=np.float32)) for leaf in (params.value, params.query_key))
    peer = PublishedPretraining(DIM, SHOTS, batch_size, NOISE_STD, value, query_key)
    with torch.no_grad():
        losses = [float(peer.loss()) for _ in range(40)]
    exact = float(lsa.prior_risk(params, problem, prior, SHOTS))
    deviation = (np.mean(losses) - exact) / (np.std(losses, ddof=1) / len(losses) ** 0.5)
    if abs(deviation) > 5:
        raise RuntimeError(f"the peer computes another loss: {np.mean(losses):.5f} against {exact:.5f}, {deviation:.1f} SE")

    one = jax.jit(pretraining_run("sampled", batch_size, steps))
    eight = jax.jit(jax.vmap(pretraining_run("sampled", batch_size, steps)))
    keys = jax.random.split(key, 8)
    ways: dict[str, Callable[[], object]] = {
        "published PyTorch step": lambda: [peer.step() for _ in range(steps)],
        "one seed": lambda: jax.block_until_ready(one(key)),
        "eight seeds": lambda: jax.block_until_ready(eight(keys)),
    }
    seconds = timing.interleaved(ways, rounds)
    seconds["eight seeds"] = [second / 8 for second in seconds["eight seeds"]]
    ratios = {way: timing.ratio_interval(seconds["published PyTorch step"], seconds[way]) for way in ("one seed", "eight seeds")}
    settings = {"dim": DIM, "shots": SHOTS, "batch_size": batch_size, "steps": steps, "torch": torch.__version__}
    agreement = {"peer_loss": float(np.mean(losses)), "exact_loss": exact, "deviation_in_standard_errors": float(deviation)}
    return timing.record("sampled_steps", settings, seconds, unit="seconds a seed and round", speedup=ratios, agreement=agreement)


def population_runs(rounds: int = 9, steps: int = 5000) -> dict[str, Any]:
    """Time whole population-gradient pretraining runs of 1 and 64 seeds in one call.

    Args:
        rounds: timed rounds.
        steps: steps of a run.

    Returns:
        The record, with the largest distance of a trained model to the closed form.
    """
    single, many = jax.jit(pretraining_run("population", 0, steps)), jax.jit(jax.vmap(pretraining_run("population", 0, steps)))
    keys = jax.random.split(jax.random.key(0), 64)
    cold = timing.once(lambda: jax.block_until_ready(many(keys)))
    params = many(keys).params
    trained = params.value[:, -1, -1, None, None] * params.query_key[:, 1:-1, 1:-1]
    distance = float(jnp.abs(trained - 21 / 26.5 * jnp.eye(DIM)).max())
    if distance > 1e-3:
        raise RuntimeError(f"trained models are {distance:.2g} from the closed form")
    seconds = timing.interleaved(
        {
            "1 seed": lambda: jax.block_until_ready(single(keys[0])),
            "64 seeds": lambda: jax.block_until_ready(many(keys)),
        },
        rounds,
    )
    settings = {"dim": DIM, "shots": SHOTS, "steps": steps}
    return timing.record(
        "population_runs", settings, seconds, unit="seconds a call", first_call_64_seeds=cold, distance_to_closed_form=distance
    )
