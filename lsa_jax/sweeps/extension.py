"""Growing a sweep in its folder: what is new is planned behind what is there, whose files keep their names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsa_jax.errors import InputError
from lsa_jax.sweeps import spec as specs
from lsa_jax.sweeps import stored_spec
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.spec import Spec

GROWS = ("cells", "regimes", "extends")
"""What of a spec may differ from that of the folder it extends."""


def effective(folder: Folder, spec: Spec, *, extend: bool) -> Spec:
    """Return the sweep that is run where a spec is asked for in a folder: the spec, going on from all that is there.

    Args:
        folder: the folder; it may be new.
        spec: what is asked for.
        extend: whether it may differ from what is there.

    Returns:
        The spec, or one with `earlier` sweeps. It is the folder's own if that holds the asked one among others.

    Raises:
        ValueError: if the folder cannot be read, or differs in more than in axes, points and further regimes.
    """
    if not folder.exists():
        return spec
    told = folder.manifest()["spec"]
    if not extend and specs.digest_of({**told, "extends": ()}) != spec.digest:
        return spec
    if folder.manifest()["digest"] == spec.digest:
        return spec
    return grown(folder, sweep_of(folder, spec.objects), spec)


def sweep_of(folder: Folder, objects: Mapping[str, Any]) -> Spec:
    """Return the sweep of a folder.

    Args:
        folder: the folder.
        objects: the laws, models and terms of one's own, of which the folder has the names alone.

    Returns:
        The sweep.

    Raises:
        ValueError: if the folder is not a sweep's, or one of the objects is missing.
    """
    told = folder.manifest()["spec"]
    try:
        return stored_spec.restored(told, objects)
    except InputError as error:
        raise InputError(f"the sweep in {folder.out} cannot be read ({error}): name what it holds of one's own in the spec too") from None


def grown(folder: Folder, found: Spec, asked: Spec) -> Spec:
    """Return a sweep that goes on from another one.

    Args:
        folder: where the other one is.
        found: the other one.
        asked: what it is to hold too.

    Returns:
        The sweep.

    Raises:
        ValueError: if the two differ in more than in axes, points and further regimes.
    """
    if asked.digest in {one.digest for one in found.history}:
        return found
    _require_alike(folder, found, asked)
    return dataclasses.replace(asked, earlier=found.history)


def changes(spec: Spec) -> list[str]:
    """Return what a spec asks for that the sweeps before it do not, and what of theirs it leaves out, a line for each axis.

    Args:
        spec: the sweep.

    Returns:
        The lines.

    Example:
        >>> there = specs.read({"seed": "0:512", "noise_std": [0.1, 0.3]})
        >>> changes(dataclasses.replace(specs.read({"seed": "0:1024", "noise_std": 0.1}), earlier=(there,)))
        ['noise_std: kept though not asked for: 0.3', 'seed: new: 512 to 1023 (512 values)']
    """
    found = []
    there, asked = _values(spec.earlier), _values((spec,))
    for name in sorted({*there, *asked}):
        known, wanted = (values.get(name, {}) for values in (there, asked))
        for text, more, less in (("new", wanted, known), ("kept though not asked for", known, wanted)):
            values = [value for value in more if value not in less]
            if values:
                found.append(f"{name}: {text}: {_told(values)}")
    return found


def _values(sweeps: tuple[Spec, ...]) -> Mapping[str, Mapping[Any, None]]:
    """All values of each axis, in order."""
    found: dict[str, dict[Any, None]] = {}
    for sweep in sweeps:
        for block in sweep.blocks:
            for name, values in block.items():
                found.setdefault(name, {}).update(dict.fromkeys(values))
    return found


def _told(values: list[Any]) -> str:
    """Values in a few words."""
    return ", ".join(map(str, values)) if len(values) < 5 else f"{values[0]} to {values[-1]} ({len(values)} values)"


def _require_alike(folder: Folder, found: Spec, asked: Spec) -> None:
    """Refuse sweeps that measure otherwise, or call different regimes by one name."""
    there, here = found.as_dict(), asked.as_dict()
    for name in {**there, **here}:
        if name not in GROWS and there.get(name) != here.get(name):
            raise InputError(
                f"{name} is {there.get(name)} in {folder.out} and {here.get(name)} in the spec; only axes, points and regimes can grow: "
                "choose another --out"
            )
    require_same_regimes(folder, found, asked)


def require_same_regimes(folder: Folder, found: Spec, asked: Spec) -> None:
    """Refuse a sweep that calls another regime by the name of one that a folder has.

    Args:
        folder: the folder.
        found: its sweep.
        asked: the other sweep.

    Raises:
        ValueError: if so.
    """
    known = {regime.name: regime.described() for one in found.history for regime in one.family.regimes}
    for regime in asked.family.regimes:
        if known.get(regime.name, regime.described()) != regime.described():
            raise InputError(f"regime {regime.name!r} of {folder.out} is another one: give that of the spec another name")
