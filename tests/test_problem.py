"""The data law, the parameters and the priors as values: replaced, compared, mapped over."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa

COVARIANCE = jnp.array([[2.0, 0.5], [0.5, 1.0]])
PROBLEM = lsa.LinearRegression(covariance=COVARIANCE, noise_std=0.3)
PARAMS = lsa.Params(value=jnp.ones((4, 4)), query_key=jnp.eye(4))


def test_replacing_one_number_keeps_the_other() -> None:
    for noisier in (PROBLEM.replace(noise_std=0.5), dataclasses.replace(PROBLEM, noise_std=0.5)):
        assert noisier.noise_std == 0.5
        np.testing.assert_array_equal(noisier.root, PROBLEM.root)
    for changed in (PROBLEM.replace(covariance=jnp.eye(2)), dataclasses.replace(PROBLEM, covariance=jnp.eye(2))):
        assert changed.noise_std == PROBLEM.noise_std
        np.testing.assert_array_equal(changed.covariance, jnp.eye(2))
    moved = dataclasses.replace(PARAMS, value=jnp.zeros((4, 4)))
    assert not moved.value.any()
    np.testing.assert_array_equal(moved.query_key, PARAMS.query_key)


def test_what_is_replaced_is_checked() -> None:
    with pytest.raises(ValueError, match="noise_std is -1; it must be at least 0"):
        PROBLEM.replace(noise_std=-1.0)
    with pytest.raises(ValueError, match="covariance is not positive definite"):
        PROBLEM.replace(covariance=jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="is no Cholesky factor"):
        PROBLEM.replace(root=COVARIANCE)
    with pytest.raises(ValueError, match="needs covariance and noise_std"):
        lsa.LinearRegression(covariance=COVARIANCE)
    with pytest.raises(ValueError, match="needs covariance and noise_std"):
        lsa.LinearRegression(noise_std=0.3)
    assert jnp.isnan(jax.jit(lambda root: PROBLEM.replace(root=root).root)(COVARIANCE)).all()
    assert not jnp.isnan(jax.jit(lambda root: PROBLEM.replace(root=root).root)(PROBLEM.root)).any()


def test_equal_numbers_make_equal_values() -> None:
    assert lsa.LinearRegression(covariance=np.asarray(COVARIANCE), noise_std=0.3) == PROBLEM
    assert lsa.LinearRegression(covariance=COVARIANCE, noise_std=0.31) != PROBLEM
    assert lsa.LinearRegression(covariance=COVARIANCE.at[0, 0].add(1e-9), noise_std=0.3) != PROBLEM
    assert lsa.Params(value=jnp.ones((4, 4)), query_key=jnp.eye(4)) == PARAMS
    assert lsa.Params(value=jnp.ones((3, 3)), query_key=jnp.eye(3)) != PARAMS
    assert PROBLEM != PARAMS
    assert copy.deepcopy(PROBLEM) == PROBLEM
    assert pickle.loads(pickle.dumps(PROBLEM)) == PROBLEM
    with pytest.raises(TypeError, match="unhashable"):
        hash(PROBLEM)


def test_one_number_alone_is_mapped_over() -> None:
    noise = jnp.array([0.0, 0.5, 2.0])
    problems = jax.tree.unflatten(jax.tree.structure(PROBLEM), [noise, PROBLEM.root])
    wanted = [lsa.population_risk(PARAMS, PROBLEM.replace(noise_std=one), jnp.ones(2), 3) for one in noise]
    for axes in (lsa.LinearRegression(covariance=None, noise_std=0), problems.replace(root=None, noise_std=0)):
        found = jax.vmap(lambda problem: lsa.population_risk(PARAMS, problem, jnp.ones(2), 3), in_axes=(axes,))(problems)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    values = lsa.Params(value=0, query_key=None)
    doubled = jax.vmap(lambda factor: lsa.Params(value=factor * PARAMS.value, query_key=PARAMS.query_key), out_axes=values)(noise)
    assert (doubled.value.shape, doubled.query_key.shape) == ((3, 4, 4), (4, 4))
    found = jax.vmap(lambda params: lsa.population_risk(params, PROBLEM, jnp.ones(2), 3), in_axes=(values,))(doubled)
    assert found.shape == (3,)


PRIORS = (
    lsa.GaussianPrior(mean=jnp.ones(2), covariance=COVARIANCE),
    lsa.SpherePrior(dim=2, radius=2.0),
    lsa.FiniteTasks(tasks=jnp.eye(2)),
)


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
def test_priors_are_values(prior: lsa.priors.TaskPrior) -> None:
    assert pickle.loads(pickle.dumps(prior)) == prior
    assert [other == prior for other in PRIORS].count(True) == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(prior)


def test_parts_of_a_prior_are_replaced_and_checked() -> None:
    gaussian, sphere, pool = PRIORS
    assert gaussian.replace(mean=jnp.zeros(2)) == lsa.GaussianPrior(mean=jnp.zeros(2), covariance=COVARIANCE)
    assert gaussian.replace(covariance=jnp.eye(2)) == lsa.GaussianPrior(mean=jnp.ones(2), covariance=jnp.eye(2))
    assert dataclasses.replace(sphere, radius=3.0) == sphere.replace(radius=3.0) != sphere
    assert pool.replace(tasks=jnp.ones((3, 2))).num_tasks == 3
    with pytest.raises(ValueError, match=r"prior root has shape \(3, 3\); it must have shape \(2, 2\)"):
        gaussian.replace(root=jnp.eye(3))
    with pytest.raises(ValueError, match="needs mean and covariance; give both"):
        lsa.GaussianPrior(mean=jnp.ones(2))
    with pytest.raises(ValueError, match="radius is -1"):
        sphere.replace(radius=-1.0)


def test_the_mean_of_a_prior_alone_is_mapped_over() -> None:
    gaussian, means = PRIORS[0], jnp.array([[0.0, 0.0], [1.0, -1.0]])
    priors = jax.vmap(lambda mean: gaussian.replace(mean=mean), out_axes=lsa.GaussianPrior(mean=0, covariance=None))(means)
    axes = (lsa.GaussianPrior(mean=0, covariance=None),)
    found = jax.vmap(lambda prior: lsa.prior_risk(PARAMS, PROBLEM, prior, 3), in_axes=axes)(priors)
    wanted = [lsa.prior_risk(PARAMS, PROBLEM, lsa.GaussianPrior(mean=mean, covariance=COVARIANCE), 3) for mean in means]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
