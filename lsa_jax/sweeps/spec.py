"""The spec of a sweep: read from TOML, Python or a dictionary, checked, and written down so that equal sweeps read equal."""

import dataclasses
import hashlib
import json
import math
import runpy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.sweeps.axes import AXES, Value, as_choice, as_list, as_real, as_shots, as_whole, values_of

TEST_TASKS = {"target": 1.0, "opposite": -1.0}
DEFAULTS: dict[str, Any] = {
    "evaluation_shots": [0, 1, 2, 3, 5, 10, 20, 40, "inf"],
    "test_tasks": ["target", "opposite"],
    "simulation_prompts": 0,
    "dtype": "float32",
    "matmul_precision": "highest",
}
"""What belongs to the whole sweep: how every model is evaluated, and the arithmetic."""

Axes = dict[str, tuple[Value, ...]]


@dataclasses.dataclass(frozen=True)
class Spec:
    """A checked sweep: blocks of axes, whose products together are its cells, and what all of them share.

    Args:
        blocks: for each block the values of every axis.
        evaluation_shots: numbers of shots at which models are evaluated.
        cosines: cosines to the target task of the tasks they are evaluated on; 1 is θ₀ itself and -1 its opposite.
        simulation_prompts: prompts to simulate each error with, beside the exact one; 0 for none.
        dtype: `float32` or `float64`.
        matmul_precision: precision of matrix products on devices that have several.
    """

    blocks: tuple[Axes, ...]
    evaluation_shots: tuple[float, ...]
    cosines: tuple[float, ...]
    simulation_prompts: int
    dtype: str
    matmul_precision: str

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON can hold it, the same for equal sweeps however they were written."""
        blocks = [{name: _written(values) for name, values in block.items()} for block in self.blocks]
        return {
            "cells": blocks,
            "evaluation_shots": _written(self.evaluation_shots),
            "cosines": _written(self.cosines),
            "simulation_prompts": self.simulation_prompts,
            "dtype": self.dtype,
            "matmul_precision": self.matmul_precision,
        }

    @property
    def digest(self) -> str:
        """A hash of the spec."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:16]


def read(source: str | Path | Mapping[str, Any] | Spec, overrides: Sequence[str] = ()) -> Spec:
    """Read a spec.

    Args:
        source: a TOML file, a Python file that defines `spec`, or a dictionary: axes by name, `points` (a list of dictionaries of axes,
            each of which takes the place of the axes of the same names), and what belongs to the whole sweep.
        overrides: further `name=value` settings, in place of what the spec and its points say; a value is TOML, or else a text.

    Returns:
        The checked spec.

    Raises:
        ValueError: if the file cannot be read as a spec, a name is unknown, or a value is out of range.
        FileNotFoundError: if there is no such file.

    Example:
        >>> spec = read({"dim": [3, 5], "seed": "0:100"}, ["noise_std=0.3"])
        >>> spec.blocks[0]["noise_std"], len(spec.blocks[0]["seed"])
        ((0.3,), 100)
    """
    if isinstance(source, Spec):
        return source
    written = dict(source) if isinstance(source, Mapping) else _file(Path(source))
    points = written.pop("points", [{}])
    if not isinstance(points, Sequence) or not points or not all(isinstance(point, Mapping) for point in points):
        raise InputError(f"points is {points!r}; it must be a list of tables, [[points]]")
    asked = dict(_override(text) for text in overrides)
    written |= asked
    points = [{name: value for name, value in point.items() if name not in asked} for point in points]
    shared = {name: written.pop(name, default) for name, default in DEFAULTS.items()}
    blocks = tuple(_block(written, point) for point in points)
    for block in blocks:
        _require_consistent(block)
    return _checked(blocks, shared)


def _file(path: Path) -> dict[str, Any]:
    """What a spec file says."""
    if path.suffix == ".py":
        defined = runpy.run_path(str(path)).get("spec")
        if not isinstance(defined, Mapping):
            raise InputError(f"{path} defines no dictionary `spec`: write spec = {{...}} in it")
        return dict(defined)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML ({error}): see experiments for examples") from None


def _override(text: str) -> tuple[str, Any]:
    """Name and value of an override."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set got {text!r}; it must be NAME=VALUE")
    return name.strip(), _toml_value(value)


def _toml_value(text: str) -> Any:
    """The value of an override."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _block(axes: Mapping[str, Any], point: Mapping[str, Any]) -> Axes:
    """The values of every axis of one block."""
    named = {**axes, **point}
    for name in named:
        checks.as_choice("key", name, (*AXES, *(() if name in point else (*DEFAULTS, "points"))))
    return {name: values_of(name, named.get(name, axis.default), axis.check) for name, axis in AXES.items()}


def _checked(blocks: tuple[Axes, ...], shared: Mapping[str, Any]) -> Spec:
    """The spec with what belongs to the whole sweep checked too."""
    cosines = [TEST_TASKS.get(task, task) if isinstance(task, str) else task for task in as_list(shared["test_tasks"])]
    spec = Spec(
        blocks=blocks,
        evaluation_shots=tuple(map(float, values_of("evaluation_shots", shared["evaluation_shots"], as_shots(0)))),
        cosines=tuple(map(float, values_of("test_tasks", cosines, as_real(-1.0, maximum=1.0)))),
        simulation_prompts=as_whole(0)("simulation_prompts", shared["simulation_prompts"]),
        dtype=as_choice("float32", "float64")("dtype", shared["dtype"]),
        matmul_precision=as_choice("highest", "high", "default")("matmul_precision", shared["matmul_precision"]),
    )
    if spec.simulation_prompts == 1:
        raise InputError("simulation_prompts is 1; a standard error needs at least 2, or 0 for no simulation")
    if any(1 in block["dim"] for block in blocks) and not set(spec.cosines) <= {1.0, -1.0}:
        raise InputError("dim 1 knows the tasks target and opposite only; leave other cosines out of test_tasks")
    return spec


def _require_consistent(block: Axes) -> None:
    """Refuse combinations that cannot be trained."""
    pooled = "sampled" in block["gradient"] and any(block["pool_size"])
    if pooled and math.inf in block["fine_tuning_shots"]:
        raise InputError("fine_tuning_shots is infinite, but prompts from a pool are finite: leave inf out or set pool_size = 0")


def _written(values: Sequence[Value]) -> Any:
    """Values as JSON can hold them; a run of consecutive whole numbers as a range."""
    first = values[0]
    if len(values) > 2 and isinstance(first, int) and values == tuple(range(first, first + len(values))):
        return f"{first}:{first + len(values)}"
    return ["inf" if value == math.inf else value for value in values]
