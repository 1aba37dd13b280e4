"""Pretraining steps in PyTorch: as published, and two stronger ones.

All draw fresh prompts of fresh tasks from the unit sphere every step and take SGD steps with momentum 0.9 and gradients clipped to norm 1.

* `PublishedPretraining`, written from the description of the published code: dense attention over all n + 1 tokens of every prompt, and
  the loss read back every step;
* `LastTokenPretraining`: only the prediction is computed, in time linear in the number of tokens, and nothing is read back;
* `CompiledPretraining`: the same for many seeds in one program, batched by `torch.func` and compiled by `torch.compile`.
"""

import numpy as np
import torch

import lsa_jax as lsa

LEARNING_RATE, MOMENTUM = 0.01, 0.9


def tensors(params: lsa.Params) -> tuple[torch.Tensor, torch.Tensor]:
    """Return V and Q as PyTorch holds them.

    Args:
        params: the parameters.

    Returns:
        Both in float32.
    """
    return torch.from_numpy(np.array(params.value, np.float32)), torch.from_numpy(np.array(params.query_key, np.float32))


def draw(tokens: int, batch: int, dim: int, noise_std: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a batch of prompts of fresh tasks.

    Args:
        tokens: tokens of a prompt, the query included.
        batch: number of prompts.
        dim: dimension d.
        noise_std: label noise σ.

    Returns:
        The tokens, one a row, and the labels of the queries.
    """
    task = torch.nn.functional.normalize(torch.randn(batch, dim), dim=1)
    x = torch.randn(batch, tokens, dim)
    y = torch.einsum("btd,bd->bt", x, task) + noise_std * torch.randn(batch, tokens)
    shown = torch.cat([y[:, :-1], torch.zeros(batch, 1)], dim=1)
    return torch.cat([torch.ones(batch, tokens, 1), x, shown[..., None]], dim=2), y[:, -1]


def last_token_loss(value: torch.Tensor, query_key: torch.Tensor, prompts: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Compute the mean squared error of the predictions alone: v and Qz on every token.

    Args:
        value: V.
        query_key: Q.
        prompts: tokens of a batch of prompts.
        targets: labels of the queries.

    Returns:
        The loss.
    """
    query = prompts[:, -1]
    scores = torch.einsum("bti,bi->bt", prompts, query @ query_key.T)
    predictions = query[:, -1] + (scores * (prompts @ value[-1])).mean(dim=1)
    return ((predictions - targets) ** 2).mean()


class PublishedPretraining:
    """One model trained on prompts of fresh tasks from the unit sphere."""

    def __init__(
        self,
        dim: int,
        shots: int,
        batch_size: int,
        noise_std: float,
        value: torch.Tensor,
        query_key: torch.Tensor,
        *,
        value_only: bool = False,
    ) -> None:
        """Start from the given parameters, and train both or V alone."""
        self.dim, self.shots, self.batch_size, self.noise_std = dim, shots, batch_size, noise_std
        self.value, self.query_key = value.clone().requires_grad_(), query_key.clone().requires_grad_(not value_only)
        self.trained = [self.value] if value_only else [self.value, self.query_key]
        self.optimizer = torch.optim.SGD(self.trained, lr=LEARNING_RATE, momentum=MOMENTUM)

    def loss(self) -> torch.Tensor:
        """Mean squared error on a fresh batch."""
        prompts, targets = draw(self.shots + 1, self.batch_size, self.dim, self.noise_std)
        columns = prompts.transpose(1, 2)
        attention = prompts @ self.query_key @ columns
        output = columns + self.value @ columns @ attention / (self.shots + 1)
        return ((output[:, -1, -1] - targets) ** 2).mean()

    def update(self) -> torch.Tensor:
        """Take one step and return the loss, not read back."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return loss

    def step(self) -> float | None:
        """Take one step and read the loss back."""
        return float(self.update().item())


class LastTokenPretraining(PublishedPretraining):
    """The same training, only the prediction computed and the loss left where it is."""

    def loss(self) -> torch.Tensor:
        """Mean squared error on a fresh batch."""
        return last_token_loss(self.value, self.query_key, *draw(self.shots + 1, self.batch_size, self.dim, self.noise_std))

    def step(self) -> None:
        """Take one step, and read nothing back."""
        self.update()


class CompiledPretraining:
    """Many seeds in one compiled step."""

    def __init__(
        self, dim: int, shots: int, batch_size: int, noise_std: float, value: torch.Tensor, query_key: torch.Tensor, seeds: int
    ) -> None:
        """Start all seeds from the given parameters."""
        self.params = tuple(start.expand(seeds, *start.shape).clone() for start in (value, query_key))
        self.momenta = tuple(torch.zeros_like(params) for params in self.params)
        gradient = torch.func.grad(last_token_loss, argnums=(0, 1))

        def advance(
            params: tuple[torch.Tensor, ...], momenta: tuple[torch.Tensor, ...], prompts: torch.Tensor, targets: torch.Tensor
        ) -> list[tuple[torch.Tensor, ...]]:
            slopes = torch.func.vmap(gradient)(*params, prompts, targets)
            norms = sum(slope.square().sum(dim=(1, 2), keepdim=True) for slope in slopes) ** 0.5
            momenta = tuple(MOMENTUM * old + slope / norms.clamp(min=1.0) for old, slope in zip(momenta, slopes, strict=True))
            return [tuple(old - LEARNING_RATE * move for old, move in zip(params, momenta, strict=True)), momenta]

        def fresh() -> list[torch.Tensor]:
            return [drawn.unflatten(0, (seeds, batch_size)) for drawn in draw(shots + 1, seeds * batch_size, dim, noise_std)]

        self.fresh, self.advance = fresh, torch.compile(advance)

    def step(self) -> None:
        """Take one step of every seed; the random numbers are drawn outside the compiled program, which would draw them slower."""
        self.params, self.momenta = self.advance(self.params, self.momenta, *self.fresh())
