"""Exact zero-shot errors of the trained transformers of a comparison, from their stored parameters.

In float64 whatever the training was in: far from the origin polynomials of degree 27 leave the range of float32.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import ArrayLike

from lsa_jax.comparison.fronts import shape_of
from lsa_jax.models import Transformer
from lsa_jax.models.transformer_params import TransformerParams
from lsa_jax.models.zero_shot import is_affordable, zero_shot_risks
from lsa_jax.problem import LinearRegression
from lsa_jax.sweeps import laws
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.saved import model_name
from lsa_jax.sweeps.spec import Spec

Chunk = tuple[Mapping[str, np.ndarray], Group]
"""The arrays of one file of parameters, and the group they belong to."""


def exact_zero_shots(chunks: Iterable[Chunk], spec: Spec) -> pd.DataFrame:
    """Compute the zero-shot errors that are affordable by quadrature.

    Args:
        chunks: the stored parameters of the sweep.
        spec: the sweep.

    Returns:
        Records of metric `risk` at 0 shots of models of which the sweep holds none, with the columns that tell model, seed and test task.
    """
    rows: list[dict[str, Any]] = []
    for arrays, group in chunks:
        model, known = group.setting.network, 0.0 in group.exact_shots(spec)
        if not known and isinstance(model, Transformer) and is_affordable(model, group.setting.dim):
            rows += _of_chunk(arrays, spec, group, model)
    return pd.DataFrame(rows)


def _of_chunk(arrays: Mapping[str, np.ndarray], spec: Spec, group: Group, model: Transformer) -> list[dict[str, Any]]:
    """The errors of all models of one file."""
    setting, known, rows = group.setting, laws.of(group.setting), []

    def double(array: ArrayLike) -> jax.Array:
        return jnp.asarray(array, jnp.float64)

    @jax.jit
    def risks(params: TransformerParams, tasks: jax.Array, noise: jax.Array) -> jax.Array:
        def one(given: tuple[TransformerParams, jax.Array, jax.Array]) -> jax.Array:
            params, task, noise = given
            problem = LinearRegression(double(known.covariance), noise)
            return zero_shot_risks(model, params, problem, jnp.outer(double(np.array(spec.cosines)), task))

        return jax.lax.map(one, (params, tasks, noise))

    leaves = list(model.shapes(3))
    for cell, branch in group.models.items():
        name = model_name(branch)
        params = TransformerParams(**{leaf: double(arrays[f"{leaf} {name}"]) for leaf in leaves})
        found = np.asarray(risks(params, double(arrays["target_task"]), double(arrays["noise_std"])))
        knobs = {axis.rpartition(".")[2]: value for axis, value in cell.values}
        told = {**shape_of(setting), "regime": cell.regime, "rate": knobs.get("rate", np.nan), "evaluation_shots": 0.0, "metric": "risk"}
        for seed, values, diverged in zip(arrays["seed"], found, arrays[f"diverged {name}"], strict=True):
            both = zip(("target", "opposite"), values, strict=True)
            rows += [{**told, "seed": seed, "diverged": bool(diverged), "test_task": task, "value": float(value)} for task, value in both]
    return rows
