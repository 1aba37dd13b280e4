"""Programs for hardware that is not there: what is read from a compiled text, what is counted by hand, and what a compiler says."""

import dataclasses
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import cli, objectives
from lsa_jax.sweeps import compiled, plan, spec
from lsa_jax.targets import chips, command, counts, hlo, programs, roofline, topology

WRITTEN = """HloModule written

%fused (p: f32[50,8], q: f32[1,8], i: s32[]) -> f32[50,8] {
  %p = f32[50,8]{1,0} parameter(0)
  %q = f32[1,8]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %written = f32[50,8]{1,0} dynamic-update-slice(%p, %q, %i, %i)
}

%inner_body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %state = (s32[], f32[4,8]{1,0}) parameter(0)
  %x = f32[4,8]{1,0} get-tuple-element(%state), index=1
  %n = s32[] get-tuple-element(%state), index=0
  %more = s32[] add(%n, %n)
  %y = f32[4,8]{1,0} negate(%x), metadata={op_name="f32[9,9] all-reduce(%x)"}
  ROOT %next = (s32[], f32[4,8]{1,0}) tuple(%more, %y)
}

%inner_condition (state.1: (s32[], f32[4,8])) -> pred[] {
  %state.1 = (s32[], f32[4,8]{1,0}) parameter(0)
  %limit = s32[] constant(7)
  %n.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%n.1, %limit), direction=LT
}

%outer_body (outer: (s32[], f32[4,8], f32[50,8], f32[1,8])) -> (s32[], f32[4,8], f32[50,8], f32[1,8]) {
  %outer = (s32[], f32[4,8]{1,0}, f32[50,8]{1,0}, f32[1,8]{1,0:T(8,128)S(1)}) parameter(0)
  %m = s32[] get-tuple-element(%outer), index=0
  %z = f32[4,8]{1,0} get-tuple-element(%outer), index=1
  %h = f32[50,8]{1,0} get-tuple-element(%outer), index=2
  %row = f32[1,8]{1,0:T(8,128)S(1)} get-tuple-element(%outer), index=3
  %begin = (s32[], f32[4,8]{1,0}) tuple(%m, %z)
  %loop = (s32[], f32[4,8]{1,0}) while(%begin), condition=%inner_condition, body=%inner_body
  %kept = f32[50,8]{1,0} fusion(%h, %row, %m), kind=kLoop, calls=%fused
  ROOT %out = (s32[], f32[4,8]{1,0}, f32[50,8]{1,0}, f32[1,8]{1,0:T(8,128)S(1)}) tuple(%m, %z, %kept, %row)
}

ENTRY %main (a: (s32[], f32[4,8], f32[50,8], f32[1,8])) -> (s32[], f32[4,8], f32[50,8], f32[1,8]) {
  %a = (s32[], f32[4,8]{1,0}, f32[50,8]{1,0}, f32[1,8]{1,0:T(8,128)S(1)}) parameter(0)
  ROOT %steps = (s32[], f32[4,8]{1,0}, f32[50,8]{1,0}, f32[1,8]{1,0:T(8,128)S(1)}) while(%a), condition=%c, body=%outer_body, \
backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_a_compiled_text_is_counted_as_it_runs() -> None:
    module = hlo.parse(WRITTEN)
    inner, row, index = 7 * (2 * 4 * 8 * 4), 8 * 4, 4
    assert counts.heaviest_loop(module) == counts.Counts(kernels=3 * (7 + 1), bytes=3 * (inner + row + index))
    assert counts.collectives(module) == []
    assert counts.collectives(hlo.parse(WRITTEN.replace("negate(%x)", "all-reduce-start(%x)"))) == ["all-reduce"]


def loop_counts(step: Callable[[jax.Array], jax.Array], steps: int) -> counts.Counts:
    """What a scan of so many steps over 1000 numbers does on this machine."""
    run = jax.jit(lambda start: jax.lax.scan(lambda carry, _: (step(carry), None), start, length=steps)[0])
    return counts.heaviest_loop(hlo.parse(str(run.lower(jnp.ones(1000, jnp.float32)).compile().as_text())))


def test_kernels_and_bytes_of_a_program_whose_steps_are_known() -> None:
    few, many = (loop_counts(lambda carry: jnp.sin(carry) * 2, steps) for steps in (10, 30))
    assert many.kernels == 3 * few.kernels > 0
    numbers = 4 * 1000
    assert 2 * numbers <= few.bytes / 10 <= 2 * numbers + 64


def test_operations_counted_by_hand_are_at_least_needed_and_a_third_of_what_the_compiler_counts() -> None:
    dim = 64
    problem = lsa.LinearRegression(covariance=np.eye(dim), noise_std=0.3)
    risk = objectives.population_gradient(problem, lsa.SpherePrior(dim=dim))
    model = lsa.models.LINEAR.init(jax.random.key(0), dim)
    value = jax.jit(jax.value_and_grad(lambda params: risk(jax.random.key(0), params, 20)))
    found = (value.lower(model).compile().cost_analysis() or {})["flops"]
    products = roofline.population_operations(dim) - 12 * (dim + 2) ** 2
    assert found / 3 < products < found


def test_every_chip_has_a_source_and_every_gpu_a_description() -> None:
    for chip in chips.CHIPS.values():
        assert chip.source.startswith("https://")
        assert (chip.slices is None) == (chip.platform == "cuda") == (chip.name in topology.gpus.GPUS)
    assert "memory_bandwidth: 4800000000000" in topology.gpus.config("h200")


BAD: dict[str, tuple[list[str], str]] = {
    "unknown": (["--dry-run", "--target", "v5"], "unknown target 'v5'; it must be one of .* Did you mean 'v5p'?"),
    "slice of a GPU": (["--dry-run", "--target", "h100:2x2"], "a GPU has no slices, .*: give h100"),
    "without its compiler": (["--dry-run", "--target", "v6e"], r"needs the compiler for it: pip install 'lsa-jax\[tpu-target\]'"),
    "not a dry run": (["--out", "unused", "--target", "v5e"], "--target v5e is compiled for, not run on: add --dry-run"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_compiled_for_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, told = BAD[name]
    (tmp_path / "grid.toml").write_text("dim = 2\n")
    monkeypatch.setattr(topology, "PACKAGES", {"tpu": ("no_such_compiler",), "cuda": ("no_such_compiler",)})
    monkeypatch.setattr(sys, "argv", ["lsa-jax", "sweep", str(tmp_path / "grid.toml"), *flags])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(errors.splitlines()) == 1
    assert re.search(told, errors)


PROGRAMS = ("train pretrained", "measure, beside the optimum", "find local minima")
GRID: dict[str, Any] = {"dim": 2, "seed": "0:512", "steps": 200, "batch_size": 64, "evaluation_shots": [0, 4]}


def compiled_for(name: str, grid: dict[str, Any], lineages: int) -> Iterator[programs.Built]:
    """The programs of a sweep of one group, for a target."""
    aim, read = chips.target(name), spec.read(grid)
    (group,) = plan.plan(read)
    with jax.enable_x64(False):
        yield from programs.built(compiled.programs_of(group, read, topology.mesh(aim)), aim.chip, lineages)


@pytest.mark.target
@pytest.mark.parametrize("name", ["v5e:4x4", "v5p:2x2x1", "v6e:2x2"])
def test_devices_that_talk_are_found_out_on_every_slice(name: str) -> None:
    mesh = topology.mesh(chips.target(name))
    split = jax.sharding.PartitionSpec("lineage")
    place = jax.sharding.NamedSharding(mesh, split)
    shape = jax.ShapeDtypeStruct((mesh.size, 128), jnp.float32, sharding=place)

    def talks(run: Callable[[jax.Array], jax.Array]) -> list[str]:
        each = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=split, out_specs=split))
        return counts.collectives(hlo.parse(str(each.lower(shape).compile().as_text())))

    assert talks(lambda part: part * 2) == []
    assert talks(lambda part: part * jax.lax.psum(part, "lineage")) == ["all-reduce"]


@pytest.mark.target
def test_a_dry_run_for_a_target_prints_what_each_program_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text('dim = 2\nseed = "0:8"\nsteps = 20\nregime = "pretrained"\nevaluation_shots = [0, 4]\n')
    assert command.dry_run(grid, (), "default", "v5e:2x2") == 0
    told = capsys.readouterr().out
    assert "at once           up to 8 lineages on 4 tpu devices" in told
    trained, *measured = (re.search(rf"{name} +│ +2 │ +[\d.]+ [kM]B │ +\d+ │ +(\d*) │.*│ +no │", told) for name in PROGRAMS)
    assert trained
    assert int(trained[1]) > 0
    assert all(one and not one[1] for one in measured)


@pytest.mark.target
def test_a_slice_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no target 'v5e:3x5x7' .*: one host is v5e:2x2"):
        topology.mesh(chips.target("v5e:3x5x7"))


@pytest.mark.target
def test_training_on_sampled_prompts_compiles_for_a_tpu_that_is_not_here() -> None:
    found = next(compiled_for("v5e:2x2", {**GRID, "gradient": "sampled", "regime": "pretrained"}, 256))
    assert found.name == "train pretrained"
    assert not found.error
    assert not found.talks
    assert found.step.kernels > 0


@pytest.mark.target
def test_the_largest_batch_is_known_to_a_tenth_without_compiling_for_it() -> None:
    grid = {**GRID, "regime": "pretrained"}
    few, many = (next(compiled_for("v5e:2x2", grid, lineages)) for lineages in (128, 16384))
    assert few.other
    assert few.lineages < few.other[0] < many.lineages / 2
    assert few.largest(float(many.bytes)) == pytest.approx(many.lineages, rel=0.1)


def test_the_largest_batch_is_on_the_line_through_what_was_compiled() -> None:
    class Memory:
        temp_size_in_bytes, argument_size_in_bytes, output_size_in_bytes, alias_size_in_bytes = 1000, 0, 0, 0

    one = programs.Built("", None, lineages=10, seconds=0.0, memory=Memory())
    assert one.largest(3000.0) == 30
    assert dataclasses.replace(one, other=(20, 1500)).largest(3000.0) == 50
    assert dataclasses.replace(one, other=(5, 750)).largest(3000.0) == 50
    assert dataclasses.replace(one, other=(11, 1000)).largest(3000.0) == 30
    assert dataclasses.replace(one, memory=None).largest(3000.0) == 0
