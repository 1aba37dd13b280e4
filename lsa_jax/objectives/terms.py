"""What a term of a loss is, what it may use, and the terms of the paper's objectives."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax.constraints import BATCHES
from lsa_jax.errors import InputError
from lsa_jax.knobs import Knob
from lsa_jax.models import Acting, Model, entries, mask
from lsa_jax.objectives.distances import Distance
from lsa_jax.objectives.risks import Risk
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.setting import FINE_TUNING_SHOTS

NO_KNOBS: Mapping[str, Knob] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a term may use.

    Args:
        model: the model.
        train: the trainable set.
        prior_risk: risk over the pretraining tasks, exact or sampled as the training is.
        target_risk: risk on the target task, likewise.
        pretraining_shots: number m of pretraining examples.
        knobs: values of the knobs that terms declare, by name.
        problem: covariance of the covariates and label noise; None where only risks are given.
        prior: law of the pretraining tasks.
        target_task: the target task θ₀.
        batches: batches over which a Hessian is averaged; 1 where risks are exact.
        prior_distance: mean squared difference of two models' predictions on prompts of pretraining tasks, exact or sampled likewise.
        target_distance: the same on prompts of the target task.
        max_shots: rows to reserve for examples in prompts of pretraining tasks; needed where their number of shots is traced.
    """

    model: Model
    train: str
    prior_risk: Risk
    target_risk: Risk
    pretraining_shots: ArrayLike
    knobs: Mapping[str, ArrayLike]
    problem: LinearRegression | None = None
    prior: TaskPrior | None = None
    target_task: Float[Array, " dim"] | None = None
    batches: int = BATCHES
    prior_distance: Distance | None = None
    target_distance: Distance | None = None
    max_shots: int | None = None

    def distance(self, prompts: str) -> Distance:
        """Return the distance on prompts of the `prior` or of the `target` task.

        Args:
            prompts: which.

        Returns:
            The distance.

        Raises:
            ValueError: if only risks were given.
        """
        found = self.prior_distance if prompts == "prior" else self.target_distance
        if found is None:
            raise InputError(f"no distance of models on {prompts} prompts is given: pass {prompts}_distance, see objectives.exact_distance")
        return found

    def chosen(self, params: Any) -> Float[Array, " entries"]:
        """Return all entries of the trainable set as a vector."""
        return self.entries(params)[0]

    def entries(self, params: Any) -> Acting:
        """Return all entries of the trainable set as a vector, and the function that puts others in their place."""
        return entries(params, mask(self.model, params, self.train))


TermLoss = Callable[[Inputs, Key[Array, ""], Any, Any], Float[Array, ""]]
Prepare = Callable[[Inputs, Key[Array, ""], Any], Any]


@dataclasses.dataclass(frozen=True)
class Term:
    """One term of a loss.

    Args:
        name: its name in specs, records and figures.
        loss: its value, a function (inputs, key, params, what was prepared).
        prepare: computed once from the parameters that the run starts from, a function (inputs, key, start): an anchor, a Fisher, a frozen
            teacher.
        knobs: knobs of its own; each is an axis of a sweep along which models branch from one pretrained model.
        compares: whether it looks at models prompt by prompt, as one that compares two does; sampled ones are then prompts of tokens.

    Example:
        >>> import lsa_jax as lsa
        >>> norm = Term("norm", lambda inputs, key, params, anchor: (inputs.chosen(params) ** 2).sum())
        >>> gentle = lsa.Regime(name="gentle", train="all", loss={"zero_shot": 1.0, norm: 0.1})
        >>> [term.name for term in gentle.terms]
        ['zero_shot', 'norm']
    """

    name: str
    loss: TermLoss = dataclasses.field(repr=False)
    prepare: Prepare = dataclasses.field(default=lambda inputs, key, start: None, repr=False)
    knobs: Mapping[str, Knob] = dataclasses.field(default_factory=lambda: NO_KNOBS, repr=False, hash=False)
    compares: bool = False


def _distance_to_start(inputs: Inputs, key: Key[Array, ""], params: Any, start: Float[Array, " entries"]) -> Float[Array, ""]:
    """Half the squared distance to where the run started, over the trainable set."""
    return jnp.sum((inputs.chosen(params) - start) ** 2) / 2


PRIOR = Term("prior", lambda inputs, key, params, _: inputs.prior_risk(key, params, inputs.pretraining_shots))
"""The pretraining risk: objective (a), and replay when it stands beside another term."""

ZERO_SHOT = Term("zero_shot", lambda inputs, key, params, _: inputs.target_risk(key, params, 0))
"""The zero-shot error of the target task: objectives (b) and (c)."""

FEW_SHOT = Term(
    "few_shot",
    lambda inputs, key, params, _: inputs.target_risk(key, params, inputs.knobs["fine_tuning_shots"]),
    knobs=MappingProxyType({"fine_tuning_shots": FINE_TUNING_SHOTS}),
)
"""The error of the target task after `fine_tuning_shots` examples."""

L2_SP = Term("l2_sp", _distance_to_start, prepare=lambda inputs, key, start: jax.lax.stop_gradient(inputs.chosen(start)))
r"""$\frac12|\theta - \theta_\text{start}|^2$ over the trainable set; it changes under $(cV, Q/c)$, though no prediction does."""
