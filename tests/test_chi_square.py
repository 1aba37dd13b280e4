"""Chi-squares of several rows have their laws, and are independent, although rejected ones are drawn again a column at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from lsa_jax.prompts.chi_square import sample_chi_squares

COUNT = 40_000
DEGREES = np.array([1, 2, 2, 2, 3, 19])
"""Those of 2 degrees are rejected most often, one in twenty, so that two in a column are."""


def test_rows_are_independent_chi_squares() -> None:
    normals = jnp.broadcast_to(jax.random.normal(jax.random.key(1), (COUNT,)), (len(DEGREES), COUNT))
    drawn = np.asarray(jax.jit(sample_chi_squares)(jax.random.key(0), jnp.asarray(DEGREES[:, None], normals.dtype), normals))
    for degrees, row in zip(DEGREES, drawn, strict=True):
        assert stats.kstest(row, stats.chi2(degrees).cdf).pvalue > 1e-3
        assert stats.kstest(row, stats.chi2(1.05 * degrees).cdf).pvalue < 1e-3, "a twentieth more degrees would have passed"
    correlation = stats.spearmanr(drawn, axis=1).statistic[np.triu_indices(len(DEGREES), 1)]
    assert np.abs(correlation).max() < 4.5 / COUNT**0.5


def test_none_and_one_degree_need_no_draw() -> None:
    normals = jnp.array([3.0, -2.0])
    assert sample_chi_squares(jax.random.key(0), jnp.array([0.0, 1.0]), normals).tolist() == [0.0, 4.0]
