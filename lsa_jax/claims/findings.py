"""What checking a claim finds: one number along every path to it, and what follows for the claim."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_jax.claims.case import Case

ROUNDING = 1e-9
"""Relative difference put down to rounding in float64."""

MOST_DEVIATIONS = 5.0
"""Largest difference of simulated and exact numbers, in standard errors."""

LARGEST_ERROR = 0.005
"""Largest standard error of a simulated number, relative to it, for the simulation to count."""

RATE_TOLERANCE = 0.05
"""Largest distance of a measured rate from a whole power."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One number of a claim.

    Args:
        case: which number.
        stated: what the claim says it is, in the limit it is stated for; None where the claim gives no number.
        exact: the closed form at the finite setting.
        at_limit: the closed form at the limit of the statement; None where the statement is for finite sizes.
        rates: powers of n and m with which `exact` approaches its limit; None for a power where it does not depend on it.
        simulated: the same number by simulation.
        standard_error: its standard error.
        numerical: the same number by an independent numerical method (minimisation, root finding, following a gradient).
        tolerance: largest relative difference of `numerical` and `exact`.
        scale: size to which differences are relative; by default that of the number.
    """

    case: str
    exact: float
    stated: float | None = None
    at_limit: float | None = None
    rates: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    simulated: float | None = None
    standard_error: float | None = None
    numerical: float | None = None
    tolerance: float = 1e-6
    scale: float | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the claim."""
        return not self.objections

    @property
    def precise(self) -> bool:
        """Whether the simulation, if there is one, has an error small enough to count."""
        return self.standard_error is None or self.standard_error <= LARGEST_ERROR * self._size()

    @property
    def deviation(self) -> float:
        """Difference of simulated and exact number in standard errors; 0 where nothing was simulated."""
        if self.simulated is None or self.standard_error is None:
            return 0.0
        difference = max(abs(self.simulated - self.exact) - ROUNDING * self._size(), 0.0)
        return difference / self.standard_error if difference else 0.0

    @property
    def objections(self) -> list[str]:
        """What speaks against the claim."""
        reference = self.exact if self.at_limit is None else self.at_limit
        numbers = (self.exact, self.stated, self.at_limit, self.simulated, self.standard_error, self.numerical)
        if not all(number is None or math.isfinite(number) for number in numbers):
            return ["a number is not finite"]
        found = []
        if self.stated is not None and abs(reference - self.stated) > ROUNDING * self._size():
            found.append(f"is {reference:.6g} where {self.stated:.6g} is stated")
        if self.numerical is not None and abs(self.numerical - self.exact) > self.tolerance * self._size():
            found.append(f"computed apart it is {self.numerical:.6g}")
        if self.deviation > MOST_DEVIATIONS:
            found.append(f"simulation is {self.deviation:.1f} standard errors off")
        found += [f"approaches its limit as {name}^{rate:.2f}" for name, rate in self.rates.items() if not _whole(rate)]
        return found

    @property
    def verdict(self) -> str:
        """The verdict with its reason, in one line."""
        if self.objections:
            return "differs: " + "; ".join(self.objections)
        limit = "" if self.stated is None or self.at_limit is None else self._gap(self.stated)
        apart = "" if self.numerical is None else f"; computed apart {self.numerical:.4f}"
        noisy = "" if self.precise else "; simulation is too noisy to count: more --prompts"
        return f"agrees{limit}{apart}{noisy}"

    def _gap(self, stated: float) -> str:
        """How the finite number lies to the stated limit."""
        rates = ", ".join(f"{name}^{rate:.2f}" for name, rate in self.rates.items() if rate is not None)
        if not rates:
            return ", at every size"
        return f" in the limit, {self.exact - stated:+.3g} here; gap falls as {rates}"

    def _size(self) -> float:
        """What differences are relative to."""
        return self.scale if self.scale is not None else max(abs(self.exact), abs(self.stated or 0.0), 1e-300)


def _whole(rate: float | None) -> bool:
    """Whether a rate is a whole negative power, or there is none."""
    return rate is None or (math.isfinite(rate) and rate < -0.5 and abs(rate - round(rate)) <= RATE_TOLERANCE)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that can be checked.

    Args:
        name: a short name.
        source: result number in the paper, or the equation of docs/theory.md.
        statement: what is said.
        assumptions: what it rests on beyond the conventions of docs/theory.md.
        limit: its formula in the limit the paper states it for.
        finite: its exact form at finite d, n and m.
        check: computes its numbers at a case.
    """

    name: str
    source: str
    statement: str
    assumptions: str
    limit: str
    finite: str
    check: "Callable[[Case], list[Finding]]"
