"""Trained parameters of a chunk on disk: every leaf of every model, with its loss history and the lineages it belongs to."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsa_jax import store
from lsa_jax.models.protocol import path_of
from lsa_jax.regimes import Branch
from lsa_jax.sweeps.compiled import Outcome
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk

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
