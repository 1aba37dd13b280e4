"""The value-only minimiser: its closed form, direct minimisation, and least-squares fits to simulated prompts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import optima
from lsa_jax.attention import predict
from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.params import Params
from lsa_jax.population import risk_function
from lsa_jax.prompts import sample_prompt


def value_minimiser(case: Case) -> list[Finding]:
    """Compare $v_x$ of the value-only optimum with a least-squares fit to simulated zero-shot prompts, and with direct minimisation.

    Args:
        case: where to check.

    Returns:
        Its size along the target task, stated 1/(d + 4), and the size of its part across it, stated 0; both in the metric of Σ.
    """
    dim, frozen = case.settings.dim, case.pretrained()

    def parts(row: Float[Array, " token"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        vector, task = (case.problem.root.T @ one for one in (row[1:-1], case.target_task))
        along = vector @ task / (task @ task)
        return along, jnp.sqrt(jnp.sum((vector - along * task) ** 2) / (task @ task))

    def at(shots: ArrayLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return parts(optima.value(case.pretrained(shots), case.problem, case.target_task).value[-1])

    def sums(key: Key[Array, ""], prompts: int) -> tuple[Array, Array]:
        features, targets = sampled_features(case, key, frozen, 0, prompts)
        return features[:, :-1].T @ features[:, :-1], features[:, :-1].T @ targets

    simulated = case.jackknife(1001, sums, lambda total: parts(jnp.append(jnp.linalg.solve(*total), 0.0))[0])
    direct = parts(jnp.append(_least_zero_shot(case, frozen), 0.0))
    exact, limit = at(case.settings.pretraining_shots), at(jnp.inf)
    far = np.array([at(shots) for shots in large_numbers(dim)]).T
    numbers = [
        Finding(
            case=f"v_x {name} θ₀",
            stated=stated,
            exact=float(exact[place]),
            at_limit=float(limit[place]),
            rates={"m": rate(far[place] - float(limit[place]), dim, 1.0)},
            numerical=float(direct[place]),
            scale=1 / (dim + 4),
        )
        for place, (name, stated) in enumerate((("along", 1 / (dim + 4)), ("across", 0.0)))
    ]
    return [dataclasses.replace(numbers[0], simulated=simulated[0], standard_error=simulated[1]), numbers[1]]


def _least_zero_shot(case: Case, params: Params) -> Float[Array, " query"]:
    """The entries v_0 and v_x of least zero-shot error, by quasi-Newton minimisation."""
    risk = risk_function(case.problem, case.target_task)
    loss = jax.jit(jax.value_and_grad(lambda row: risk(Params(value=params.value.at[-1, :-1].set(row), query_key=params.query_key), 0.0)))
    found = scipy.optimize.minimize(loss, np.zeros(case.settings.dim + 1), jac=True, method="BFGS", options={"gtol": 1e-12})
    return jnp.asarray(found.x)


def fitted_value(case: Case, key: Key[Array, ""], pairs: int) -> Params:
    """Fit the value-only optimum by least squares to simulated zero-shot prompts, one a labelled pair.

    Args:
        case: the data law and target task.
        key: randomness.
        pairs: number of pairs.

    Returns:
        The pretrained parameters with fitted $v_0$ and $v_x$.
    """
    frozen = case.pretrained()
    features, targets = sampled_features(case, key, frozen, 0, pairs)
    seen = features[:, :-1]
    row = jnp.linalg.solve(seen.T @ seen, seen.T @ targets)
    return Params(value=frozen.value.at[-1, :-1].set(row), query_key=frozen.query_key)


def sampled_features(
    case: Case, key: Key[Array, ""], params: Params, shots: int, prompts: int
) -> tuple[Float[Array, "prompts token"], Float[Array, " prompts"]]:
    """Draw prompts of the target task and return the derivative of each prediction in the last row of V, and the targets.

    Predictions are linear in that row, so these are the features of a linear regression for it.

    Args:
        case: the data law and target task.
        key: randomness.
        params: V and Q.
        shots: number of examples.
        prompts: number of prompts.

    Returns:
        Features and noisy targets.
    """

    def one(index: Array) -> tuple[Array, Array]:
        prompt = sample_prompt(jax.random.fold_in(key, index), case.problem, case.target_task, shots)

        def prediction(row: Float[Array, " token"]) -> Float[Array, ""]:
            return predict(Params(value=params.value.at[-1].set(row), query_key=params.query_key), prompt.tokens)

        return jax.grad(prediction)(params.value[-1]), prompt.target

    return jax.vmap(one)(jnp.arange(prompts))
