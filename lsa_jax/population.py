"""Exact n-shot errors of one layer of linear self-attention, for any parameters, in time independent of n."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, moments, precision, whitening
from lsa_jax.covariates import CovariateLaw, Covariates, gaussian, require_cumulants
from lsa_jax.errors import InputError
from lsa_jax.params import Heads, LayerParams, Params
from lsa_jax.priors import TaskPrior, moments_of, require_moments, require_prior_dim
from lsa_jax.problem import LinearRegression, require_same_dim

Tasks = Float[Array, " dim"] | TaskPrior
"""One task, or a prior to average over."""


def population_risk(
    params: Any,
    problem: LinearRegression,
    task: Real[ArrayLike, " dim"],
    num_shots: ArrayLike,
    *,
    covariates: Covariates = gaussian,
    model: Any = None,
) -> Float[Array, ""]:
    r"""Compute the exact n-shot error $\mathcal{E}(V,Q,n;\theta) = E(f(Z;V,Q) - y_{n+1})^2$.

    With $q = 1/(n+1)$, $p = 1 - q$, the prediction's mean given the query $p(a_0 + a_g g) + q(h_0 + h_1 g)$ in whitened coordinates,
    $s^2$ the variance of one context term and $r^2$ that of the query term beyond first order,

    $$\mathcal{E} = \sigma^2 + (p a_0 + q h_0)^2 + |p a_g + q h_1 - \tau|^2 + p q s^2 + q^2 r^2 .$$

    Every term is non-negative, so nothing cancels in float32 and $n = 0$ and $n = \infty$ are ordinary values.

    **Assumes** independent label noise, the normaliser n + 1, the query token inside the sum, and covariates that are Gaussian, or for one
    head have independent symmetric coordinates before mixing by `problem.root`; then terms in two cumulants are added, equation (25).

    Args:
        params: V and Q of one head, or of several, with query and key merged or separate; any values.
        problem: covariance of the covariates and label noise.
        task: the regression vector.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.
        covariates: law of the covariates; other than Gaussian for one head only.
        model: another model than one layer of linear attention, such as a transformer, which is exact for `jnp.inf` and 0 shots.

    Returns:
        The mean squared error, in squared units of the labels. Differentiable in every argument but `num_shots`.

    Raises:
        ValueError: if shapes do not match the problem, an entry is not finite, `num_shots` is negative or fractional, or nothing is exact
            for the covariates or about the model there.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (n-shot error); docs/theory.md, equation (8).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> untrained = lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7)))
        >>> float(lsa.population_risk(untrained, problem, jnp.ones(5), num_shots=20))
        5.25
    """
    if model is not None:
        return _theory_of(model, covariates).risk(problem, checks.as_task("task", task, problem.dim))(params, num_shots)
    require_same_dim(params, problem)
    task = checks.as_task("task", task, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _risk(params, problem, task, shots, exact_law(covariates, params))


def prior_risk(
    params: Any,
    problem: LinearRegression,
    prior: TaskPrior,
    num_shots: ArrayLike,
    *,
    covariates: Covariates = gaussian,
    model: Any = None,
) -> Float[Array, ""]:
    r"""Compute the exact n-shot error averaged over a task prior, the pretraining loss $E_\theta\,\mathcal{E}(V,Q,n;\theta)$.

    The error is a polynomial of degree 4 in the whitened task τ. With $\delta = \tau - E\tau$ a prior enters through the mean and
    covariance of τ, the variance of $|\delta|^2$ and $E|\delta|^2\delta$ alone: the cost does not grow with the tasks of a pool.

    **Assumes** what `population_risk` does.

    Args:
        params: V and Q of one head, or of several, with query and key merged or separate; any values.
        problem: covariance of the covariates and label noise.
        prior: law of the tasks, with moments.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.
        covariates: law of the covariates; other than Gaussian for one head only.
        model: another model, see `population_risk`; of a transformer over finite pools only.

    Returns:
        The mean squared error, in squared units of the labels.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior has no moments, shapes do not match the problem, an entry is not finite, `num_shots` is negative or
            fractional, or nothing is exact for the covariates.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objective (a); docs/theory.md, equations (9), (10) and (22).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> untrained = lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7)))
        >>> round(float(lsa.prior_risk(untrained, problem, lsa.SpherePrior(dim=5, radius=2.0), num_shots=20)), 4)
        4.25
    """
    require_prior_dim(prior, problem.dim)
    if model is not None:
        return _theory_of(model, covariates).risk(problem, prior)(params, num_shots)
    require_same_dim(params, problem)
    tasks, shots = as_tasks(prior, problem), checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _risk(params, problem, tasks, shots, exact_law(covariates, params))


def risk_function(
    problem: LinearRegression, tasks: Tasks, covariates: CovariateLaw = gaussian
) -> Callable[[LayerParams, ArrayLike], Float[Array, ""]]:
    """Return the exact risk as a function of (params, num_shots), with what depends on the problem alone computed once.

    For loops that evaluate many parameters on one problem; unlike `population_risk` it checks nothing.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: one task, or a prior to average over.
        covariates: law of the covariates; other than Gaussian for one head only.

    Returns:
        The function.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> risk = risk_function(problem, jnp.ones(5))
        >>> float(risk(lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7))), 20))
        5.25
    """
    error = _error_function(problem, tasks, covariates, labelled=True)
    return lambda params, num_shots: error(params.acting, num_shots)


def second_moment_function(problem: LinearRegression, tasks: Tasks) -> Callable[[Heads, ArrayLike], Float[Array, ""]]:
    """Return the second moment of the prediction as a function of (heads, num_shots); it checks nothing.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: one task, or a prior to average over.

    Returns:
        The function.
    """
    return _error_function(problem, tasks, gaussian, labelled=False)


def as_tasks(tasks: Any, problem: LinearRegression) -> Tasks:
    """Return one task or one prior with moments, of the problem's dimension.

    Args:
        tasks: a regression vector or a prior.
        problem: the data law.

    Returns:
        The task or the prior.

    Raises:
        TypeError: if `tasks` is neither.
        ValueError: if dimensions differ, an entry is not finite, or a prior has no moments.
    """
    if not isinstance(tasks, TaskPrior):
        return checks.as_task("task", tasks, problem.dim)
    require_prior_dim(tasks, problem.dim)
    require_moments(tasks)
    return tasks


def exact_law(covariates: Covariates, params: LayerParams) -> CovariateLaw:
    """Return the law of the covariates, for which risks of the parameters are exact.

    Args:
        covariates: law of the covariates.
        params: parameters of one head or several.

    Returns:
        The law.

    Raises:
        ValueError: if its cumulants are not known, or it is not Gaussian and there are several heads.
    """
    law = require_cumulants(covariates)
    if law is not gaussian and not isinstance(params, Params):
        raise InputError("risks of several heads are exact for Gaussian covariates only: use empirical_risk with sampler='tokens'")
    return law


def _error_function(
    problem: LinearRegression, tasks: Tasks, covariates: CovariateLaw, *, labelled: bool
) -> Callable[[Heads, ArrayLike], Float[Array, ""]]:
    """The squared error, or unless labelled the second moment, with what depends on the problem alone computed once."""
    with precision.in_force():
        root = problem.root
        law = moments_of(tasks, root) if isinstance(tasks, TaskPrior) else whitening.of_task(tasks, root)

    def error(heads: Heads, num_shots: ArrayLike) -> Float[Array, ""]:
        with precision.in_force():
            whitened = whitening.whiten(heads, root)
            query_weight = 1 / (jnp.asarray(num_shots, root.dtype) + 1)
            return moments.squared_error(whitened, law, problem.noise_std, query_weight, labelled=labelled, covariates=covariates)

    return error


def _theory_of(model: Any, covariates: Covariates) -> Any:
    """What is exact about a model on Gaussian covariates, or a refusal."""
    if model.theory is None or covariates is not gaussian:
        told = "" if model.theory is None else " for covariates that are not Gaussian"
        raise InputError(f"model {model.name!r} has no exact risk{told}: use empirical_risk")
    return model.theory


@functools.partial(jax.jit, static_argnums=4)
def _risk(
    params: LayerParams, problem: LinearRegression, tasks: Tasks, num_shots: Float[Array, ""], covariates: CovariateLaw
) -> Float[Array, ""]:
    """Evaluate `risk_function` as one compiled program."""
    return risk_function(problem, tasks, covariates)(params, num_shots)
