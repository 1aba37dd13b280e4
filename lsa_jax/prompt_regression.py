"""Pretraining on finitely many prompts: ridge regression over Q at v = e_y, by conjugate gradients on its Kronecker factors."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision, prompts
from lsa_jax.errors import InputError
from lsa_jax.normal_rows import sample_normals
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression

ITERATIONS = 5000
"""Most iterations of the conjugate gradients; tens to hundreds are used."""

STARTING = 200
"""Most of them in float32, where float64 goes on."""

SINGLE, DOUBLE = 1e-5, 1e-10
"""What is left of the equations at their end, relative to the right side, by floating type."""

Columns = Float[Array, "feature dim"]


def prompt_ridge(
    key: Key[Array, ""], problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike, num_prompts: int, penalty: ArrayLike = 0.0
) -> Params:
    r"""Draw prompts and minimise their mean squared error over Q at $v = e_y$, with a penalty.

    With $h_k = \frac1{m+1}\sum_i y_i(x_i, y_i)$ over the examples of prompt k, and $x_k$, $y_k$ its query and label,

    $$ \min_\Gamma\ \frac1K\sum_k\big(y_k - h_k^\top\Gamma x_k\big)^2 + \lambda\|\Gamma\|_F^2 , \qquad Q_{xx}, Q_{yx} = \Gamma . $$

    Prompts are drawn through $h_k$, in time independent of m. A step of the solver is two products with K rows, $O(Kd^2)$, where a dense
    solve takes $O(Kd^4)$; after preconditioning with the mean factors its steps do not grow with d.

    Args:
        key: randomness of the prompts.
        problem: covariance of the covariates and label noise.
        prior: law of the tasks; any with a sampler.
        num_shots: number m of examples a prompt, a whole number from 1 on; may be traced.
        num_prompts: number K of prompts (static).
        penalty: λ, at least 0; 0 needs more prompts than unknowns, $d(d + 1)$.

    Returns:
        The minimiser, to 1e-9 of it in float64 and 1e-4 in float32; NaN where the solver did not get there.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if dimensions differ, a number is out of range, or the unpenalised minimiser is not unique.

    References:
        Lu, Letey, Zavatone-Veth, Maiti, Pehlevan, arXiv 2405.11751, section 3; docs/theory.md, equation (T6).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.3)
        >>> fitted = prompt_ridge(jax.random.key(0), problem, lsa.SpherePrior(dim=2), num_shots=20, num_prompts=1000)
        >>> risk = lsa.prior_risk(fitted, problem, lsa.SpherePrior(dim=2), num_shots=20)
        >>> best = lsa.prior_risk(lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), 20), problem, lsa.SpherePrior(dim=2), 20)
        >>> bool(best < risk < 1.02 * best)
        True
    """
    require_prior_dim(prior, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1)
    count = checks.as_count("num_prompts", num_prompts)
    penalty = checks.as_scale("penalty", penalty, minimum=0.0).astype(problem.root.dtype)
    unknowns = problem.dim * (problem.dim + 1)
    if checks.concrete(penalty) == 0 and count <= unknowns:
        raise InputError(f"num_prompts is {count}, no more than the {unknowns} unknowns: draw more, or set a penalty above 0")
    return _fit(key, problem, prior, shots, count, penalty)


def sample_regression(
    key: Key[Array, ""], problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike, num_prompts: int
) -> tuple[Float[Array, "prompts feature"], Float[Array, "prompts dim"], Float[Array, " prompts"]]:
    """Draw what the regression sees of prompts: features of the context, the query and its label, one prompt a row."""
    task_key, context_key, query_key = (jax.random.fold_in(key, stream) for stream in range(3))
    tasks = prompts.sample_tasks(task_key, prior, num_prompts).astype(problem.root.dtype)
    features = prompts.sample_label_sums(context_key, problem, tasks, num_shots) / (num_shots + 1)
    normals = sample_normals(query_key, problem.dim + 1, num_prompts, problem.root.dtype)
    with precision.in_force():
        queries = problem.root @ normals[:-1]
        labels = jnp.sum(tasks * queries, axis=0) + problem.noise_std * normals[-1]
    return features.T, queries.T, labels


class NormalEquations(NamedTuple):
    """The normal equations of the regression, in the floating type of its parts, with the spectra of both factors' second moments."""

    features: Float[Array, "prompts feature"]
    queries: Float[Array, "prompts dim"]
    spectra: tuple[tuple[Array, Array], tuple[Array, Array]]
    penalty: Float[Array, ""]

    def normal(self, columns: Columns) -> Columns:
        """Apply the matrix of the equations."""
        predicted = jnp.sum((self.features @ columns) * self.queries, axis=1)
        return self.features.T @ (predicted[:, None] * self.queries) / len(self.queries) + self.penalty * columns

    def precondition(self, columns: Columns) -> Columns:
        """Apply the inverse of the Kronecker product of both second moments and the penalty."""
        (feature_values, left), (query_values, right) = self.spectra
        scales = jnp.outer(feature_values, query_values) + self.penalty
        return left @ ((left.T @ columns @ right) / scales) @ right.T

    def solve(self, target: Columns, tolerance: float, start: Columns | None = None, iterations: int = ITERATIONS) -> Columns:
        """Solve by preconditioned conjugate gradients."""
        return jax.scipy.sparse.linalg.cg(self.normal, target, start, tol=tolerance, maxiter=iterations, M=self.precondition)[0]

    def refined(self, target: Columns) -> Columns:
        """Solve in float32, twice: the second time for what the first left over. What does not bring the solution nearer is not taken."""
        single = jax.tree.map(lambda part: part.astype(jnp.float32), self)
        found, left = jnp.zeros_like(target), target
        for _ in range(2):
            size = jnp.linalg.norm(left)
            better = found + size * single.solve((left / size).astype(jnp.float32), SINGLE, iterations=STARTING)
            remaining = target - self.normal(better)
            nearer = jnp.linalg.norm(remaining) < size
            found, left = jnp.where(nearer, better, found), jnp.where(nearer, remaining, left)
        return found


def ridge_solution(
    features: Float[Array, "prompts feature"], queries: Float[Array, "prompts dim"], labels: Float[Array, " prompts"], penalty: ArrayLike
) -> Columns:
    """Solve the normal equations; in float64 what is left to do after float32, where a step takes less than half the time."""
    double = labels.dtype == jnp.float64
    tolerance = DOUBLE if double else SINGLE
    with precision.in_force():
        first, second = (tuple(jnp.linalg.eigh(rows.T @ rows / len(labels))) for rows in (features, queries))
        equations = NormalEquations(features, queries, (first, second), jnp.asarray(penalty, labels.dtype))
        target = features.T @ (labels[:, None] * queries) / len(labels)
        found = equations.solve(target, tolerance, equations.refined(target) if double else None)
        missed = jnp.linalg.norm(target - equations.normal(found)) > 10 * tolerance * jnp.linalg.norm(target)
    return jnp.where(missed, jnp.nan, found)


@functools.partial(jax.jit, static_argnums=4)
def _fit(
    key: Key[Array, ""], problem: LinearRegression, prior: TaskPrior, num_shots: Float[Array, ""], num_prompts: int, penalty: Array
) -> Params:
    """Draw and solve as one program."""
    solved = ridge_solution(*sample_regression(key, problem, prior, num_shots, num_prompts), penalty)
    zeros = jnp.zeros((problem.dim + 2, problem.dim + 2), solved.dtype)
    return Params(value=zeros.at[-1, -1].set(1), query_key=zeros.at[1:, 1:-1].set(solved))
