"""Exact against simulated
=======================

Two independent paths to every number: the exact risk of each regime's optimum, and a simulation of it that shares no code. Each
simulated number comes with its standard error, and the two agree within a few of them.

To try: another covariance (``lsa.covariances.isotropic``), more noise, or ``SHOTS = jnp.inf`` for the exact path alone.
"""

import jax
import jax.numpy as jnp

import lsa_jax as lsa

SHOTS = 20


def main() -> None:
    """Print exact and simulated few-shot errors on the target task and on its opposite."""
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(5, 1.0), noise_std=0.3)
    target = jnp.array([0.6, -0.8, 0.0, 0.0, 0.0])
    pretrained = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=SHOTS)
    models = {
        "pretrained": pretrained,
        "full": lsa.optima.full(problem, target, start=pretrained),
        "value": lsa.optima.value(pretrained, problem, target),
        "value_auxiliary": lsa.optima.value_auxiliary(pretrained, problem, target, SHOTS),
    }
    print(f"{'':16} {'task':>4} {'exact':>8} {'simulated':>10}")
    for place, (name, params) in enumerate(models.items()):
        for sign in (1, -1):
            exact = lsa.population_risk(params, problem, sign * target, SHOTS)
            key = jax.random.fold_in(jax.random.key(place), sign + 1)
            estimate = lsa.empirical_risk(key, params, problem, sign * target, SHOTS, num_prompts=100_000)
            assert abs(estimate.mean - exact) < 5 * estimate.standard_error
            print(f"{name:16} {sign:+4d} {exact:8.4f} {estimate.mean:10.4f} ± {estimate.standard_error:.4f}")


if __name__ == "__main__":
    main()
