"""The published PyTorch training step, written from its description as its authors run it.

Dense attention over all n + 1 tokens of every prompt, fresh prompts every step, SGD with momentum 0.9 and gradients clipped to norm 1,
and the loss read back every step.
"""

import torch


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
        self.optimizer = torch.optim.SGD(self.trained, lr=0.01, momentum=0.9)

    def loss(self) -> torch.Tensor:
        """Mean squared error on a fresh batch."""
        batch, tokens, dim = self.batch_size, self.shots + 1, self.dim
        task = torch.nn.functional.normalize(torch.randn(batch, dim), dim=1)
        x = torch.randn(batch, tokens, dim)
        y = torch.einsum("btd,bd->bt", x, task) + self.noise_std * torch.randn(batch, tokens)
        shown = y.clone()
        shown[:, -1] = 0.0
        columns = torch.cat([torch.ones(batch, tokens, 1), x, shown[..., None]], dim=2).transpose(1, 2)
        attention = columns.transpose(1, 2) @ self.query_key @ columns
        output = columns + self.value @ columns @ attention / tokens
        return ((output[:, -1, -1] - y[:, -1]) ** 2).mean()

    def step(self) -> float:
        """Take one step and read the loss back."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return float(loss.item())
