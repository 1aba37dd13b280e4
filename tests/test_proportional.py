"""Pools in proportion against spectra and exact errors of drawn pools, and regression on prompts against dense solves and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import optima, prompt_regression, prompts, proportional
from lsa_jax.claims import case as cases
from lsa_jax.claims import pools
from lsa_jax.claims.settings import Settings

SYMMETRIC = {0.2: (1.1488, 1.1488), 0.5: (0.9707, 0.9713), 1.0: (0.8004, 0.8012), 2.0: (0.7028, 0.7038), 10.0: (0.6447, 0.6453)}
"""Error on fresh tasks by tasks over dimension, in the limit and at d = 300, for α = ρ = 2, σ = ½; computed for the project elsewhere."""


def spectrum_error(random: np.random.Generator, dim: int, size: float, noise: float) -> float:
    """Error on fresh tasks of (12) over drawn tasks and their opposites, from their eigenvalues, with 2d examples everywhere."""
    tasks = random.standard_normal((round(size * dim), dim)) / dim**0.5
    values = np.linalg.eigvalsh(tasks.T @ tasks / len(tasks))
    q = 1 / (2 * dim + 1)
    kept = values / (values + (values.sum() + noise) * q)
    return noise + 1 - 2 * (1 - q) * kept.mean() + (1 - q) * (kept**2).mean() + (1 - q) * q * (1 + noise) * (kept**2).sum()


@pytest.mark.parametrize("size", [0.3, 1.0, 2.5])
def test_the_resolvent_is_that_of_drawn_pools(size: float) -> None:
    tasks = np.random.default_rng(0).standard_normal((round(size * 1000), 1000))
    values = np.linalg.eigvalsh(tasks.T @ tasks / len(tasks)) if size >= 1 else np.zeros(1000)
    if size < 1:
        values[: len(tasks)] = np.linalg.eigvalsh(tasks @ tasks.T / len(tasks))
    for shift in (0.05, 1.0):
        assert float(proportional.resolvent(shift, size)) == pytest.approx((1 / (values + shift)).mean(), rel=0.02)
        assert float(proportional.resolvent(2 * shift, size)) != pytest.approx((1 / (values + shift)).mean(), rel=0.05)


def test_limits_are_those_published() -> None:
    few = proportional.pool_errors(10.0, 0.6, 0.1)
    assert (round(float(few.prior), 4), round(float(few.pool), 4)) == (0.4731, 0.0637)
    for size, (limit, _) in SYMMETRIC.items():
        assert float(proportional.symmetric_pool_error(2.0, 2.0, size, 0.5)) == pytest.approx(limit, abs=6e-5)


def test_infinitely_many_tasks_and_prompts_give_the_error_of_the_prior() -> None:
    x = 1.01 / 10
    many = proportional.pool_errors(10.0, jnp.inf, 0.1)
    assert float(many.prior) == pytest.approx(1.01 - 1 / (1 + x), rel=1e-12)
    assert float(many.pool) == pytest.approx(float(many.prior), rel=1e-12)
    assert float(proportional.symmetric_pool_error(10.0, 10.0, jnp.inf, 0.1)) == pytest.approx(float(many.prior), rel=1e-7)
    nearly = proportional.pool_errors(10.0, 0.6, 0.1, 1e9)
    assert float(nearly.prior) == pytest.approx(float(proportional.pool_errors(10.0, 0.6, 0.1).prior), rel=1e-7)


@pytest.mark.parametrize("size", [0.5, pytest.param(1.0, marks=pytest.mark.slow), pytest.param(10.0, marks=pytest.mark.slow)])
def test_symmetric_pools_approach_their_limit_as_one_over_the_dimension(size: float) -> None:
    random, limit = np.random.default_rng(0), float(proportional.symmetric_pool_error(2.0, 2.0, size, 0.5))
    gaps = {
        dim: np.array([spectrum_error(random, dim, size, 0.25) for _ in range(count)]) - limit for dim, count in ((24, 2000), (96, 600))
    }
    slope = np.log(gaps[96].mean() / gaps[24].mean()) / np.log(4)
    error = np.hypot(*(gap.std() / len(gap) ** 0.5 / gap.mean() for gap in gaps.values())) / np.log(4)
    assert error < 0.07
    assert abs(slope + 1) < max(0.1, 3 * error)
    assert limit + gaps[96].mean() * 96 / 300 == pytest.approx(SYMMETRIC[size][1], abs=1e-3), "the table at d = 300"


@pytest.mark.slow
def test_claims_about_pools_hold_at_the_published_setting() -> None:
    with jax.enable_x64(True):
        case = cases.prepare(Settings(dim=5, shots=50, pretraining_shots=10, noise_std=0.1))
        findings = [*pools.proportional_limits(case), *pools.symmetric_limits(case)]
    assert all(finding.holds and finding.precise for finding in findings), [finding.verdict for finding in findings]
    assert sum(finding.exact == -1 for finding in findings) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "count", "tabulated"), [(50, 64, 0.5077), (200, 12, None), (600, 2, 0.4757)])
def test_the_optimum_of_a_pool_approaches_the_limit(dim: int, count: int, tabulated: float | None) -> None:
    errors = np.array([
        pools.pool_errors(jax.random.key(seed), 0.1, 10.0 * dim, 10.0 * dim, dim, round(0.6 * dim), False) for seed in range(count)
    ])
    limit = proportional.pool_errors(10.0, 0.6, 0.1)
    gap, error = errors[:, 0].mean() - float(limit.prior), errors[:, 0].std(ddof=1) / count**0.5
    assert abs(dim * gap - 1.63) < 4 * dim * error + 0.1, "the same gap times d at every d: slope -1"
    assert errors[:, 1].mean() == pytest.approx(float(limit.pool), abs=5e-4)
    if tabulated:
        assert abs(errors[:, 0].mean() - tabulated) < max(1e-3, error * count**0.5), "within the spread of single pools"


def test_label_sums_have_the_moments_of_drawn_examples() -> None:
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(2, 1.0), noise_std=0.6)
    tasks, count, shots = np.array([[1.0], [-0.5]]), 200_000, 5
    drawn = np.asarray(prompts.sample_label_sums(jax.random.key(0), problem, jnp.asarray(np.repeat(tasks, count, axis=1)), shots))
    random = np.random.default_rng(1)
    x = random.standard_normal((count, shots, 2)) @ np.asarray(problem.root).T
    y = x @ tasks[:, 0] + 0.6 * random.standard_normal((count, shots))
    summed = np.concatenate([np.einsum("ki,kid->dk", y, x), np.sum(y**2, axis=1)[None]])
    for power in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 2], [1, 1, 1], [2, 0, 1]):
        one, other = (np.prod([row**exponent for row, exponent in zip(rows, power, strict=True)], axis=0) for rows in (drawn, summed))
        spread = np.hypot(one.std(), other.std()) / count**0.5
        assert abs(one.mean() - other.mean()) < 4.5 * spread, power
        assert spread < 0.02 * max(abs(other.mean()), other.std()), power


@pytest.mark.parametrize(("count", "penalty"), [(200, 0.0), (40, 1e-2)])
def test_conjugate_gradients_find_the_dense_solution(count: int, penalty: float) -> None:
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(6, 1.0), noise_std=0.3)
    pool = lsa.FiniteTasks(tasks=lsa.SpherePrior(dim=6).sample(jax.random.key(0), 4).T)
    features, queries, labels = (
        np.asarray(part) for part in prompt_regression.sample_regression(jax.random.key(1), problem, pool, 30.0, count)
    )
    rows = np.einsum("ki,kj->kij", features, queries).reshape(count, -1)
    dense = np.linalg.solve(rows.T @ rows / count + penalty * np.eye(42), rows.T @ labels / count).reshape(7, 6)
    found = lsa.prompt_ridge(jax.random.key(1), problem, pool, 30, count, penalty)
    np.testing.assert_allclose(found.query_key[1:, 1:-1], dense, atol=1e-7 * np.abs(dense).max())


@pytest.mark.slow
def test_regression_on_prompts_tends_to_the_slice_and_has_the_limits_of_finitely_many() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(4), noise_std=0.3)
    pool = lsa.FiniteTasks(tasks=lsa.SpherePrior(dim=4).sample(jax.random.key(0), 3).T)
    best = float(lsa.prior_risk(optima.pretrained_slice(problem, pool, 20), problem, pool, 20))
    excess = [
        float(lsa.prior_risk(lsa.prompt_ridge(jax.random.key(1), problem, pool, 20, count), problem, pool, 20)) - best
        for count in (4000, 200_000)
    ]
    assert 0 < excess[1] < excess[0] / 20
    gaps, sizes = {}, {24: 12, 48: 4}
    for dim, count in sizes.items():
        law = lsa.LinearRegression(covariance=jnp.eye(dim), noise_std=0.1)
        limit = proportional.pool_errors(10.0, 0.5, 0.1, 4.0)
        errors = []
        for seed in range(count):
            drawn = lsa.FiniteTasks(tasks=lsa.SpherePrior(dim=dim).sample(jax.random.key(seed), dim // 2).T)
            fitted = lsa.prompt_ridge(jax.random.key(100 + seed), law, drawn, 10 * dim, 4 * dim**2)
            errors.append([float(lsa.prior_risk(fitted, law, tasks, 10 * dim)) for tasks in (lsa.SpherePrior(dim=dim), drawn)])
        gaps[dim] = np.mean(errors, axis=0) - np.array([float(limit.prior), float(limit.pool)])
    assert np.all(gaps[24] > 0)
    np.testing.assert_allclose(gaps[48] / gaps[24], 0.5, atol=0.2)
