"""How the losses of a sweep's models fell while they were trained, from the parameters it kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.setting import SHARED, STATIC, TRACED
from lsa_jax.sweeps import chunks
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.saved import DIVERGED, HISTORY


def load_histories(out: str | Path) -> pd.DataFrame:
    """Read the training losses of a sweep that kept its parameters (`save_params`), at most 100 of each model.

    Args:
        out: the folder of the sweep.

    Returns:
        One row a model and place: `regime`, `branch` (the regime with the values of the knobs that the model depends on), the knobs of the
        setting, `step`, `loss` (what the regime minimises, averaged over the steps up to this one from the last place on) and `diverged`.

    Raises:
        ValueError: if the folder is not a sweep's, or holds no parameters.

    Example:
        >>> load_histories("nowhere")
        Traceback (most recent call last):
        lsa_jax.errors.InputError: nowhere is not the folder of a sweep (no readable sweep.json): give the --out of `lsa-jax sweep`
    """
    folder = Folder(Path(out).expanduser())
    digests, told = folder.digests(), folder.manifest()["spec"]["regimes"]
    own_steps = {regime["name"]: regime["steps"] for regime in told if "steps" in regime}
    found = {chunk: path for path in sorted(folder.chunks.glob("*.parquet")) if (chunk := Chunk.of(path))}
    parts = []
    for chunk, new in chunks.disjoint(found):
        arrays = store.load_arrays(folder.params_of(chunk)) if folder.params_of(chunk).exists() else None
        if arrays is not None:
            record = chunks.read(found[chunk], 0, digests).slice(0, 1).to_pandas().iloc[0]
            parts += _of_chunk({name: values[new - chunk.first :] for name, values in arrays.items()}, record, own_steps)
    if not parts:
        raise InputError(f"{out} holds no losses: they are kept with the parameters, run the sweep with --save-params")
    return pd.concat(parts, ignore_index=True)


def _of_chunk(arrays: Mapping[str, np.ndarray], record: pd.Series, own_steps: Mapping[str, int]) -> list[pd.DataFrame]:
    """The losses of every model of a chunk; a record of it tells the knobs that its lineages share."""
    shared = {name: record[name] for name in (*STATIC, *SHARED) if name in record and name != "target_task"}
    found = []
    for key in (name for name in arrays if name.startswith(HISTORY)):
        branch, losses = key.removeprefix(HISTORY), arrays[key]
        count, places = losses.shape
        stride = own_steps.get(branch.split()[0], int(shared["steps"])) // places
        columns: dict[str, Any] = {"regime": branch.split()[0], "branch": branch, **shared}
        columns |= {name: np.repeat(arrays[name], places) for name in TRACED}
        columns |= {"step": np.tile(stride * np.arange(1, places + 1), count), "loss": losses.ravel()}
        found.append(pd.DataFrame({**columns, "diverged": np.repeat(arrays[f"{DIVERGED}{branch}"], places)}))
    return found
