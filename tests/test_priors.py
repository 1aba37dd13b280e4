"""Task priors: own classes, laws of lower rank, pools, and priors read from specs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import evaluation, objectives, optima, priors, prompts

KEY = jax.random.key(0)
PROBLEM = lsa.LinearRegression(covariance=lsa.covariances.power_law(3, 1.0), noise_std=0.3)
SPHERE = lsa.SpherePrior(dim=3)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Scaled:
    """Independent coordinates, signs times a scale; no moments."""

    scales: jax.Array

    @property
    def dim(self) -> int:
        """Dimension of the tasks."""
        return self.scales.shape[-1]

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Draw tasks, one a column."""
        return self.scales[:, None] * jax.random.rademacher(key, (self.dim, count), self.scales.dtype)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ScaledWithMoments(Scaled):
    """The same law with its moments; the corners of a box are a pool of equally likely tasks."""

    def corners(self) -> lsa.FiniteTasks:
        """The law as a pool."""
        signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * self.dim, indexing="ij"), -1).reshape(-1, self.dim)
        return lsa.FiniteTasks(tasks=signs * self.scales[None])

    def moments(self, root: jax.Array) -> priors.TaskMoments:
        """Variance of |Lᵀθ|² from E θᵢθⱼθₖθₗ of independent signs."""
        gram, squares = root @ root.T, self.scales**2
        mixed = gram * jnp.sqrt(jnp.outer(squares, squares))
        return priors.TaskMoments(
            mean=jnp.zeros(self.dim),
            covariance=root.T @ jnp.diag(squares) @ root,
            squared_norm_variance=2 * (jnp.sum(mixed**2) - jnp.sum(jnp.diag(mixed) ** 2)),
        )


OWN, EXACT = Scaled(scales=jnp.arange(1.0, 4.0)), ScaledWithMoments(scales=jnp.arange(1.0, 4.0))


def random_params(seed: int, dim: int = 3) -> lsa.Params:
    """Parameters with every entry of order one."""
    value, query_key = jax.random.normal(jax.random.key(seed), (2, dim + 2, dim + 2))
    return lsa.Params(value=value, query_key=query_key)


@pytest.mark.slow
def test_an_own_prior_is_trained_on_and_simulated() -> None:
    for sampler in ("projected", "tokens"):
        objective = lsa.regimes.stages("pretrained", objectives.fresh_prompts(PROBLEM, OWN, 64, sampler=sampler), 5)[0]
        settings = lsa.training.Settings(steps=20, history_stride=20)
        run = lsa.training.train(KEY, objective, lsa.models.LINEAR.init(KEY, 3), lsa.optimizers.sgd(0.01, 20), settings)
        assert np.isfinite(run.params.query_key).all()
        assert jnp.abs(run.params.query_key - lsa.models.LINEAR.init(KEY, 3).query_key).max() > 0
    task = prompts.sample_task(KEY, OWN)
    np.testing.assert_array_equal(jnp.abs(task), OWN.scales)
    assert evaluation.error_curves(random_params(0), PROBLEM, task[None], jnp.array([5.0])).shape == (1, 1)


@pytest.mark.parametrize(
    "exact",
    [
        lambda: lsa.prior_risk(random_params(0), PROBLEM, OWN, 5),
        lambda: objectives.population_gradient(PROBLEM, OWN),
        lambda: optima.pretrained(PROBLEM, OWN, 5),
        lambda: priors.is_symmetric(OWN),
    ],
)
def test_exact_values_of_a_prior_without_moments_are_refused(exact: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"^Scaled has no exact moments: use sampled training .*or give the class moments\(root\)$"):
        exact()


def test_an_own_prior_with_moments_has_exact_values() -> None:
    pool = EXACT.corners()
    for shots in (0, 5, jnp.inf):
        exact = lsa.prior_risk(random_params(1), PROBLEM, EXACT, shots)
        np.testing.assert_allclose(exact, lsa.prior_risk(random_params(1), PROBLEM, pool, shots), rtol=1e-12)
    optimum = optima.pretrained(PROBLEM, EXACT, 5)
    np.testing.assert_allclose(optimum.query_key, optima.pretrained(PROBLEM, pool, 5).query_key, atol=1e-12)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Misshapen(Scaled):
    """Tasks one a row and moments of another dimension: what a class of one's own may get wrong."""

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Draw tasks, one a row."""
        return jax.random.normal(key, (count, self.dim))

    def moments(self, root: jax.Array) -> priors.TaskMoments:
        """Moments of a law in two dimensions."""
        return priors.TaskMoments(mean=jnp.zeros(2), covariance=jnp.eye(2), squared_norm_variance=jnp.zeros(()))


def test_samplers_and_moments_of_the_wrong_shape_are_refused() -> None:
    prior = Misshapen(scales=jnp.ones(3))
    with pytest.raises(ValueError, match=r"Misshapen.sample gave shape \(4, 3\); it must give \(3, 4\), one task a column"):
        prompts.sample_tasks(KEY, prior, 4)
    with pytest.raises(ValueError, match=r"Misshapen.moments has a part of shape \(2,\), wanted \(3,\): vmap"):
        priors.moments_of(prior, jnp.eye(3))


BATCHES: dict[str, Callable[[jax.Array], priors.TaskPrior]] = {
    "sphere": lambda size: lsa.SpherePrior(dim=3, radius=size),
    "gaussian": lambda size: lsa.GaussianPrior(mean=size * jnp.ones(3), covariance=jnp.eye(3)),
    "pool": lambda size: lsa.FiniteTasks(tasks=size * jnp.eye(3)),
}


@pytest.mark.parametrize("family", BATCHES)
def test_a_forgotten_vmap_over_priors_is_refused(family: str) -> None:
    several = jax.vmap(BATCHES[family])(jnp.array([1.0, 2.0, 3.0]))
    message = r"prior holds a batch of shape \(3,\); it must be a single one: vmap over several"
    for call in (
        lambda: lsa.prior_risk(random_params(0), PROBLEM, several, 20),
        lambda: optima.pretrained(PROBLEM, several, 20),
        lambda: prompts.sample_tasks(KEY, several, 2),
        lambda: objectives.population_gradient(PROBLEM, several),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    risks = jax.vmap(lambda prior: lsa.prior_risk(random_params(0), PROBLEM, prior, 20))(several)
    assert len(set(np.asarray(risks).tolist())) == 3


def test_a_forgotten_vmap_over_problems_or_params_is_refused() -> None:
    problems = jax.vmap(lambda noise: lsa.LinearRegression(covariance=jnp.eye(3), noise_std=noise))(jnp.array([0.1, 0.2]))
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), random_params(0))
    for call in (
        lambda: lsa.population_risk(random_params(0), problems, jnp.ones(3), 20),
        lambda: lsa.prior_risk(random_params(0), problems, SPHERE, 20),
        lambda: optima.pretrained(problems, SPHERE, 20),
        lambda: optima.value(random_params(0), problems, jnp.ones(3)),
    ):
        with pytest.raises(ValueError, match=r"problem holds a batch of shape .*vmap over several"):
            call()
    for call in (
        lambda: lsa.population_risk(params, PROBLEM, jnp.ones(3), 20),
        lambda: optima.balanced(params, 0.0),
        lambda: optima.conserved_quantity(params),
    ):
        with pytest.raises(ValueError, match=r"params holds a batch of shape .*vmap over several"):
            call()


LOW_RANK = jnp.outer(jnp.array([1.0, 2.0, -1.0]), jnp.array([1.0, 2.0, -1.0]))


@pytest.mark.parametrize("added", [0.0, 1e-6])
@pytest.mark.parametrize("jit", [False, True])
def test_gaussian_priors_of_lower_rank_are_laws_like_others(added: float, jit: bool) -> None:
    def make(covariance: jax.Array) -> lsa.GaussianPrior:
        return lsa.GaussianPrior(mean=jnp.zeros(3), covariance=covariance)

    covariance = LOW_RANK + added * jnp.diag(jnp.array([1.0, 0.0, 1.0]))
    prior = (jax.jit(make) if jit else make)(covariance)
    np.testing.assert_allclose(prior.covariance, covariance, atol=1e-13)
    tasks = prompts.sample_tasks(KEY, prior, 50_000)
    np.testing.assert_allclose(tasks @ tasks.T / 50_000, covariance, atol=0.1)
    problem = lsa.LinearRegression(covariance=lsa.covariances.rotated(KEY, lsa.covariances.power_law(3, 1.0)), noise_std=0.3)
    for shots in (5, jnp.inf):
        optimum = optima.pretrained(problem, prior, shots)
        gradient = jax.grad(lsa.prior_risk)(optimum, problem, prior, shots)
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-10


def test_a_prior_covariance_that_is_not_semidefinite_is_refused_or_nan() -> None:
    with pytest.raises(ValueError, match=r"prior covariance is not positive semidefinite .*smallest eigenvalue -1"):
        lsa.GaussianPrior(mean=jnp.zeros(2), covariance=jnp.diag(jnp.array([1.0, -1.0])))
    traced = jax.jit(lambda covariance: lsa.GaussianPrior(mean=jnp.zeros(2), covariance=covariance).covariance)
    assert np.isnan(traced(jnp.array([[1.0, 2.0], [2.0, 1.0]]))).all()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_risks_over_a_prior_have_a_derivative_in_its_covariance_at_any_rank(rank: int) -> None:
    factor = jax.random.normal(jax.random.key(rank), (3, rank))
    move = jax.random.normal(jax.random.key(9), (3, rank))

    def risk(step: float) -> jax.Array:
        moved = factor + step * move
        return lsa.prior_risk(random_params(3), PROBLEM, lsa.GaussianPrior(mean=jnp.ones(3), covariance=moved @ moved.T), 4)

    _, slope = jax.jvp(risk, (0.0,), (1.0,))
    np.testing.assert_allclose(slope, (risk(1e-5) - risk(-1e-5)) / 2e-5, rtol=1e-6)


def polygon(corners: int, dtype: type = jnp.float64) -> lsa.FiniteTasks:
    """Corners of a regular polygon."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return lsa.FiniteTasks(tasks=jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1).astype(dtype))


@pytest.mark.thinned(4)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("corners", [4, 5, 12, 14, 100])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_regular_polygon_is_symmetric_at_any_scale(corners: int, scale: float, dtype: type) -> None:
    assert priors.is_symmetric(lsa.FiniteTasks(tasks=scale * polygon(corners, dtype).tasks))


@pytest.mark.thinned(4)
@pytest.mark.parametrize(
    "tasks",
    [
        1e-9 * np.ones((1, 2)),
        np.eye(2),
        np.array([[1.0, 0.0], [-1.0, 0.001]]),
        np.array([[2.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]),
        1e-9 * np.eye(2),
    ],
    ids=["one tiny task", "axes", "nearly opposite", "centred but skewed", "tiny axes"],
)
def test_pools_that_are_not_symmetric_are_told_at_any_scale(tasks: np.ndarray) -> None:
    pool, problem = lsa.FiniteTasks(tasks=tasks), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.1)
    assert not priors.is_symmetric(pool)
    with pytest.raises(ValueError, match="the prior is not symmetric about 0"):
        optima.pretrained(problem, pool, 20)
    traced = jax.jit(lambda tasks: optima.pretrained(problem, lsa.FiniteTasks(tasks), 20).query_key)(jnp.asarray(tasks))
    assert np.isnan(traced[1:-1, 1:-1]).all()


@pytest.mark.slow
def test_optimum_of_a_pool_with_the_moments_of_a_symmetric_one_is_stationary() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.3)
    pool = polygon(5)
    gradient = jax.grad(lsa.prior_risk)(optima.pretrained(problem, pool, 6), problem, pool, 6)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-12


@pytest.mark.thinned(4)
@pytest.mark.parametrize("angle", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_small_tasks_of_a_pool_are_not_taken_for_rounding(angle: float, dtype: type) -> None:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rows = np.diag([1.0, 1e-3]) @ rotation
    pool = lsa.FiniteTasks(tasks=jnp.asarray(np.concatenate([rows, -rows]), dtype))
    problem = lsa.LinearRegression(covariance=jnp.eye(2, dtype=dtype), noise_std=jnp.asarray(0.1, dtype))
    block = optima.pretrained(problem, pool, jnp.inf).query_key[1:-1, 1:-1]
    np.testing.assert_allclose(block, np.eye(2), atol=1e-3 if dtype is jnp.float32 else 1e-12)


def test_spec_gives_priors_as_text_and_as_arrays(tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    np.savez(path, tasks=np.eye(4)[:3])
    second = [[2.0, 0.0], [0.0, 0.0]]
    cases: list[tuple[Any, int, dict[str, Any]]] = [
        ("sphere:2", 3, {"radius": 2.0}),
        ({"mean": [1.0, 0.0], "covariance": second}, 2, {"mean": [1.0, 0.0], "covariance": second}),
        ({"covariance": second}, 2, {"mean": [0.0, 0.0], "covariance": second}),
        ({"tasks": second}, 2, {"tasks": second}),
        ({"file": str(path)}, 4, {"tasks": np.eye(4)[:3]}),
    ]
    for value, dim, parts in cases:
        prior = priors.from_spec(value, dim)
        for name, wanted in parts.items():
            np.testing.assert_allclose(getattr(prior, name), wanted)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"task": [[1.0]]}, "unknown key of a prior 'task'.*Did you mean 'tasks'"),
        ({"mean": [0.0, 0.0]}, "prior has the keys mean; give either tasks, or covariance and mean, or file alone"),
        ({"tasks": [[1.0, 0.0]], "covariance": np.eye(2)}, "prior has the keys covariance, tasks; give either"),
        ({"tasks": [[1.0, 2.0], [1.0]]}, "tasks is .*it must be rows of numbers, all of one length"),
        ({"tasks": [["a", "b"]]}, "tasks is .*it must be rows of numbers"),
        ({"tasks": np.eye(3)}, "prior has dim 3 but the problem has dim 2"),
        ({"covariance": np.diag([1.0, -1.0])}, "prior covariance is not positive semidefinite"),
        ({"file": "absent.npz"}, "prior file 'absent.npz' cannot be read .*numpy.savez"),
        ({"file": "pyproject.toml"}, "prior file 'pyproject.toml' cannot be read"),
        ("spere", "unknown prior 'spere'.*Did you mean 'sphere'"),
    ],
)
def test_bad_priors_of_a_spec_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        priors.from_spec(value, 2)
