"""What changes when an assumption is dropped, one at a time: exactly where there is a closed form, else by simulation."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import empirical, experiment, objectives, optima, optimizers, priors, prompts, regimes, training
from lsa_jax.attention import predict_from_gram
from lsa_jax.claims.case import PUBLISHED_RATE, Case
from lsa_jax.claims.value_minimum import fitted_value
from lsa_jax.experiment import Lineage
from lsa_jax.params import Params
from lsa_jax.population import population_risk
from lsa_jax.regimes import Family, reached_scale
from lsa_jax.setting import Setting

LAWS = {"uniform": prompts.uniform, "Rademacher": prompts.rademacher, "Student t, 13 degrees of freedom": prompts.student_t(13.0)}
POOLS = (1000, 100_000)
REDRAWN = 16
"""Pools over which the effect of a finite pool is averaged."""

TOKEN_SHARE = 10
"""Tokens cost more to draw than projections: so many times fewer prompts where they are needed."""

PUBLISHED_STEPS = 5000
STEPS = (500, PUBLISHED_STEPS)
"""Steps of the annealed run that stands in for the constrained optimum."""

CLIPPED = ((64, 1.0), (16, 1.0), (16, 4.0))
"""Batch sizes, and norms to which sampled gradients are clipped."""

CLIPPED_STEPS = 2000
"""Steps of a run on sampled gradients, from the optimum on."""


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """One number as assumed and with the assumption dropped; `standard_error` is that of the second, 0 where both are exact."""

    dropped: str
    error: str
    assumed: float
    changed: float
    standard_error: float = 0.0


def sensitivities(case: Case) -> list[Sensitivity]:
    """Drop the assumptions of a setting one by one.

    Args:
        case: the setting.

    Returns:
        One row a change.
    """
    return [
        *_normaliser(case),
        *_query_outside(case),
        _other_prior(case),
        *_covariate_laws(case),
        *_pools(case),
        _infinite_context(case),
        *_annealed(case),
        _published_optimiser(case),
        *_clipping(case),
    ]


def predict_without_query(params: Params, tokens: Float[Array, "num_tokens token"], num_tokens: ArrayLike) -> Float[Array, ""]:
    """Predict with the query token left out of the sum, and the same normaliser.

    Args:
        params: V and Q.
        tokens: the prompt.
        num_tokens: number of tokens.

    Returns:
        The prediction.
    """
    return predict_from_gram(params, tokens[:-1].T @ tokens[:-1], tokens[-1], num_tokens)


def _normaliser(case: Case) -> list[Sensitivity]:
    """1/n in place of 1/(n + 1): predictions grow by (n + 1)/n, which another scale of the optimum undoes at n = m."""
    shots, params = case.settings.shots, case.pretrained()
    grown = Params(value=params.value * (shots + 1) / shots, query_key=params.query_key)
    m = case.settings.pretraining_shots
    tuned = Params(value=grown.value * m / (m + 1), query_key=params.query_key)
    name = f"pretrained, n = {shots}, θ₀"
    return [
        Sensitivity("normaliser 1/n, same parameters", name, _risk(case, params), _risk(case, grown)),
        Sensitivity("normaliser 1/n, pretrained with it", name, _risk(case, params), _risk(case, tuned)),
    ]


def _query_outside(case: Case) -> list[Sensitivity]:
    """Without the query token in the sum every zero-shot prediction is 0: zero-shot fine-tuning has nothing to act on."""
    tuned = optima.value(case.pretrained(), case.problem, case.target_task)
    shots = case.settings.shots
    outside = _simulated(case, 1650, tuned, model=predict_without_query)
    zero_shot = float(population_risk(tuned, case.problem, case.target_task, 0))
    return [
        Sensitivity("query token outside the sum", "value, n = 0, θ₀", zero_shot, case.noise_variance + case.size),
        Sensitivity("query token outside the sum, at test only", f"value, n = {shots}, θ₀", _risk(case, tuned), *outside),
    ]


def _other_prior(case: Case) -> Sensitivity:
    """The other prior of the two that the paper's theory and code use."""
    other = "gaussian" if case.settings.prior.startswith("sphere") else "sphere"
    params = optima.pretrained(case.problem, priors.from_text(other, case.settings.dim), case.settings.pretraining_shots)
    return Sensitivity(f"{other} prior", f"pretrained, n = {case.settings.shots}, θ₀", _risk(case, case.pretrained()), _risk(case, params))


def _covariate_laws(case: Case) -> list[Sensitivity]:
    """Other laws of the covariates with the same covariance."""
    params = case.pretrained()
    return [
        Sensitivity(
            f"covariates: {name}",
            f"pretrained, n = {case.settings.shots}, θ₀",
            _risk(case, params),
            *_simulated(case, 1610 + index, params, covariates=law),
        )
        for index, (name, law) in enumerate(LAWS.items())
    ]


def _pools(case: Case) -> list[Sensitivity]:
    """The value-only optimum on a finite pool in place of fresh data."""
    best = optima.value(case.pretrained(), case.problem, case.target_task)
    found, exact = [], float(population_risk(best, case.problem, case.target_task, 0))
    for index, pool in enumerate(POOLS):
        keys = jax.random.split(case.key(1620 + index), REDRAWN)
        fits = jax.jit(lambda keys, pool=pool: jax.lax.map(lambda key: fitted_value(case, key, pool), keys))(keys)
        errors = np.asarray(jax.vmap(population_risk, (0, None, None, None))(fits, case.problem, case.target_task, 0))
        deviation = float(errors.std(ddof=1) / REDRAWN**0.5)
        found.append(Sensitivity(f"a pool of {pool} pairs", "value, n = 0, θ₀", exact, float(errors.mean()), deviation))
    return found


def _infinite_context(case: Case) -> Sensitivity:
    """Pretraining on infinitely many shots, the paper's limit, in place of m."""
    finite, infinite = (case.optima(m, case.settings.shots)["value"] for m in (case.settings.pretraining_shots, np.inf))
    return Sensitivity("m = ∞", f"value, n = {case.settings.shots}, θ₀", _risk(case, finite), _risk(case, infinite))


def _annealed(case: Case) -> list[Sensitivity]:
    """The published soft stand-in for (d), after more and more steps on exact gradients."""
    shots = case.settings.shots
    params = case.optima(case.settings.pretraining_shots, shots)
    exact = _risk(case, params["value_auxiliary"])
    return [
        Sensitivity(
            f"annealed auxiliary loss, {steps} steps",
            f"value_auxiliary, n = {shots}, θ₀",
            exact,
            _risk(case, fine_tuned(case, params["pretrained"], "value_annealed", steps)),
        )
        for steps in STEPS
    ]


def _published_optimiser(case: Case) -> Sensitivity:
    """Momentum and finite steps in place of gradient flow: where full fine-tuning ends."""
    start = case.optima(case.settings.pretraining_shots, case.settings.shots)["pretrained"]
    ended = fine_tuned(case, start, "full", PUBLISHED_STEPS)
    flow = float(optima.conserved_scale(case.problem, case.target_task, start))
    return Sensitivity("published optimiser, not flow", "scale w of full", flow, float(reached_scale(ended, case.target_task)))


def _clipping(case: Case) -> list[Sensitivity]:
    """Sampled gradients clipped by their norm: where value-only training ends, at each batch size and threshold."""
    found = []
    for index, (batch_size, clip_norm) in enumerate(CLIPPED):
        name = f"gradients clipped to norm {clip_norm:g}, batch {batch_size}"
        found.append(Sensitivity(name, "v_x of value along its optimum", 1.0, *clipped_end(case, 1630 + index, batch_size, clip_norm)))
    return found


def clipped_end(case: Case, tag: int, batch_size: int, clip_norm: float) -> tuple[float, float]:
    """Train the value matrix from its optimum on sampled gradients clipped by their norm, with the published optimiser at a falling rate.

    Args:
        case: the setting.
        tag: the stream of randomness.
        batch_size: prompts a step.
        clip_norm: the norm.

    Returns:
        Component of v_x along its optimum, in units of it, at the end: the mean over independent runs and its standard error.
    """
    best = optima.value(case.pretrained(), case.problem, case.target_task)
    keys = jax.random.split(case.key(tag), REDRAWN)
    along = np.asarray(jax.jit(jax.vmap(functools.partial(_sampled_end, case, best, batch_size, clip_norm)))(keys))
    return float(along.mean()), float(along.std(ddof=1) / REDRAWN**0.5)


def _sampled_end(case: Case, start: Params, batch_size: int, clip_norm: float, key: Key[Array, ""]) -> Float[Array, ""]:
    """Component of v_x along that of the start, in units of it, after value-only training on sampled gradients."""
    (objective,) = regimes.stages("value", objectives.fresh_prompts(case.problem, case.target_task, batch_size), case.settings.shots)
    optimizer = optimizers.sgd(PUBLISHED_RATE, CLIPPED_STEPS, clip_norm=clip_norm)
    run = training.train(key, objective, start, optimizer, training.Settings(steps=CLIPPED_STEPS, history_stride=CLIPPED_STEPS))
    optimum = start.value[-1, 1:-1]
    return run.params.value[-1, 1:-1] @ optimum / (optimum @ optimum)


def fine_tuned(case: Case, start: Params, regime: str, steps: int) -> Params:
    """Fine-tune with the published optimiser on exact gradients.

    Args:
        case: the setting.
        start: pretrained parameters.
        regime: the regime, for example `value_annealed`, the published soft variant of (d).
        steps: number of steps.

    Returns:
        The trained parameters.
    """
    setting = Setting(dim=case.settings.dim, steps=steps, decay="constant", learning_rate=PUBLISHED_RATE, seed=case.settings.seed)
    lineage = Lineage(
        problem=case.problem, prior=case.prior, law=case.prior, key=jax.random.key(setting.seed), target_task=case.target_task, pool=None
    )
    records = experiment.schedule(setting.steps).num_records
    parent = training.Trained(params=start, first_loss=jnp.zeros(()), history=jnp.zeros(records), diverged=jnp.zeros((), bool))
    known = {"fine_tuning_shots": case.settings.shots}
    return experiment.train(setting, lineage, Family.of().by_name[regime], known, parent).params


def _risk(case: Case, params: Params) -> float:
    """The exact few-shot error on the target task."""
    return float(population_risk(params, case.problem, case.target_task, case.settings.shots))


def _simulated(case: Case, tag: int, params: Params, **changes: Any) -> tuple[float, float]:
    """The simulated few-shot error on the target task from tokens, and its standard error."""
    estimate = empirical.empirical_risk(
        case.key(tag),
        params,
        case.problem,
        case.target_task,
        case.settings.shots,
        case.settings.prompts // TOKEN_SHARE,
        sampler="tokens",
        **changes,
    )
    return float(estimate.mean), float(estimate.standard_error)
