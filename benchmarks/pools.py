"""Finite task pools: regression on prompts against the published loop over them, and the Bayes estimator of a large pool."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from lsa_jax import estimators, prompt_regression

DIM, SHOT_RATIO, TASK_RATIO, PROMPT_RATIO, NOISE_STD = 64, 10, 0.6, 2, 0.1
"""Dimension, and examples, tasks and prompts over it, its square for prompts: one of the 240 solves of the published figure."""

LARGEST_DIFFERENCE = 1e-7
"""Relative difference of two solutions on the same prompts beyond which nothing is timed."""

POOL_DIM, TASKS, POINTS, PROMPTS, POOL_NOISE = 8, 2**14, 16, 10_000, 0.5
LOOPED = 20
"""Prompts that the loop over prompts is timed on."""


def prompt_regression_solves(rounds: int = 3) -> dict[str, Any]:
    """Time one fit on drawn prompts, drawing included, in float64.

    The published way draws the tokens of one prompt after the other, writes down all d(d + 1) products of features and query, and solves
    the dense normal equations.

    Args:
        rounds: timed rounds.

    Returns:
        The record.
    """
    shots, count = SHOT_RATIO * DIM, PROMPT_RATIO * DIM**2
    with jax.enable_x64(True):
        problem = lsa.LinearRegression(covariance=jnp.eye(DIM), noise_std=NOISE_STD)
        pool = lsa.FiniteTasks(tasks=lsa.SpherePrior(dim=DIM).sample(jax.random.key(0), round(TASK_RATIO * DIM)).T)
        tasks, key = np.asarray(pool.tasks), jax.random.key(1)
        ours = lsa.prompt_ridge(key, problem, pool, shots, count)
        drawn = [np.asarray(part) for part in prompt_regression.sample_regression(key, problem, pool, float(shots), count)]
        dense = dense_solution(*drawn)
        difference = float(np.abs(np.asarray(ours.query_key)[1:, 1:-1] - dense).max() / np.abs(dense).max())
        if difference > LARGEST_DIFFERENCE:
            raise RuntimeError(f"two solutions on the same prompts differ by {difference:.1e} of their size: nothing is timed")
        ways = {
            "published loop": lambda: dense_solution(*looped_regression(np.random.default_rng(0), tasks, shots, count)),
            "prompt_ridge": lambda: jax.block_until_ready(lsa.prompt_ridge(key, problem, pool, shots, count)),
        }
        seconds = timing.interleaved(ways, rounds)
    ratio = timing.ratio_interval(seconds["published loop"], seconds["prompt_ridge"])
    settings = {"dim": DIM, "shots": shots, "tasks": len(tasks), "prompts": count, "load": os.getloadavg()}
    extra = {"unit": "seconds a solve", "speedup": {"prompt_ridge": ratio}, "agreement": {"largest_relative_difference": difference}}
    return timing.record("prompt_regression", settings, seconds, **extra)


def looped_regression(random: np.random.Generator, tasks: np.ndarray, shots: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw prompts one after the other, with all their tokens.

    Args:
        random: randomness.
        tasks: the pool, one task a row.
        shots: examples a prompt.
        count: number of prompts.

    Returns:
        Features of the contexts, queries and their labels, one prompt a row.
    """
    dim = tasks.shape[1]
    features, queries, labels = np.empty((count, dim + 1)), np.empty((count, dim)), np.empty(count)
    for row in range(count):
        task = tasks[random.integers(len(tasks))]
        x = random.standard_normal((shots + 1, dim))
        y = x @ task + NOISE_STD * random.standard_normal(shots + 1)
        features[row] = np.append(y[:-1] @ x[:-1], y[:-1] @ y[:-1]) / (shots + 1)
        queries[row], labels[row] = x[-1], y[-1]
    return features, queries, labels


def dense_solution(features: np.ndarray, queries: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Solve the dense normal equations of the regression.

    Args:
        features: features of the contexts, one prompt a row.
        queries: queries.
        labels: their labels.

    Returns:
        The coefficients, features by entries of the query.
    """
    rows = np.stack([np.outer(feature, query).ravel() for feature, query in zip(features, queries, strict=True)])
    return np.linalg.solve(rows.T @ rows, rows.T @ labels).reshape(features.shape[1], queries.shape[1])


def pool_estimator(rounds: int = 5) -> dict[str, Any]:
    """Time the Bayes estimator of a large pool of tasks on prompts of that pool, drawn and judged.

    Args:
        rounds: timed rounds.

    Returns:
        The record: beside it a loop over prompts in numpy, which scores all tasks of the pool at once, on a part of the prompts.
    """
    pool = lsa.FiniteTasks(tasks=jax.random.normal(jax.random.key(0), (TASKS, POOL_DIM)))
    problem = lsa.LinearRegression(covariance=jnp.eye(POOL_DIM), noise_std=POOL_NOISE)
    known, task = estimators.KnownPool(tasks=pool.tasks, noise_std=POOL_NOISE), pool.tasks[0]
    draw = jax.vmap(lambda key: lsa.prompts.sample_prompt(key, problem, task, POINTS).tokens)
    tokens = draw(jax.random.split(jax.random.key(1), LOOPED))
    predicted = np.asarray(jax.vmap(lambda one: estimators.pool_mean(known, one))(tokens))
    looped = looped_pool_means(np.asarray(pool.tasks, np.float64), np.asarray(tokens, np.float64))
    difference = float(np.abs(predicted - looped).max())
    if difference > 1e-3:
        raise RuntimeError(f"two predictions for the same prompt differ by {difference:.1e}: nothing is timed")

    def estimated() -> lsa.RiskEstimate:
        return jax.block_until_ready(
            lsa.empirical_risk(jax.random.key(2), known, problem, pool, POINTS, PROMPTS, model=estimators.pool_mean)
        )

    tasks, rows = np.asarray(pool.tasks), np.asarray(tokens)
    seconds = timing.interleaved({"loop over prompts": lambda: looped_pool_means(tasks, rows), "pool_mean": estimated}, rounds)
    seconds["loop over prompts"] = [taken * PROMPTS / LOOPED for taken in seconds["loop over prompts"]]
    ratio = timing.ratio_interval(seconds["loop over prompts"], seconds["pool_mean"])
    settings = {"tasks": TASKS, "points": POINTS, "prompts": PROMPTS, "looped": LOOPED, "load": os.getloadavg()}
    extra = {"unit": "seconds for all prompts", "speedup": {"pool_mean": ratio}, "agreement": {"largest_difference": difference}}
    return timing.record("pool_estimator", settings, seconds, **extra)


def looped_pool_means(tasks: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Predict one prompt after the other with the posterior mean over a pool.

    Args:
        tasks: the pool, one task a row.
        prompts: tokens (1, x, y) of each prompt, the query last.

    Returns:
        The predictions.
    """
    found = []
    for tokens in prompts:
        errors = tokens[:-1, -1] - tasks @ tokens[:-1, 1:-1].T
        logs = -np.sum(errors**2, axis=1) / (2 * POOL_NOISE**2)
        weights = np.exp(logs - logs.max())
        found.append(weights @ (tasks @ tokens[-1, 1:-1]) / weights.sum())
    return np.array(found)
