"""A spec as it was written down: read again, and the hashes it had as it grew."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsa_jax.regimes import Regime
from lsa_jax.sweeps import spec as specs
from lsa_jax.sweeps.spec import Spec
from lsa_jax.written import as_list


def restored(told: Mapping[str, Any], objects: Mapping[str, Any]) -> Spec:
    """Return a spec from what it was written down as.

    Args:
        told: what `Spec.as_dict` returned.
        objects: what `Spec.objects` returned.

    Returns:
        The spec.

    Raises:
        ValueError: if it cannot be read, for example because an object is missing.

    Example:
        >>> spec = specs.read({"dim": 2, "covariance": [[2.0, 0.0], [0.0, 1.0]], "seed": "0:100"})
        >>> restored(spec.as_dict(), spec.objects) == spec
        True
    """

    def named(values: Any) -> Any:
        return [objects.get(value, value) if isinstance(value, str) else value for value in as_list(values)]

    def term(name: str) -> Any:
        return objects.get(name, name)

    def regime(one: Mapping[str, Any]) -> Regime:
        chosen: dict[str, Any] = {**one, "loss": {term(name): weight for name, weight in one["loss"].items()}}
        return Regime(**{**chosen, "within": one["within"] and term(one["within"])})

    points = [{name: named(values) for name, values in block.items()} for block in told["cells"]]
    whole = {name: value for name, value in told.items() if name not in {"cells", "regimes", "cosines", "extends"}}
    earlier = tuple(restored(one, objects) for one in told.get("extends", ()))
    spec = specs.read({**whole, "test_tasks": told["cosines"], "points": points, "regimes": list(map(regime, told["regimes"]))})
    return dataclasses.replace(spec, earlier=earlier)


def digests(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hashes that a sweep had as it grew, from what it was written down as."""
    grown = [*told.get("extends", ()), {**told, "extends": ()}]
    return tuple(specs.digest_of({**one, "extends": grown[:place]}) for place, one in enumerate(grown))
