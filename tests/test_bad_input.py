"""Bad input gets one clear error - got, wanted, mend - before anything is computed."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import dynamics, evaluation, objectives, optima, prompts, proportional
from lsa_jax.objectives import empirical_fisher
from lsa_jax.plotting.summaries import spread_name
from lsa_jax.sweeps import cluster
from lsa_jax.targets import chips

KEY = jax.random.key(0)
PROBLEM = lsa.LinearRegression(covariance=np.eye(3), noise_std=0.5)
PARAMS = lsa.Params(value=np.eye(5), query_key=np.eye(5))
TASK = np.ones(3)
SPHERE = lsa.SpherePrior(dim=3)
PRETRAINED = optima.pretrained(PROBLEM, SPHERE, 20)

CASES: dict[str, tuple[Callable[[], object], str]] = {
    "covariance not square": (
        lambda: lsa.LinearRegression(covariance=np.ones((2, 3)), noise_std=0.1),
        r"covariance has shape \(2, 3\); it must be square, \(dim, dim\)",
    ),
    "covariance a vector": (
        lambda: lsa.LinearRegression(covariance=np.ones(3), noise_std=0.1),
        r"covariance has shape \(3,\); it must have shape \(dim, dim\)",
    ),
    "covariance not symmetric": (
        lambda: lsa.LinearRegression(covariance=np.array([[1.0, 0.5], [0.0, 1.0]]), noise_std=0.1),
        r"covariance is not symmetric .*pass \(A \+ A.T\) / 2",
    ),
    "covariance not positive definite": (
        lambda: lsa.LinearRegression(covariance=np.diag([1.0, -1.0]), noise_std=0.1),
        "covariance is not positive definite .*smallest eigenvalue -1.*add a small multiple of the identity",
    ),
    "covariance singular": (
        lambda: lsa.LinearRegression(covariance=np.ones((2, 2)), noise_std=0.1),
        "covariance is not positive definite",
    ),
    "covariance with NaN": (
        lambda: lsa.LinearRegression(covariance=np.array([[np.nan]]), noise_std=0.1),
        "covariance holds NaN or infinity; every entry must be finite",
    ),
    "covariance complex": (
        lambda: lsa.LinearRegression(covariance=np.eye(2) * 1j, noise_std=0.1),
        "covariance is complex; it must be real",
    ),
    "dim 0": (
        lambda: lsa.LinearRegression(covariance=np.ones((0, 0)), noise_std=0.1),
        r"covariance has shape \(0, 0\); .*every size at least 1",
    ),
    "quantiles not rising": (
        lambda: spread_name((0.75, 0.25)),
        "quantiles are 0.75 and 0.25; they must be two levels, the lower one first",
    ),
    "quantile above 1": (
        lambda: spread_name((0.25, 1.5)),
        "quantiles is 1.5; it must be a finite number, at least 0 and at most 1",
    ),
    "noise negative": (
        lambda: lsa.LinearRegression(covariance=np.eye(2), noise_std=-0.1),
        "noise_std is -0.1; it must be at least 0",
    ),
    "noise infinite": (
        lambda: lsa.LinearRegression(covariance=np.eye(2), noise_std=np.inf),
        "noise_std holds NaN or infinity",
    ),
    "params not square": (
        lambda: lsa.Params(value=np.ones((5, 4)), query_key=np.ones((5, 5))),
        r"value has shape \(5, 4\); it must be square",
    ),
    "params too small": (
        lambda: lsa.Params(value=np.eye(2), query_key=np.eye(2)),
        r"value has shape \(2, 2\); it must be square, \(dim \+ 2, dim \+ 2\) with dim at least 1",
    ),
    "params of two sizes": (
        lambda: lsa.Params(value=np.eye(5), query_key=np.eye(4)),
        r"query_key has shape \(4, 4\); it must have shape \(5, 5\)",
    ),
    "heads of two sizes": (
        lambda: lsa.MultiHeadParams(value=np.ones((2, 5, 5)), query_key=np.ones((3, 5, 5))),
        r"query_key has shape \(3, 5, 5\); it must have shape \(2, 5, 5\)",
    ),
    "heads without an axis": (
        lambda: lsa.MultiHeadParams(value=np.ones((5, 5)), query_key=np.ones((5, 5))),
        r"value has shape \(5, 5\); it must have shape \(heads, dim \+ 2, dim \+ 2\)",
    ),
    "no heads": (
        lambda: lsa.SeparateParams(value=np.ones((0, 5, 5)), query=np.ones((0, 5, 5)), key=np.ones((0, 5, 5))),
        r"value has shape \(0, 5, 5\); .*every size at least 1",
    ),
    "heads not square": (
        lambda: lsa.SeparateParams(value=np.ones((1, 2, 2)), query=np.ones((1, 2, 2)), key=np.ones((1, 2, 2))),
        r"value has shape \(1, 2, 2\); it must be square, \(heads, dim \+ 2, dim \+ 2\) with dim at least 1",
    ),
    "heads for another dim": (
        lambda: lsa.prediction_distance(PARAMS, lsa.MultiHeadParams(np.ones((2, 4, 4)), np.ones((2, 4, 4))), PROBLEM, TASK, 1),
        r"made for dim 2, but the problem has dim 3; pass params of shape \(2, 5, 5\)",
    ),
    "projected softmax": (
        lambda: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, 1, sampler="projected", model=lsa.models.SOFTMAX),
        "the projected sampler is exact only for linear attention, without MLP and norm, on Gaussian covariates; use sampler='tokens'",
    ),
    "level of a quantile": (
        lambda: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, 1, quantiles=(0.5, 1.5)),
        r"quantiles are \(0.5, 1.5\); their levels must be from 0 to 1",
    ),
    "distance with a fractional number of shots": (
        lambda: lsa.prediction_distance(PARAMS, PARAMS, PROBLEM, TASK, 0.5),
        "num_shots is 0.5; it must be a whole number",
    ),
    "params for another dim": (
        lambda: lsa.population_risk(lsa.Params(value=np.eye(4), query_key=np.eye(4)), PROBLEM, TASK, 1),
        r"made for dim 2, but the problem has dim 3; pass params of shape \(5, 5\)",
    ),
    "task of another dim": (
        lambda: lsa.population_risk(PARAMS, PROBLEM, np.ones(4), 1),
        r"task has shape \(4,\); it must have shape \(3,\)",
    ),
    "task with infinity": (
        lambda: lsa.population_risk(PARAMS, PROBLEM, np.array([1.0, np.inf, 0.0]), 1),
        "task holds NaN or infinity",
    ),
    "shots negative": (
        lambda: lsa.population_risk(PARAMS, PROBLEM, TASK, -1),
        "num_shots is -1; it must be a whole number, at least 0, or jnp.inf",
    ),
    "shots fractional": (
        lambda: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, 1.5),
        "num_shots is 1.5; it must be a whole number",
    ),
    "shots NaN": (lambda: lsa.prior_risk(PARAMS, PROBLEM, SPHERE, np.nan), "num_shots is nan"),
    "shots an array": (
        lambda: lsa.population_risk(PARAMS, PROBLEM, TASK, np.arange(3)),
        r"num_shots has shape \(3,\); it must be a scalar: vmap",
    ),
    "no shots to pretrain on": (
        lambda: optima.pretrained(PROBLEM, SPHERE, 0),
        "num_shots is 0; it must be a whole number, at least 1",
    ),
    "no shots for the auxiliary loss": (
        lambda: optima.value_auxiliary(PARAMS, PROBLEM, TASK, 0),
        "num_shots is 0; it must be a whole number, at least 1",
    ),
    "one prompt": (
        lambda: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, 1, 1),
        "num_prompts is 1; it must be a whole number, at least 2",
    ),
    "unknown sampler": (
        lambda: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, 1, sampler="token"),
        "unknown sampler 'token'; it must be one of projected, tokens. Did you mean 'tokens'",
    ),
    "target task zero": (lambda: optima.full(PROBLEM, np.zeros(3), 1.0), "task is the zero vector"),
    "scale zero": (lambda: optima.full(PROBLEM, TASK, 0.0), "scale is 0; it must not be zero"),
    "neither scale nor start": (lambda: optima.full(PROBLEM, TASK), "neither scale nor start is given"),
    "params that cannot be balanced": (
        lambda: optima.balanced(lsa.Params(value=np.zeros((5, 5)), query_key=np.eye(5)), 0.0),
        "squared norm of value where it acts is 0",
    ),
    "cosine above 1": (
        lambda: evaluation.task_at_cosine(KEY, PROBLEM, TASK, 1.5),
        "cosine is 1.5; it must be between -1 and 1",
    ),
    "curve with a negative number of shots": (
        lambda: evaluation.error_curves(PARAMS, PROBLEM, TASK[None], np.array([0.0, -2.0])),
        "evaluation_shots is -2",
    ),
    "prior mean and covariance of two sizes": (
        lambda: lsa.GaussianPrior(mean=np.zeros(3), covariance=np.eye(2)),
        r"prior covariance has shape \(2, 2\); it must have shape \(3, 3\)",
    ),
    "prior covariance not positive semidefinite": (
        lambda: lsa.GaussianPrior(mean=np.zeros(2), covariance=np.diag([1.0, -1e-3])),
        "prior covariance is not positive semidefinite",
    ),
    "sphere of dim 0": (lambda: lsa.SpherePrior(dim=0), "dim is 0; it must be a whole number, at least 1"),
    "sphere of radius 0": (lambda: lsa.SpherePrior(dim=2, radius=0.0), "radius is 0; it must not be zero"),
    "sphere of negative radius": (lambda: lsa.SpherePrior(dim=2, radius=-1.0), "radius is -1; it must be at least 0"),
    "no tasks": (
        lambda: lsa.FiniteTasks(tasks=np.ones((0, 3))),
        r"tasks has shape \(0, 3\); .*every size at least 1",
    ),
    "prior of another dim": (
        lambda: lsa.prior_risk(PARAMS, PROBLEM, lsa.SpherePrior(dim=4), 1),
        "prior has dim 4 but the problem has dim 3",
    ),
    "pool of size 0": (
        lambda: prompts.sample_pool(KEY, PROBLEM, jnp.ones(3), 0),
        "pool size is 0; it must be a whole number, at least 1",
    ),
    "pool without examples": (
        lambda: prompts.Pool(x=np.ones((0, 3)), y=np.ones(0)),
        r"pool x has shape \(0, 3\)",
    ),
    "pool of two sizes": (
        lambda: prompts.Pool(x=np.ones((4, 3)), y=np.ones(3)),
        r"pool y has shape \(3,\); it must have shape \(4,\)",
    ),
    "batch of 0": (
        lambda: objectives.fresh_prompts(PROBLEM, SPHERE, 0),
        "batch_size is 0; it must be a whole number, at least 1",
    ),
    "address of a scheduler": (
        lambda: cluster.executor("localhost:8786").__enter__(),
        "--scheduler got 'localhost:8786'; it must be tcp://HOST:PORT as `dask scheduler` prints it",
    ),
    "unknown target": (lambda: chips.target("h20"), "unknown target 'h20'; it must be one of .* Did you mean 'h200'?"),
    "one folder to merge": (
        lambda: lsa.merge_sweeps(["sweep"], "out"),
        "merge got 1 folders; it takes two at least",
    ),
    "unknown covariance": (
        lambda: lsa.covariances.from_text("powerlaw:1", 3),
        "unknown covariance 'powerlaw'.*Did you mean 'power_law'",
    ),
    "spectrum of another dim": (
        lambda: lsa.covariances.from_text("diagonal:1,2", 3),
        r"diagonal spectrum has shape \(2,\); it must have shape \(3,\)",
    ),
    "exponent no number": (
        lambda: lsa.covariances.from_text("power_law:a", 3),
        "power_law exponent is 'a'; it must be a number",
    ),
    "rotated again": (
        lambda: lsa.covariances.from_text("rotated:" * 1000 + "isotropic", 3),
        "covariance is 'rotated:.*; it can be rotated once",
    ),
    "eigenvalue zero": (lambda: lsa.covariances.diagonal(np.array([1.0, 0.0])), "covariance is not positive definite"),
    "training on covariates of two variances": (
        lambda: dynamics.largest_rate(lsa.LinearRegression(covariance=np.diag([1.0, 2.0, 1.0]), noise_std=0.1), 1.0, 8),
        "the covariance is not a multiple of the identity, .*pass an isotropic problem",
    ),
    "momentum 1": (lambda: dynamics.largest_rate(PROBLEM, 1.0, 8, momentum=1.0), "momentum is 1; it must be below 1"),
    "batch of less than one": (lambda: dynamics.largest_rate(PROBLEM, 1.0, 0.5), "batch_size is 0.5; it must be a whole number"),
    "rate zero": (
        lambda: dynamics.stationary_excess(PROBLEM, TASK, 1.0, 0.0, 8),
        "learning_rate is 0; it must not be zero",
    ),
    "clipping to nothing": (lambda: dynamics.clipped_fixed_point(PROBLEM, TASK, 1.0, 0.0), "clip_norm is 0; it must not be zero"),
    "flow from a start that is not pretrained": (
        lambda: dynamics.full_tuning(PROBLEM, TASK, PARAMS.replace(query_key=np.ones((5, 5))), np.ones(1)),
        "start is not zero but for .*start from optima.pretrained",
    ),
    "times that fall": (
        lambda: dynamics.full_tuning(PROBLEM, TASK, PRETRAINED, np.array([1.0, 0.5])),
        "times are negative or not increasing",
    ),
    "all of the worth lost": (
        lambda: dynamics.forgetting_time(PROBLEM, SPHERE, TASK, PRETRAINED, 20, share=1.0),
        "share is 1; it must be above 0 and below 1",
    ),
    "nothing to lose": (
        lambda: dynamics.forgetting_time(PROBLEM, SPHERE, TASK, PRETRAINED.replace(value=-PRETRAINED.value), 20),
        "examples are worth nothing to the start",
    ),
    "unknown prior": (lambda: lsa.priors.from_text("spere", 3), "unknown prior 'spere'.*Did you mean 'sphere'"),
    "slice of the wrong dimension": (
        lambda: optima.pretrained_slice(PROBLEM, lsa.SpherePrior(dim=2), 20),
        "prior has dim 2 but the problem has dim 3",
    ),
    "slice at 0 shots": (
        lambda: optima.pretrained_slice(PROBLEM, SPHERE, 0),
        "num_shots is 0; it must be a whole number, at least 1",
    ),
    "no rounds": (
        lambda: optima.alternating(PARAMS, PROBLEM, SPHERE, 20, 0),
        "num_rounds is 0; it must be a whole number, at least 1",
    ),
    "no tasks a dimension": (
        lambda: proportional.pool_errors(10.0, 0.0, 0.1),
        "pool_ratio is 0.0; it must be one number above 0, or infinity",
    ),
    "too few prompts a squared dimension": (
        lambda: proportional.pool_errors(10.0, 0.6, 0.1, 1.0),
        "prompt_ratio is 1.0; it must be one number above 1, or infinity",
    ),
    "cosine beyond 1": (
        lambda: evaluation.tasks_at_cosine(PROBLEM, TASK, 1.5),
        "cosine is 1.5; it must be between -1 and 1",
    ),
    "cosine between on a line": (
        lambda: evaluation.tasks_at_cosine(lsa.LinearRegression(np.eye(1), 0.5), np.ones(1), 0.0),
        "dimension is 1, where only θ₀ and -θ₀ have its size; give at least 2",
    ),
    "empirical Fisher without prompts": (
        lambda: empirical_fisher.empirical_diagonal(
            dataclasses.replace(lsa.lab.exact_inputs(PROBLEM, SPHERE, TASK, 20), prior=None), KEY, PRETRAINED
        ),
        "inputs lack the problem or the prior",
    ),
    "label sums of infinitely many examples": (
        lambda: prompts.sample_label_sums(KEY, PROBLEM, np.ones((3, 2)), np.inf),
        "num_shots is infinite; sums are drawn over a finite number of examples",
    ),
    "fewer prompts than unknowns": (
        lambda: lsa.prompt_ridge(KEY, PROBLEM, SPHERE, 20, 12),
        "num_prompts is 12, no more than the 12 unknowns: draw more, or set a penalty above 0",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_with_what_was_got_and_wanted(case: str) -> None:
    call, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_no_prior_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="it must be a GaussianPrior, SpherePrior or FiniteTasks"):
        lsa.priors.require_prior_dim(TASK, 3)
