"""A regime: what is trained, from where, on which loss, as one object; the paper's are made in the same way as one's own."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.knobs import Check, Knob, real
from lsa_jax.objectives import RANK, TERMS, Inputs, LowRank, Objective, Schedule, Term, minimise
from lsa_jax.objectives.schedules import SCHEDULES
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression
from lsa_jax.written import values_of

OWN_STREAMS, FROM_NAME = 2**31, -1
"""Streams from here on belong to regimes that name none: no number below is ever taken by chance."""


@dataclasses.dataclass(frozen=True)
class Limits:
    r"""Excess errors over $\sigma^2$ in units of $\theta_0^\top\Sigma\theta_0$, as both contexts grow without bound."""

    zero_shot_target: float
    few_shot_target: float
    few_shot_opposite: float
    source: str


@dataclasses.dataclass(frozen=True)
class Given:
    """What a closed-form minimiser starts from: the problem, the pretrained optimum, the target task and the number of shots.

    `reached` is a model trained in this regime, where only the run itself says which of many minimisers it ends at: Adam conserves nothing.
    """

    problem: LinearRegression
    pretrained: Params
    target_task: Float[Array, " dim"]
    fine_tuning_shots: ArrayLike
    reached: Params | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regime:
    """What is trained, from where, on which loss.

    Args:
        name: its name in specs, records, files and figures.
        loss: weights by term; a term is a name in `lsa_jax.objectives.TERMS` or a `Term`, a weight a number at least 0, the values of a
            swept one, or a schedule (`linear_decay`).
        train: the trainable set, a name that the model knows, or `all`; or a low-rank update of one, `lora(rank, set)`, whose rank is swept
            by `lora([1, 2, 5], set)`.
        start: the regime it continues from; None for one that starts from the initial parameters.
        within: the term whose argmin set it starts in and does not leave, as in objective (d).
        rate: learning rate of its steps, a number above 0 or the values of a swept one; by default that of the setting.
        steps: number of its steps; by default that of the setting.
        stream: number of its stream of randomness, never used by another regime; by default one that follows from the name.
        optimum: its closed-form minimiser for one layer of linear attention, if there is one; else no theory is drawn.
        limits: the paper's limiting errors by dimension, if there are any.
        bound: largest relative excess of trained models over the optimum for which a claim of the paper is said to hold.
        title: its title in figures; by default the name.

    Raises:
        ValueError: if the name is none, there is no term, a term or a weight is unknown, or it starts from itself.

    Example:
        >>> gentle = Regime(name="gentle", loss={"zero_shot": 1.0, "prior": "logspace(0.01, 1, 3)"})
        >>> gentle.start, list(gentle.swept)
        ('pretrained', ['gentle.weight_prior'])
    """

    name: str
    loss: Mapping[str | Term, Any] = dataclasses.field(hash=False)
    train: str = "all"
    start: str | None = "pretrained"
    within: str | Term | None = None
    rate: Any = None
    steps: int | None = None
    stream: int = FROM_NAME
    optimum: Callable[[Given], Params] | None = dataclasses.field(default=None, repr=False)
    limits: Callable[[int], Limits] | None = dataclasses.field(default=None, repr=False)
    bound: float = math.inf
    title: str = ""
    terms: tuple[Term, ...] = dataclasses.field(init=False, repr=False)
    weights: tuple[Any, ...] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check, and fill in what follows from the rest."""
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(f"a regime is called {self.name!r}; its name must be letters, digits and underscores")
        if not isinstance(self.loss, Mapping) or not self.loss:
            raise InputError(f"regime {self.name!r} has the loss {self.loss!r}; it must be a table of terms and weights, one at least")
        if self.start == self.name:
            raise InputError(f"regime {self.name!r} starts from itself; it must start from another one, or from none")
        settle = object.__setattr__
        if LowRank.of(self.train) is not None and self.within is not None:
            raise InputError(f"regime {self.name!r} trains {self.train} within an argmin set; only plain trainable sets can stay in one")
        settle(self, "terms", tuple(_term(self.name, term) for term in self.loss))
        pairs = zip(self.terms, self.loss.values(), strict=True)
        settle(self, "weights", tuple(_weight(self.name, term, weight) for term, weight in pairs))
        settle(self, "loss", MappingProxyType(dict(self.loss)))
        rates = () if self.rate is None else _number_or_values(f"rate of regime {self.name!r}", self.rate, real(0.0, above=True))
        settle(self, "rate", rates or None)
        settle(self, "steps", None if self.steps is None else checks.as_count(f"steps of regime {self.name!r}", self.steps))
        settle(self, "within", None if self.within is None else _term(self.name, self.within))
        settle(self, "stream", OWN_STREAMS + zlib.crc32(self.name.encode()) // 4 if self.stream == FROM_NAME else self.stream)
        settle(self, "title", self.title or self.name.replace("_", " "))

    @functools.cached_property
    def swept(self) -> dict[str, tuple[float, ...]]:
        """The values of its swept weights, rate and rank, by the name of the axis."""
        weights = {self.axis(term): weight for term, weight in zip(self.terms, self.weights, strict=True)}
        written = {**weights, self.rate_axis: self.rate, self.rank_axis: tuple(map(float, self.ranks)) or None}
        return {axis: values for axis, values in written.items() if isinstance(values, tuple)}

    @property
    def ranks(self) -> tuple[int, ...]:
        """The values of its swept rank, if it has one."""
        adapter = LowRank.of(self.train)
        return () if adapter is None else adapter.ranks

    @functools.cached_property
    def knobs(self) -> dict[str, Knob]:
        """The branch knobs it reads: those of its terms, its swept weights, its swept rate and its swept rank."""
        declared = {name: one for term in (*self.terms, self.constraint) if term for name, one in term.knobs.items()}
        swept = {axis: axis.rpartition(".")[2].replace("_", " ") for axis in self.swept}
        return {**declared, **{axis: Knob("branch", 1.0, real(0.0), label) for axis, label in swept.items()}}

    @property
    def constraint(self) -> Term | None:
        """The term in whose argmin set it stays, if there is one."""
        return self.within if isinstance(self.within, Term) else None

    def axis(self, term: Term) -> str:
        """Return the name of the axis along which the weight of a term is swept."""
        return f"{self.name}.weight_{term.name}"

    @property
    def rate_axis(self) -> str:
        """The name of the axis along which its rate is swept."""
        return f"{self.name}.rate"

    @property
    def rank_axis(self) -> str:
        """The name of the axis along which its rank is swept."""
        return f"{self.name}.{RANK}"

    def rate_at(self, knobs: Mapping[str, ArrayLike], default: ArrayLike) -> ArrayLike:
        """Return the learning rate of its steps.

        Args:
            knobs: values of the branch knobs it reads.
            default: the rate of the setting.

        Returns:
            The rate.
        """
        return default if self.rate is None else knobs.get(self.rate_axis, self.rate)

    def objective(self, inputs: Inputs) -> Objective:
        """Return what it minimises.

        Args:
            inputs: what its terms are computed from, the values of its knobs among them.

        Returns:
            The objective.
        """
        pairs = zip(self.terms, self.weights, strict=True)
        terms = [(term, inputs.knobs[self.axis(term)] if isinstance(weight, tuple) else weight) for term, weight in pairs]
        knobs = {**inputs.knobs, RANK: inputs.knobs[self.rank_axis]} if self.ranks else inputs.knobs
        return minimise(terms, dataclasses.replace(inputs, train=self.train, knobs=knobs), self.constraint)

    def described(self) -> dict[str, Any]:
        """Return what determines its numbers, as JSON can hold it."""
        loss = {term.name: _described(weight) for term, weight in zip(self.terms, self.weights, strict=True)}
        within = self.constraint.name if self.constraint else None
        own = {name: value for name, value in (("rate", _described(self.rate)), ("steps", self.steps)) if value is not None}
        told = {"name": self.name, "train": self.train, "start": self.start, "loss": loss, "within": within, "stream": self.stream}
        return told | own


def _term(regime: str, written: object) -> Term:
    """A term by its name, or itself."""
    if isinstance(written, Term):
        return written
    return TERMS[checks.as_choice(f"term of regime {regime!r}:", str(written), tuple(TERMS))]


def _weight(regime: str, term: Term, written: Any) -> float | tuple[float, ...] | Schedule:
    """A weight as a number, a schedule, or the values of a swept one."""
    if isinstance(written, Schedule):
        return written
    if isinstance(written, str) and written.isidentifier():
        return SCHEDULES[checks.as_choice(f"schedule of {term.name} in regime {regime!r}:", written, tuple(SCHEDULES))]
    return _number_or_values(f"weight of {term.name} in regime {regime!r}", written, real(0.0))


def _number_or_values(name: str, written: Any, check: Check) -> float | tuple[float, ...]:
    """A number, or the values of a swept one."""
    values = values_of(name, written, check)
    return values[0] if len(values) == 1 and isinstance(written, int | float) else tuple(values)


def _described(weight: Any) -> Any:
    """A weight as JSON can hold it."""
    return weight.name if isinstance(weight, Schedule) else list(weight) if isinstance(weight, tuple) else weight
