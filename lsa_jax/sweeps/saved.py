"""Trained parameters of a chunk on disk: every leaf of every model, with its loss history and the lineages it belongs to."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.models.protocol import path_of
from lsa_jax.regimes import Branch
from lsa_jax.setting import EVALUATION
from lsa_jax.sweeps.chunks import disjoint
from lsa_jax.sweeps.compiled import Outcome
from lsa_jax.sweeps.folder import Folder, remaining
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec
from lsa_jax.training import Trained

MEASURING = {*EVALUATION, "cosines", "test_laws"} - {"dtype", "matmul_precision"}
"""What of a spec says how models are measured, not how they are trained."""

HISTORY, DIVERGED = "history ", "diverged "
"""What the names of arrays of losses and of flags begin with, before that of the model."""


def save(path: Path, group: Group, chunk: Chunk, outcome: Outcome) -> None:
    """Write the parameters of a chunk: `LEAF MODEL`, `history MODEL` and `diverged MODEL`, the traced knobs and `target_task`.

    Args:
        path: the file.
        group: the group of the chunk.
        chunk: the chunk.
        outcome: what it came to.
    """
    path.parent.mkdir(exist_ok=True)
    count, arrays = chunk.last - chunk.first, dict[str, np.ndarray]()
    for branch in dict.fromkeys((*outcome.measured, *outcome.trained)):
        measured, run, name = outcome.measured.get(branch), outcome.trained.get(branch), model_name(branch)
        params: Any = getattr(measured, "optimum", None) if run is None else run.params
        for place, leaf in jax.tree_util.tree_leaves_with_path(params):
            arrays[f"{path_of(place)} {name}"] = np.asarray(leaf)[:count]
        if run is not None:
            arrays[f"{HISTORY}{name}"] = np.asarray(run.history)[:count]
            arrays[f"{DIVERGED}{name}"] = np.asarray((measured or run).diverged)[:count]
        if measured is not None:
            arrays["target_task"] = np.asarray(measured.target_task)[:count]
    rows = group.lineages.iloc[chunk.first : chunk.last]
    store.save_arrays(path, {**arrays, **{column: rows[column].to_numpy() for column in rows}})


def require(folder: Folder, spec: Spec, groups: Sequence[Group]) -> None:
    """Refuse a folder that does not hold the trained models of a sweep.

    Args:
        folder: the folder.
        spec: the sweep.
        groups: its plan.

    Raises:
        ValueError: if it holds those of another sweep, or not all of them.
    """
    there, asked = folder.manifest()["spec"], spec.as_dict()
    for name in sorted({*there, *asked} - MEASURING):
        if there.get(name) != asked.get(name):
            raise InputError(f"{name} is {there.get(name)} in {folder.out} and {asked.get(name)} in the spec: its models are others")
    kept = list(_kept(folder))
    missing = sum(gap.last - gap.first for group in groups for gap in remaining(group, kept, 0, len(group.lineages)))
    if missing:
        raise InputError(f"{folder.out} lacks the trained models of {missing} lineages: run that sweep again with --save-params")


def load(folder: Folder, group: Group, first: int, last: int, size: int) -> dict[Branch, Trained]:
    """Return the trained models of some lineages of a group.

    Args:
        folder: where a sweep has kept them, see `require`.
        group: the group.
        first: the first lineage.
        last: the one after the last.
        size: size of the batch; the last lineage is repeated to fill it.

    Returns:
        The models, as they were at the end of their training; what their first loss was is not kept.

    Raises:
        ValueError: if a file is damaged, or lacks a model.
    """
    numbers, parts = list[np.ndarray](), list[Mapping[str, np.ndarray]]()
    for chunk, new in disjoint(chunk for chunk in _kept(folder) if chunk.group == group.number):
        if chunk.first < last and first < chunk.last:
            arrays = store.load_arrays(folder.params_of(chunk))
            if arrays is None:
                raise InputError(f"{folder.params_of(chunk)} is damaged: remove it, and run that sweep again with --save-params")
            numbers.append(np.arange(new, chunk.last))
            parts.append({name: array[new - chunk.first :] for name, array in arrays.items()})
    places = np.searchsorted(np.concatenate(numbers), np.minimum(np.arange(first, first + size), last - 1))
    init = functools.partial(group.setting.network.init, dim=group.setting.dim, std=1.0)
    shapes = jax.eval_shape(init, jax.random.key(0))

    def array(name: str) -> Array:
        if not all(name in part for part in parts):
            raise InputError(f"{folder.out} does not hold {name!r}: run that sweep again with --save-params, in a new folder")
        return jnp.asarray(np.concatenate([part[name] for part in parts])[places])

    def model(branch: Branch) -> Trained:
        name = model_name(branch)
        params = jax.tree_util.tree_map_with_path(lambda place, _: array(f"{path_of(place)} {name}"), shapes)
        history = array(f"{HISTORY}{name}")
        return Trained(params=params, first_loss=jnp.zeros_like(history[:, 0]), history=history, diverged=array(f"{DIVERGED}{name}"))

    return {branch: model(branch) for branch in group.trainings}


def model_name(branch: Branch) -> str:
    """Return the name of a model in a file: its regime, and the values of the branch knobs it depends on.

    Args:
        branch: the model.

    Returns:
        The name.

    Example:
        >>> model_name(Branch("value_auxiliary", (("fine_tuning_shots", 20.0),)))
        'value_auxiliary 20'
    """
    return " ".join([branch.regime, *(f"{value:g}" for _, value in branch.values)])


def _kept(folder: Folder) -> list[Chunk]:
    """The chunks whose trained models are in a folder."""
    return [chunk for path in sorted(folder.params.glob("*.npz")) if (chunk := Chunk.of(path))]
