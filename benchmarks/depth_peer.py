"""Pretraining steps of a deep linear transformer in PyTorch, written from the description of the published code."""

import numpy as np
import torch

from benchmarks.peers import LEARNING_RATE, MOMENTUM, draw
from lsa_jax.models.transformer_params import TransformerParams


class PublishedDeepPretraining:
    """One model of several layers and heads, with separate query and key: every token moves in every layer, head by head."""

    def __init__(self, dim: int, shots: int, batch_size: int, noise_std: float, params: TransformerParams) -> None:
        """Start from the given parameters, and train all."""
        self.dim, self.shots, self.batch_size, self.noise_std = dim, shots, batch_size, noise_std
        leaves = (params.value, params.query, params.key)
        self.trained = [torch.from_numpy(np.array(leaf, np.float32)).requires_grad_() for leaf in leaves]
        self.optimizer = torch.optim.SGD(self.trained, lr=LEARNING_RATE, momentum=MOMENTUM)

    def loss(self) -> torch.Tensor:
        """Mean squared error on a fresh batch."""
        prompts, targets = draw(self.shots + 1, self.batch_size, self.dim, self.noise_std)
        columns = prompts.transpose(1, 2)
        for value, query, key in zip(*self.trained, strict=True):
            update = torch.zeros_like(columns)
            for head in range(len(value)):
                attention = (key[head] @ columns).transpose(1, 2) @ (query[head] @ columns)
                update = update + value[head] @ columns @ attention / (self.shots + 1)
            columns = columns + update / len(value)
        return ((columns[:, -1, -1] - targets) ** 2).mean()

    def step(self) -> float:
        """Take one step and read the loss back."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return float(loss.item())
