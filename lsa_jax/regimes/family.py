"""Regimes together: found by name, checked against each other, and the models that descend from one another along their branches."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import ArrayLike

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model
from lsa_jax.objectives import Inputs, Objective, Risk
from lsa_jax.regimes.paper import PAPER
from lsa_jax.regimes.regime import Limits, Regime


@dataclasses.dataclass(frozen=True, order=True)
class Branch:
    """One model of a lineage: its regime, and the values of the branch knobs, as (name, value) pairs sorted by name."""

    regime: str
    values: tuple[tuple[str, float], ...] = ()

    @property
    def knobs(self) -> dict[str, float]:
        """The values by name."""
        return dict(self.values)


@dataclasses.dataclass(frozen=True)
class Family:
    """Regimes in the order in which they are trained: the paper's, then others that may start from any before them.

    Args:
        regimes: the regimes.

    Raises:
        ValueError: if two have one name or one stream, or one starts from what is unknown or comes later.

    Example:
        >>> family = Family.of([Regime(name="gentle", loss={"zero_shot": 1.0, "prior": [0.1, 1.0]})])
        >>> [branch.regime for branch in family.needed([family.branch("gentle", {"gentle.weight_prior": 0.1})])]
        ['pretrained', 'gentle']
    """

    regimes: tuple[Regime, ...]

    def __post_init__(self) -> None:
        """Check the regimes against each other."""
        names = [regime.name for regime in self.regimes]
        for place, regime in enumerate(self.regimes):
            if regime.name in names[:place]:
                raise InputError(f"two regimes are called {regime.name!r}; give each a name of its own")
            if regime.start is not None and regime.start not in names[:place]:
                where = "comes later" if regime.start in names else "is unknown"
                known = ", ".join(names[:place]) or "none"
                raise InputError(f"regime {regime.name!r} starts from {regime.start!r}, which {where}; it must be one before it: {known}")
            taken = [other.name for other in self.regimes[:place] if other.stream == regime.stream]
            if taken:
                raise InputError(f"regimes {taken[0]!r} and {regime.name!r} have one stream, {regime.stream}; give another stream")

    @classmethod
    def of(cls, own: Iterable[Regime] = ()) -> "Family":
        """Return the paper's regimes and one's own."""
        return cls((*PAPER, *own))

    @functools.cached_property
    def by_name(self) -> Mapping[str, Regime]:
        """The regimes by name."""
        return MappingProxyType({regime.name: regime for regime in self.regimes})

    def lineage_of(self, name: str) -> tuple[Regime, ...]:
        """Return a regime and those it descends from, the first one first."""
        regime = self.by_name[name]
        return (regime,) if regime.start is None else (*self.lineage_of(regime.start), regime)

    def branch(self, name: str, values: Mapping[str, float]) -> Branch:
        """Return the model of a regime at these values: those that it and its ancestors read, so that equal models are equal."""
        read = {knob for regime in self.lineage_of(name) for knob in regime.knobs}
        return Branch(name, tuple(sorted((knob, value) for knob, value in values.items() if knob in read)))

    def parent(self, branch: Branch) -> Branch | None:
        """Return the model that a model continues from; None if it starts from the initial parameters."""
        start = self.by_name[branch.regime].start
        return None if start is None else self.branch(start, branch.knobs)

    def needed(self, branches: Iterable[Branch]) -> tuple[Branch, ...]:
        """Return the trainings that some models need, each after the one it continues from and each once."""
        found: set[Branch] = set()
        for one in branches:
            branch: Branch | None = one
            while branch is not None and branch not in found:
                found.add(branch)
                branch = self.parent(branch)
        order = {regime.name: place for place, regime in enumerate(self.regimes)}
        return tuple(sorted(found, key=lambda branch: (order[branch.regime], branch.values)))


def stages(name: str, risk: Risk, num_shots: ArrayLike, family: Sequence[Regime] = PAPER, model: Model = LINEAR) -> tuple[Objective, ...]:
    """Return what a regime minimises from the pretrained model on, one objective after the other, for a risk given by hand.

    Args:
        name: name of the regime.
        risk: over the pretraining tasks for `pretrained`, on the target task for the others.
        num_shots: number of pretraining or fine-tuning examples, at least 1; what the loss has no use for is not read.
        family: the regimes.
        model: the model.

    Returns:
        One objective, or for `value_auxiliary` its two stages.

    Raises:
        ValueError: if the regime is unknown or the number of shots below 1 or fractional.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> risk = lsa.objectives.population_gradient(lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0), jnp.ones(3))
        >>> [objective.trainable for objective in stages("value_auxiliary", risk, num_shots=20)]
        ['value', 'value']
    """
    checks.as_choice("regime", name, tuple(regime.name for regime in family))
    checks.as_shots("num_shots", num_shots, jnp.result_type(float), minimum=1)
    inputs = Inputs(model, "all", risk, risk, num_shots, {"fine_tuning_shots": num_shots})
    line = Family(tuple(family)).lineage_of(name)
    return tuple(regime.objective(inputs) for regime in (line if name == "pretrained" else line[1:]))


def paper_limits(regime: str, dim: int) -> Limits:
    r"""Return the paper's three limiting excess errors of a regime: zero-shot on θ₀, few-shot on θ₀, few-shot on -θ₀.

    **Assumes** the pretraining context grows first ($Q_{xx} = \Sigma^{-1}$), then the few-shot one; any Σ. For `full` it is the limit that
    fine-tuning from a pretrained model reaches.

    Args:
        regime: `pretrained`, `full`, `value` or `value_auxiliary`.
        dim: dimension d.

    Returns:
        The limits and the results they stand in.

    Raises:
        KeyError: if the paper has no limit for the regime.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Corollaries 4.1, 4.2, 4.4, 4.8, Theorems 4.3, 4.6, 4.9, Propositions 4.7, 4.10.

    Example:
        >>> paper_limits("value_auxiliary", dim=6)
        Limits(zero_shot_target=0.2, few_shot_target=0.0, few_shot_opposite=0.04, source='Thm 4.9, Prop. 4.10')
    """
    known = {one.name: one.limits for one in PAPER if one.limits is not None}
    return known[regime](dim)
