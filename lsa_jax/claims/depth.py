"""What is exact about deeper models: limits in long contexts, and constructions that are known algorithms."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lsa_jax import estimators, prompts
from lsa_jax.claims.case import Case
from lsa_jax.claims.findings import Finding
from lsa_jax.empirical import empirical_risk
from lsa_jax.models import Transformer, constructions
from lsa_jax.models.transformer_params import TransformerParams
from lsa_jax.population import population_risk

SHAPES = ((2, 1), (2, 2), (3, 1))
"""Layers and heads of the models whose limits are checked."""

LONG = 10**7
"""Number of shots at which the finite error is its limit, up to less than the error of a simulation."""

STEPS, PROMPTS = 3, 20
"""Steps of the constructed descent, and prompts on which it is compared."""


def limits(case: Case) -> list[Finding]:
    """Compare the closed limits of deep linear models of moderate random weights with long simulated contexts.

    Args:
        case: where to check.

    Returns:
        One finding a model.
    """
    found = []
    for index, (layers, heads) in enumerate(SHAPES):
        model = Transformer(layers, heads)
        params = model.init(case.key(1500 + index), case.settings.dim, std=0.5 / (case.settings.dim + 2) ** 0.5)
        exact = float(population_risk(params, case.problem, case.target_task, jnp.inf, model=model))
        simulated = empirical_risk(
            case.key(1510 + index), params, case.problem, case.target_task, LONG, case.settings.prompts // 10, model=model
        )
        found.append(
            Finding(
                case=f"limit at {layers} layers, {heads} head{'s' * (heads > 1)}",
                exact=exact,
                simulated=float(simulated.mean),
                standard_error=float(simulated.standard_error),
                scale=max(exact, case.size),
            )
        )
    return found


def descent(case: Case) -> list[Finding]:
    """Compare models that are constructed to be preconditioned gradient descent with descent itself, on the same prompts.

    Args:
        case: where to check.

    Returns:
        The prediction furthest from that of descent, with the sign turned by a layer and by a head.
    """
    dim = case.settings.dim
    matrices = jax.random.normal(case.key(1600), (STEPS, dim, dim)) / dim
    steps = (matrices + jnp.swapaxes(matrices, 1, 2)) / 2
    found = []
    for sign in constructions.SIGNS:
        model, params = constructions.gradient_descent(steps, sign=sign, query_attends=False)

        def both(key: Array, model: Transformer = model, params: TransformerParams = params) -> tuple[Array, Array]:
            prompt = prompts.sample_prompt(key, case.problem, case.target_task, case.settings.shots)
            return model.predict(params, prompt.tokens), estimators.gradient_descent(steps, prompt.tokens)

        predicted, descended = (np.asarray(part) for part in jax.lax.map(both, jax.random.split(case.key(1601), PROMPTS)))
        worst = int(np.argmax(np.abs(predicted - descended)))
        found.append(
            Finding(
                case=f"prediction of {STEPS} steps, sign by a {sign}",
                exact=float(predicted[worst]),
                numerical=float(descended[worst]),
                tolerance=1e-10,
                scale=float(np.abs(descended).max()),
            )
        )
    return found
