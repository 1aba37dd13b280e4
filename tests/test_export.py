"""Every program of a sweep lowers for every platform, so that an operation without a lowering is met before a device is at hand."""

import dataclasses
from typing import Any

import jax
import pytest

from lsa_jax.sweeps import compiled, plan, processes, spec

GRID: dict[str, Any] = {"dim": 2, "seed": "0:4", "steps": 3, "batch_size": 8, "evaluation_shots": [0, 4, "inf"]}
EXACT = {**GRID, "regime": ["pretrained", "value_auxiliary"], "simulation_prompts": 8, "baselines": ["ridge"]}
SWEEPS: dict[str, tuple[dict[str, Any], int]] = {
    "population": (EXACT, 6),
    "sampled": ({**GRID, "gradient": "sampled", "regime": ["pretrained", "value_auxiliary"]}, 5),
}
DEEP = {"model": "transformer", "layers": 2, "gradient": "sampled", "simulation_prompts": 8, "regime": ["pretrained", "full"]}
SLOW: dict[str, tuple[dict[str, Any], int]] = {
    "pool": ({**GRID, "gradient": "sampled", "pool_size": 16, "regime": ["pretrained", "value"]}, 4),
    "annealed, Adam": ({**GRID, "optimizer": "adam", "regime": ["full", "value_annealed"]}, 6),
    "deep": ({**GRID, **DEEP, "evaluation_shots": [0, 4]}, 3),
    "softmax": ({**GRID, **DEEP, "attention": "softmax", "mlp": 4, "norm": True, "evaluation_shots": [0, 4]}, 3),
}


@pytest.mark.parametrize("name", [*SWEEPS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_program_is_exported_for_every_platform(name: str) -> None:
    grid, number = {**SWEEPS, **SLOW}[name]
    read = spec.read(grid)
    (group,) = plan.plan(read)
    with jax.enable_x64(False):
        programs = compiled.programs_of(group, read, processes.local_mesh())
        elsewhere = dataclasses.replace(programs, static=dataclasses.replace(programs.static, platform="gpu"))
        parts = [jax.export.export(part.function, platforms=("cpu", "cuda", "tpu"))(*part.arguments) for part in elsewhere.parts(4)]
    assert len(parts) == number
    assert {part.platforms for part in parts} == {("cpu", "cuda", "tpu")}
