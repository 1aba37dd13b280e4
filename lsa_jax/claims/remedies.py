"""What remedies against forgetting have in common, which of them is the true front of value-only fine-tuning, and what low rank can do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from lsa_jax import lab, optima
from lsa_jax.claims.case import Case
from lsa_jax.claims.findings import Finding
from lsa_jax.lab.landscape import as_numbers
from lsa_jax.objectives import Inputs
from lsa_jax.params import MultiHeadParams, Params
from lsa_jax.population import population_risk, prior_risk
from lsa_jax.predictions import prediction_distance
from lsa_jax.problem import LinearRegression

WEIGHTS = (0.1, 1.0, 10.0)
"""Weights at which remedies are compared."""

PATH = (1e2, 1e3)
"""Entries Q₀₀ along the path on which low rank approaches the least zero-shot error."""


def replay_is_distillation(case: Case) -> list[Finding]:
    """Compare replay's excess with the distance to the pretrained predictions, at parameters far from the optimum.

    Args:
        case: where to check.

    Returns:
        One number for one head and one for two.
    """
    start, size = case.pretrained(), case.settings.dim + 2
    shots, found = case.settings.pretraining_shots, []
    base = float(prior_risk(start, case.problem, case.prior, shots))
    for heads in (1, 2):
        value, query_key = jax.random.normal(case.key(1500 + heads), (2, heads, size, size)) / size
        other = MultiHeadParams(value=value, query_key=query_key)
        distance = float(prediction_distance(other, start, case.problem, case.prior, shots))
        excess = float(prior_risk(other, case.problem, case.prior, shots)) - base
        found.append(Finding(case=f"excess prior risk, {heads} head{'s' if heads > 1 else ''}", exact=distance, numerical=excess))
    return found


def one_thing(case: Case) -> list[Finding]:
    """Compare the minimisers over V of replay, distillation and EWC with the full Fisher matrix.

    Args:
        case: where to check.

    Returns:
        The zero-shot error of replay, and that of the two others by their own curvatures, at each weight.
    """
    inputs, start = _value_only(case, case.problem)
    rows = {name: lab.value_front(inputs, start, name, np.array(WEIGHTS) * (2 if name == "ewc_full" else 1)) for name in _NAMES}
    found = []
    for place, weight in enumerate(WEIGHTS):
        errors = {name: float(_zero_shot(inputs, start, row[place])) for name, row in rows.items()}
        told = f"zero-shot, λ = {weight:g}"
        found += [Finding(case=f"{told}, {name}", exact=errors["prior"], numerical=errors[name]) for name in _NAMES[1:]]
    return found


def one_curve(case: Case) -> list[Finding]:
    """Measure the angle between what remedies do to v and what replay does, where Σ = I.

    Args:
        case: where to check; its covariance is replaced by the identity.

    Returns:
        The cosine of both moves, for each remedy.
    """
    problem = LinearRegression(jnp.eye(case.settings.dim), case.problem.noise_std)
    inputs, start = _value_only(case, problem)
    before = start.value[-1]
    (replay,) = lab.value_front(inputs, start, "prior", [1.0]) - before[None]
    found = []
    for name in ("ewc", "l2_sp", "early_stopping", "averaging"):
        (move,) = lab.value_front(inputs, start, name, [0.5]) - before[None]
        cosine = float(move @ replay / jnp.sqrt((move @ move) * (replay @ replay)))
        found.append(Finding(case=name, stated=1.0, exact=cosine))
    return found


def true_front(case: Case) -> list[Finding]:
    """Minimise the prior risk over V at given zero-shot errors, those of replay, by a method that knows nothing of replay.

    Args:
        case: where to check.

    Returns:
        The prior risk of replay and the least one found, at each weight.
    """
    inputs, start = _value_only(case, case.problem)
    found = []
    for weight, row in zip(WEIGHTS, lab.value_front(inputs, start, "prior", WEIGHTS), strict=True):
        exact = float(_prior(inputs, start, row))
        least = _least_prior(inputs, start, _zero_shot(inputs, start, row), case.settings.seed)
        found.append(Finding(case=f"prior risk, λ = {weight:g}", exact=exact, numerical=least))
    return found


def quartic(case: Case) -> list[Finding]:
    """Predict the risk of averaged weights from five others.

    Args:
        case: where to check.

    Returns:
        The zero-shot error between the pretrained and the fully fine-tuned model, exactly and by the quartic.
    """
    start = optima.balanced(case.pretrained(), 0.0)
    ends = [ravel_pytree(params)[0] for params in (start, optima.full(case.problem, case.target_task, None, start))]
    back = ravel_pytree(start)[1]

    def risk(share: float) -> float:
        return float(population_risk(back(ends[0] + share * (ends[1] - ends[0])), case.problem, case.target_task, 0))

    known = np.linspace(0, 1, 5)
    fitted = np.polynomial.Polynomial.fit(known, [risk(share) for share in known], 4)
    return [Finding(case=f"zero-shot, α = {share:g}", exact=risk(share), numerical=float(fitted(share))) for share in (0.1, 0.6, 1.5)]


def low_rank(case: Case) -> list[Finding]:
    """Check what an update of Q of some rank can reach: the least zero-shot error at rank d, and approach it at rank one.

    Args:
        case: where to check.

    Returns:
        The zero-shot error of an update of rank d, and along a path of rank one the limit of the excess times Q₀₀² and of the few-shot
        excess over Q₀₀², times n.
    """
    start, dim, task = case.pretrained(), case.settings.dim, case.target_task
    block = start.query_key[1:-1, 1:-1]
    column = jnp.ones(dim)
    scale = float(column @ jnp.linalg.solve(block, column))
    update = jnp.block([[jnp.full((1, 1), scale), -column[None]], [column[:, None], -block]])
    whole = _moved(start, task / scale, update)
    found = [
        Finding(case="rank of the update", stated=float(dim), exact=float(jnp.linalg.matrix_rank(update))),
        Finding(
            case="zero-shot, rank d",
            exact=float(population_risk(whole, case.problem, task, 0)),
            stated=case.noise_variance,
            scale=case.size,
        ),
    ]
    corner, size = jnp.zeros((dim + 1, dim + 1)).at[0, 0].set(1.0), PATH[-1]
    path = [_moved(start, task / entry, entry * corner) for entry in PATH]
    excess = [
        entry**2 * (float(population_risk(one, case.problem, task, 0)) - case.noise_variance) for entry, one in zip(PATH, path, strict=True)
    ]
    found.append(Finding(case="zero-shot excess × Q₀₀², rank 1", exact=excess[0], numerical=excess[1], tolerance=1e-6))
    shots = case.settings.shots
    spread = (float(population_risk(path[-1], case.problem, task, shots)) - case.noise_variance) / size**2
    stated = shots / (shots + 1) ** 2 * (case.size + case.noise_variance)
    return [*found, Finding(case="few-shot excess / Q₀₀², rank 1", exact=stated, numerical=spread, tolerance=1e-2)]


def query_alone(case: Case) -> list[Finding]:
    """Measure the zero-shot gradient in Q at the pretraining optimum, whose v predicts 0 without examples.

    Args:
        case: where to check.

    Returns:
        Its norm.
    """
    start = case.pretrained()
    slope = jax.grad(lambda block: population_risk(start.replace(query_key=block), case.problem, case.target_task, 0))(start.query_key)
    return [Finding(case="|∂/∂Q of the zero-shot error|", stated=0.0, exact=float(jnp.sqrt(jnp.sum(slope**2))), scale=case.size)]


_NAMES = ("prior", "distillation", "ewc_full")


def _value_only(case: Case, problem: LinearRegression) -> tuple[Inputs, Params]:
    """What value-only fine-tuning starts from."""
    shots = float(case.settings.pretraining_shots)
    inputs = lab.exact_inputs(problem, case.prior, case.target_task, shots, train="value")
    return inputs, lab.pretrained(problem, case.prior, shots)


def _zero_shot(inputs: Inputs, start: Params, row: Float[Array, " token"]) -> Float[Array, ""]:
    """Zero-shot error on the target with another last row of V."""
    return inputs.target_risk(jax.random.key(0), start.replace(value=start.value.at[-1].set(row)), 0)


def _prior(inputs: Inputs, start: Params, row: Float[Array, " token"]) -> Float[Array, ""]:
    """Prior risk with another last row of V."""
    return inputs.prior_risk(jax.random.key(0), start.replace(value=start.value.at[-1].set(row)), inputs.pretraining_shots)


def _least_prior(inputs: Inputs, start: Params, level: Float[Array, ""], seed: int) -> float:
    """The least prior risk over V at a zero-shot error, by sequential quadratic programming from a random start."""
    risks = [jax.jit(jax.value_and_grad(lambda row, risk=risk: risk(inputs, start, row))) for risk in (_prior, _zero_shot)]
    before = np.asarray(start.value[-1]) + 0.1 * np.random.default_rng(seed).standard_normal(start.value.shape[-1])
    at_level = {
        "type": "eq",
        "fun": lambda row: float(risks[1](row)[0] - level),
        "jac": lambda row: np.asarray(risks[1](row)[1]),
    }
    run = scipy.optimize.minimize(
        as_numbers(risks[0]),
        before,
        jac=True,
        constraints=[at_level],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(run.fun)


def _moved(start: Params, covariate_row: Float[Array, " dim"], update: Float[Array, "bias_x bias_x"]) -> Params:
    """The pretrained model with another $v_x$ and an update of Q on (1, x)."""
    return dataclasses.replace(
        start,
        value=start.value.at[-1, 1:-1].set(covariate_row),
        query_key=start.query_key.at[:-1, :-1].add(update),
    )
