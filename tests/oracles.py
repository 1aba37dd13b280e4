"""Slow truth, in numpy and plain loops: imports nothing of lsa_jax, so agreement with it is evidence."""

import itertools

import numpy as np


def loop_prediction(value: np.ndarray, query_key: np.ndarray, tokens: np.ndarray) -> float:
    """Last entry of Z + V Z Z' Q Z / N by the definition, every matrix written out; tokens hold one token a row."""
    columns = np.asarray(tokens, dtype=np.float64).T
    size, number = columns.shape
    result = 0.0
    for row in range(size):
        for inner in range(number):
            score = sum(columns[a, inner] * query_key[a, b] * columns[b, number - 1] for a in range(size) for b in range(size))
            result += value[size - 1, row] * columns[row, inner] * score
    return columns[size - 1, number - 1] + result / number


def quadrature_risk(
    value: np.ndarray,
    query_key: np.ndarray,
    root: np.ndarray,
    noise_std: float,
    task: np.ndarray,
    num_shots: int,
) -> float:
    """n-shot error by 4-node Gauss-Hermite quadrature over every Gaussian there is; exact, since no degree exceeds 7."""
    dim = len(task)
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    weights = weights / weights.sum()
    count = (num_shots + 1) * (dim + 1)
    grid = np.stack(np.meshgrid(*[nodes] * count, indexing="ij"), -1).reshape(-1, num_shots + 1, dim + 1)
    probability = np.array(list(itertools.product(weights, repeat=count))).prod(axis=1)
    x = grid[..., :dim] @ root.T
    y = x @ task + noise_std * grid[..., dim]
    tokens = np.concatenate([np.ones_like(y)[..., None], x, y[..., None]], axis=-1)
    target = tokens[:, -1, -1].copy()
    tokens[:, -1, -1] = 0.0
    columns = np.swapaxes(tokens, 1, 2)
    output = columns + value @ columns @ tokens @ query_key @ columns / (num_shots + 1)
    return float(probability @ (output[:, -1, -1] - target) ** 2)
