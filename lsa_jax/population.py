"""Exact n-shot errors of one layer of linear self-attention, for any parameters, in time independent of n."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, moments, precision
from lsa_jax.priors import TaskPrior, moments_of, require_moments, require_prior_dim
from lsa_jax.problem import LinearRegression, Params, require_same_dim


def population_risk(params: Params, problem: LinearRegression, task: Real[ArrayLike, " dim"], num_shots: ArrayLike) -> Float[Array, ""]:
    r"""Compute the exact n-shot error $\mathcal{E}(V,Q,n;\theta) = E(f(Z;V,Q) - y_{n+1})^2$.

    With $q = 1/(n+1)$, $p = 1 - q$, the prediction's mean given the query $p(a_0 + a_g g) + q(h_0 + h_1 g)$ in whitened coordinates,
    $s^2$ the variance of one context term and $r^2$ that of the query term beyond first order,

    $$\mathcal{E} = \sigma^2 + (p a_0 + q h_0)^2 + |p a_g + q h_1 - \tau|^2 + p q s^2 + q^2 r^2 .$$

    Every term is non-negative, so nothing cancels in float32 and $n = 0$ and $n = \infty$ are ordinary values.

    **Assumes** Gaussian covariates, independent label noise, the normaliser n + 1, and the query token inside the sum; for other covariates
    there is no closed form: use `empirical_risk`.

    Args:
        params: V and Q, any values.
        problem: covariance of the covariates and label noise.
        task: the regression vector.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The mean squared error, in squared units of the labels. Differentiable in every argument but `num_shots`.

    Raises:
        ValueError: if shapes do not match the problem, an entry is not finite, or `num_shots` is negative or fractional.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (n-shot error); docs/theory.md, equation (8).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> untrained = lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7)))
        >>> float(lsa.population_risk(untrained, problem, jnp.ones(5), num_shots=20))
        5.25
    """
    require_same_dim(params, problem)
    task = checks.as_task("task", task, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _risk(params, problem, task, shots)


def prior_risk(params: Params, problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike) -> Float[Array, ""]:
    r"""Compute the exact n-shot error averaged over a task prior, the pretraining loss $E_\theta\,\mathcal{E}(V,Q,n;\theta)$.

    The error is a polynomial of degree 4 in the whitened task τ. With $\delta = \tau - E\tau$ a prior enters through the mean and
    covariance of τ, the variance of $|\delta|^2$ and $E|\delta|^2\delta$ alone: the cost does not grow with the tasks of a pool.

    **Assumes** what `population_risk` does.

    Args:
        params: V and Q, any values.
        problem: covariance of the covariates and label noise.
        prior: law of the tasks, with moments.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The mean squared error, in squared units of the labels.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior has no moments, shapes do not match the problem, an entry is not finite, or `num_shots` is negative or
            fractional.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objective (a); docs/theory.md, equations (9), (10) and (22).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> untrained = lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7)))
        >>> round(float(lsa.prior_risk(untrained, problem, lsa.SpherePrior(dim=5, radius=2.0), num_shots=20)), 4)
        4.25
    """
    require_same_dim(params, problem)
    require_prior_dim(prior, problem.dim)
    require_moments(prior)
    return _risk(params, problem, prior, checks.as_shots("num_shots", num_shots, params.value.dtype))


def risk_function(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Callable[[Params, ArrayLike], Float[Array, ""]]:
    """Return the exact risk as a function of (params, num_shots), with what depends on the problem alone computed once.

    For loops that evaluate many parameters on one problem; unlike `population_risk` it checks nothing.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: one task, or a prior to average over.

    Returns:
        The function.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> risk = risk_function(problem, jnp.ones(5))
        >>> float(risk(lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7))), 20))
        5.25
    """
    with precision.in_force():
        root = problem.root
        law = moments_of(tasks, root) if isinstance(tasks, TaskPrior) else moments.of_task(tasks, root)

    def risk(params: Params, num_shots: ArrayLike) -> Float[Array, ""]:
        with precision.in_force():
            whitened = moments.whiten(params, root)
            query_weight = 1 / (jnp.asarray(num_shots, root.dtype) + 1)
            return moments.squared_error(whitened, law, problem.noise_std, query_weight)

    return risk


@jax.jit
def _risk(
    params: Params, problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior, num_shots: Float[Array, ""]
) -> Float[Array, ""]:
    """Evaluate `risk_function` as one compiled program."""
    return risk_function(problem, tasks)(params, num_shots)
