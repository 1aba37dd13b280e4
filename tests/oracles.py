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


Rule = tuple[np.ndarray, np.ndarray]
HERMITE = np.polynomial.hermite_e.hermegauss(4)
GAUSSIAN: Rule = (HERMITE[0], HERMITE[1] / HERMITE[1].sum())
"""Nodes and weights of the standard normal law, exact up to degree 7."""


def quadrature_prompts(
    root: np.ndarray, noise_std: float, task: np.ndarray, num_shots: int, coordinates: Rule = GAUSSIAN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompts, their targets and weights: every combination of the nodes of all coordinates and noises."""
    dim = len(task)
    rules = ([coordinates] * dim + [GAUSSIAN]) * (num_shots + 1)
    grid = np.stack(np.meshgrid(*[nodes for nodes, _ in rules], indexing="ij"), -1).reshape(-1, num_shots + 1, dim + 1)
    probability = np.array(list(itertools.product(*[weights for _, weights in rules]))).prod(axis=1)
    x = grid[..., :dim] @ root.T
    y = x @ task + noise_std * np.asarray(grid[..., dim], float)
    tokens = np.concatenate([np.ones_like(y)[..., None], x, y[..., None]], axis=-1)
    target = tokens[:, -1, -1].copy()
    tokens[:, -1, -1] = 0.0
    return tokens, target, probability


def heads_prediction(value: np.ndarray, query_key: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Last entry of Z + mean over heads of V Z Z' Q Z / N for each prompt of a batch, every matrix written out."""
    columns = np.swapaxes(tokens, 1, 2)
    outputs = [columns + one @ columns @ tokens @ other @ columns / tokens.shape[1] for one, other in zip(value, query_key, strict=True)]
    return np.mean(outputs, axis=0)[:, -1, -1]


def quadrature_risk(
    value: np.ndarray,
    query_key: np.ndarray,
    root: np.ndarray,
    noise_std: float,
    task: np.ndarray,
    num_shots: int,
    coordinates: Rule = GAUSSIAN,
) -> float:
    """n-shot error of one head, or of a stack of them, by quadrature."""
    tokens, target, probability = quadrature_prompts(root, noise_std, task, num_shots, coordinates)
    size = value.shape[-1]
    prediction = heads_prediction(value.reshape(-1, size, size), query_key.reshape(-1, size, size), tokens)
    return float(probability @ (prediction - target) ** 2)
