"""Slow truth about deep models, in numpy and plain loops: imports nothing of lsa_jax, so agreement with it is evidence."""

import math

import numpy as np


def loop_transformer(
    value: np.ndarray, query: np.ndarray, key: np.ndarray, tokens: np.ndarray, *, softmax: bool = False, query_attends: bool = True
) -> float:
    """Last entry of the last token after all layers, token by token and head by head; tokens hold one token a row."""
    states = [np.array(row, dtype=np.float64) for row in tokens]
    layers, heads = value.shape[:2]
    for layer in range(layers):
        attended = states if query_attends else states[:-1]
        updates = []
        for state in states:
            update = np.zeros_like(state)
            for head in range(heads):
                logits = [(key[layer, head] @ other) @ (query[layer, head] @ state) for other in attended]
                weights = [math.exp(logit) for logit in logits] if softmax else logits
                total = sum(weights) if softmax else len(attended)
                for other, weight in zip(attended, weights, strict=True):
                    update += value[layer, head] @ other * weight / total / heads
            updates.append(update)
        states = [state + update for state, update in zip(states, updates, strict=True)]
    return states[-1][-1]


def gelu(x: float) -> float:
    """The tanh form of the Gaussian error linear unit."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm(token: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One token centred and scaled, with the usual 1e-5 under the root."""
    centred = token - token.sum() / len(token)
    return scale * centred / math.sqrt((centred**2).sum() / len(token) + 1e-5) + shift


def descend(
    x: np.ndarray, y: np.ndarray, preconditioners: list[np.ndarray], total: int, curvatures: list[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels left and covariates moved by steps of preconditioned gradient descent over the first rows, which are the data.

    Every row is moved as the data move it: y <- y - x'A sum(x_i y_i)/total and x <- x + P sum(x_i x_i')Ax/total. With points
    whose label starts at 0 among the rows, what is left there is minus the prediction.
    """
    labels, points, data = y.astype(float).copy(), x.astype(float).copy(), total
    for step, matrix in enumerate(preconditioners):
        gradient, second = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
        for index in range(data):
            gradient += labels[index] * points[index] / total
            second += np.outer(points[index], points[index]) / total
        moved = points.copy()
        for index in range(len(labels)):
            labels[index] -= gradient @ matrix @ points[index]
            if curvatures is not None:
                moved[index] = points[index] + curvatures[step] @ second @ matrix @ points[index]
        points = moved
    return labels, points
