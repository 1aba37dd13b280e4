"""A prior of your own
===================

Sparse tasks, with one entry that is not 0. With only its sampler, a prior is trained on sampled prompts. With its moments, all of its
risks and its optimum are exact for any covariance, and training may follow exact gradients.
"""

import chex
import jax
import jax.numpy as jnp

import lsa_jax as lsa
from lsa_jax.priors import TaskMoments


@chex.dataclass(frozen=True, mappable_dataclass=False)
class OneHot:
    """Tasks with one entry that is not 0, a random one of random sign and of the size `radius`."""

    radius: jax.Array
    axes: jax.Array

    @property
    def dim(self) -> int:
        """Dimension of the tasks."""
        return self.axes.shape[-1]

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Draw tasks, one a column."""
        place = jax.random.randint(jax.random.fold_in(key, 0), (count,), 0, self.dim, jnp.int32)
        sign = jax.random.rademacher(jax.random.fold_in(key, 1), (count,), self.radius.dtype)
        return self.radius * sign * self.axes[:, place]

    def moments(self, root: jax.Array) -> TaskMoments:
        """Moments of the whitened task, whose squared size varies where the covariates are anisotropic."""
        whitened = self.radius * root.T @ self.axes
        sizes = jnp.sum(whitened**2, axis=0)
        return TaskMoments(
            mean=jnp.zeros(self.dim, root.dtype),
            covariance=whitened @ whitened.T / self.dim,
            squared_norm_variance=jnp.mean(sizes**2) - jnp.mean(sizes) ** 2,
        )


spec = {
    "prior": OneHot(radius=jnp.ones(()), axes=jnp.eye(3)),
    "covariance": "power_law:1",
    "regime": ["pretrained", "value"],
    "dim": 3,
    "seed": "0:2",
    "steps": 2000,
    "init_std": 0.2,
    "evaluation_shots": [0, 20],
}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/own_prior")
    frame = lsa.load("results/own_prior").frame
    print(frame.groupby(["regime", "metric", "evaluation_shots"], observed=True)["value"].mean().unstack().round(4))
