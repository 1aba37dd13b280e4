"""Specs and plans: what a sweep says, what it means, and how its cells share models and programs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_jax.errors import InputError
from lsa_jax.knobs import real
from lsa_jax.sweeps import plan, processes, spec
from lsa_jax.sweeps.processes import Share
from lsa_jax.written import values_of

REFUSED = {
    "unknown key": ({"nosie_std": 0.1}, "unknown key 'nosie_std'.*Did you mean 'noise_std'"),
    "unknown key of a point": ({"points": [{"dimm": 3}]}, "unknown key 'dimm'.*Did you mean 'dim'"),
    "evaluation in a point": ({"points": [{"evaluation_shots": 3}]}, "unknown key 'evaluation_shots'"),
    "empty axis": ({"dim": []}, r"axis dim is empty \(\[\]\); give it at least one value"),
    "empty range": ({"seed": "5:5"}, r"axis seed is empty \('5:5'\)"),
    "negative seed": ({"seed": [-1]}, "seed is -1; it must be a whole number, from 0 to 4294967295"),
    "seed too large": ({"seed": 2**32}, "seed is 4294967296; it must be a whole number, from 0 to 4294967295"),
    "seed twice": ({"seed": ["0:3", 2]}, "axis seed holds 2 twice; give each value once"),
    "dimension of no matrix": ({"dim": 100_000}, "dim is 100000; it must be a whole number, from 1 to 10000"),
    "more steps than are counted": ({"steps": 1e12}, "steps is 1000000000000.0; .*to 2147483647"),
    "more prompts than are counted": ({"simulation_prompts": 10**12}, "simulation_prompts is 1000000000000; .*from 0 to 2147483647"),
    "range with step 0": ({"dim": "2:8:0"}, "axis dim has the range '2:8:0'; its step must be at least 1"),
    "logspace of exponents": ({"noise_std": "logspace(-2, 0, 3)"}, "first and last must be above 0, as values and not as exponents"),
    "logspace of words": ({"noise_std": "logspace(a, 1, 3)"}, "'a'; it must be a number"),
    "unknown regime": ({"regime": "ful"}, "unknown regime 'ful'.*Did you mean 'full'"),
    "unknown gradient": ({"gradient": "exact"}, "unknown gradient 'exact'"),
    "text for a number": ({"noise_std": "loud"}, "noise_std is 'loud'; it must be a finite number, at least 0"),
    "number for a text": ({"covariance": 3}, "covariance is 3; it must be a text such as 'isotropic'"),
    "no shots to pretrain on": ({"pretraining_shots": 0}, "pretraining_shots is 0; it must be a whole number, at least 1"),
    "cosine above 1": ({"test_tasks": [1.5]}, "test_tasks is 1.5; it must be a finite number, at least -1 and at most 1"),
    "cosine in one dimension": ({"dim": 1, "test_tasks": [0.5]}, "dim 1 knows the tasks target and opposite only"),
    "one prompt to simulate with": ({"simulation_prompts": 1}, "a standard error needs at least 2"),
    "infinite prompts from a pool": (
        {"gradient": "sampled", "pool_size": 10, "fine_tuning_shots": "inf"},
        "prompts from a pool are finite",
    ),
    "a batch that draws nothing": ({"batch_size": [1, 2]}, "batch_size changes nothing where no prompts are drawn"),
    "a pool that is not drawn from": ({"pool_size": 5}, "pool_size changes nothing where no prompts are drawn"),
    "unknown key of a regime": ({"regimes": {"own": {"los": {}}}}, "unknown key of regime 'own': 'los'.*Did you mean 'loss'"),
    "no loss": ({"regimes": {"own": {"train": "all"}}}, "regime 'own' has no loss"),
    "unknown term": (
        {"regimes": {"own": {"loss": {"zero_short": 1}}}},
        "unknown term of regime 'own': 'zero_short'.*Did you mean 'zero_shot'",
    ),
    "unknown schedule": ({"regimes": {"own": {"loss": {"zero_shot": "linear_dacay"}}}}, "Did you mean 'linear_decay'"),
    "negative weight": (
        {"regimes": {"own": {"loss": {"zero_shot": -1}}}},
        "weight of zero_shot in regime 'own' is -1; it must be a finite",
    ),
    "unknown start": ({"regimes": {"own": {"start": "valu", "loss": {"prior": 1}}}}, "starts from 'valu', which is unknown"),
    "a later start": (
        {"regimes": {"one": {"start": "two", "loss": {"prior": 1}}, "two": {"loss": {"prior": 1}}}},
        "regime 'one' starts from 'two', which comes later",
    ),
    "a circle": ({"regimes": {"own": {"start": "own", "loss": {"prior": 1}}}}, "regime 'own' starts from itself"),
    "two of one name": ({"regimes": {"value": {"loss": {"prior": 1}}}}, "two regimes are called 'value'"),
    "two of one stream": ({"regimes": {"own": {"stream": 2, "loss": {"prior": 1}}}}, "regimes 'value' and 'own' have one stream, 2"),
    "points that are no list": ({"points": 3}, r"points is 3; it must be a list of tables, \[\[points\]\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_specs_are_refused(case: str) -> None:
    written, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        spec.read(written)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"covariance": "power_low:1"}, "unknown covariance 'power_low'"),
        ({"prior": "sphere:0"}, "prior is 'sphere:0'; its size must be"),
        ({"covariance": [[1.0, 2.0], [0.0, 1.0]], "dim": 2}, "covariance is not symmetric"),
        ({"covariance": [[1.0, 0.0], [0.0, 1.0]], "dim": 3}, r"covariance has shape \(2, 2\)"),
        ({"target_task": [1.0, 0.0], "dim": 3}, r"target_task has shape \(2,\)"),
        ({"prior": {"tasks": [[1.0, 0.0]]}, "dim": 3}, "prior has dim 2 but the problem has dim 3"),
        ({"regime": "value_annealed", "gradient": "closed_form"}, "regime 'value_annealed' has no closed form"),
        ({"model": "softmax"}, "model 'softmax' has no exact risk: set gradient = 'sampled'"),
        ({"model": "softmax", "gradient": "sampled"}, "model 'softmax' has no exact risk: set simulation_prompts"),
        ({"model": "sofmax"}, "unknown model 'sofmax'.*Did you mean 'softmax'"),
        (
            {"regime": "own", "regimes": {"own": {"train": "valu", "loss": {"prior": 1}}}},
            "trainable set of model 'linear'.*Did you mean 'value'",
        ),
    ],
)
def test_laws_are_checked_before_anything_is_computed(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan.plan(spec.read(written))


def test_ranges_are_half_open_and_spacings_include_their_ends() -> None:
    read = spec.read({"dim": "4:13:4", "noise_std": "logspace(0.01, 1, 3)", "pretraining_shots": "logspace(1, 4, 9)", "seed": ["0:2", 9]})
    (block,) = read.blocks
    assert tuple(block["dim"]) == (4, 8, 12)
    assert block["noise_std"] == (0.01, 0.1, 1.0)
    assert block["pretraining_shots"] == (1.0, 2.0, 3.0, 4.0)
    assert block["seed"] == (0, 1, 9)
    assert values_of("x", "linspace(-1, 1, 5)", real(-1.0)) == (-1, -0.5, 0, 0.5, 1)


def test_equal_sweeps_are_equal_however_written() -> None:
    one = spec.read({"seed": "0:4", "evaluation_shots": ["0:3", "inf"], "test_tasks": ["target"]})
    other = spec.read({"seed": [0, 1, 2, 3], "evaluation_shots": [0, 1, 2, math.inf], "test_tasks": 1})
    assert one.digest == other.digest
    assert one.digest != spec.read({"seed": "0:5"}).digest
    assert one.digest == spec.read({"seed": np.arange(4), "evaluation_shots": (0, 1, 2, np.inf), "test_tasks": ("target",)}).digest


@pytest.mark.parametrize("wrong", [{"dim": [[2, 3]]}, {"regime": 1}, {"dtype": 64}, {"noise_std": {"a": 1}}, {"seed": True}])
def test_values_of_another_kind_are_bad_input(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        spec.read(wrong)


def test_files_and_overrides(tmp_path: Path) -> None:
    toml, python, wrong = tmp_path / "a.toml", tmp_path / "a.py", tmp_path / "b.toml"
    toml.write_text('dim = [3, 4]\n[[points]]\nnoise_std = 0.5\n[[points]]\nregime = "full"\n')
    python.write_text("spec = {'dim': [n for n in (3, 4)], 'points': [{'noise_std': 0.5}, {'regime': 'full'}]}\n")
    assert spec.read(toml).digest == spec.read(python).digest
    assert spec.read(toml, ["dim=[7]", "covariance=power_law:1"]).blocks[1]["dim"] == (7,)
    assert spec.read(toml, ["covariance=power_law:1"]).blocks[0]["covariance"] == ("power_law:1",)
    assert {block["noise_std"] for block in spec.read(toml, ["noise_std=0.25"]).blocks} == {(0.25,)}
    wrong.write_text("dim = = 3")
    with pytest.raises(ValueError, match="is not TOML"):
        spec.read(wrong)
    python.write_text("grid = {}")
    with pytest.raises(ValueError, match="defines no dictionary `spec`"):
        spec.read(python)
    with pytest.raises(ValueError, match="--set got 'dim'; it must be NAME=VALUE"):
        spec.read(toml, ["dim"])
    with pytest.raises(ValueError, match="--set cannot give points"):
        spec.read(toml, ["points=[]"])
    for text, message in {"raise SystemExit(0)": "SystemExit", "1/0": "ZeroDivisionError", "def": "SyntaxError"}.items():
        python.write_text(text)
        with pytest.raises(ValueError, match=f"cannot be run as a spec: {message}"):
            spec.read(python)
    toml.write_bytes(b"\xef\xbb\xbfdim = 3")
    assert spec.read(toml).blocks[0]["dim"] == (3,)


def test_a_grid_of_many_settings_is_one_group_a_dimension() -> None:
    grid = {
        "dim": [3, 5, 8, 10],
        "pretraining_shots": "4:52:4",
        "noise_std": "logspace(0.1, 1, 5)",
        "seed": "0:256",
        "regime": ["full", "value", "value_auxiliary"],
    }
    groups = plan.plan(spec.read(grid))
    assert [group.setting.dim for group in groups] == [3, 5, 8, 10]
    assert [group.num_cells for group in groups] == [12 * 5 * 256 * 3] * 4
    assert {len(group.lineages) for group in groups} == {12 * 5 * 256}


def test_pretraining_is_shared_by_regimes_and_fine_tuning_shots() -> None:
    (group,) = plan.plan(spec.read({"seed": "0:3", "fine_tuning_shots": [5, 20], "regime": ["value", "value_auxiliary", "value_annealed"]}))
    assert len(group.lineages) == 3
    assert len(group.cells) == 6
    assert len(set(group.models.values())) == 5
    assert len(group.trainings) == 6


def test_a_swept_weight_trains_only_what_differs() -> None:
    gentle = {"loss": {"zero_shot": 1.0, "prior": "logspace(0.01, 1, 4)"}}
    groups = plan.plan(spec.read({"seed": 0, "noise_std": [0.1, 0.3], "regime": ["pretrained", "gentle"], "regimes": {"gentle": gentle}}))
    assert sum(len(group.lineages) * len(group.trainings) for group in groups) == 10
    assert sum(group.num_cells for group in groups) == 10


def test_points_over_many_axes_are_planned() -> None:
    random = np.random.default_rng(0)
    names = ("noise_std", "pretraining_shots", "learning_rate", "init_std", "fine_tuning_shots", "seed", "steps")
    points = [{name: int(random.integers(1, 10**6)) for name in names[:-1]} | {"steps": place % 2 + 1} for place in range(600)]
    groups = plan.plan(spec.read({"regime": "pretrained", "points": points}))
    assert sum(group.num_cells for group in groups) == 600


def test_a_range_is_checked_by_its_ends_and_never_written_out() -> None:
    read = spec.read({"seed": "0:10000000", "regime": "pretrained"})
    assert isinstance(read.blocks[0]["seed"], range)
    with pytest.raises(ValueError, match="seed is 4294967296; it must be a whole number, from 0 to 4294967295"):
        spec.read({"seed": "0:4294967297"})
    with pytest.raises(ValueError, match=r"4e\+09 lineages; one plan holds at most 2e\+07"):
        plan.plan(spec.read({"seed": "0:4000000000"}))


def test_cells_that_points_share_are_there_once() -> None:
    points = [{"seed": "0:3"}, {"seed": "1:5", "regime": ["full", "value_auxiliary"], "fine_tuning_shots": [5, 20]}]
    groups = plan.plan(spec.read({"dim": 3, "points": points}))
    cells = [(seed, cell) for group in groups for seed in group.lineages["seed"] for cell in group.cells]
    assert len(cells) == len(set(cells)) == sum(group.num_cells for group in groups) == 3 * 4 + 4 * 4 - 2 * 2
    assert [list(group.lineages["seed"]) for group in groups] == [[0], [1, 2], [3, 4]]


CUTS: dict[str, tuple[list[tuple[int, float]], int, float]] = {
    "many small groups": ([(1, 1.0)] * 100, 8, 1.05),
    "groups of unequal cost": ([(100, 3.0 * dim) for dim in range(1, 20)], 16, 1.02),
    "few groups of growing cost": ([(512, 4.0), (512, 9.0), (512, 20.0), (512, 40.0), (512, 100.0)], 16, 1.02),
    "nothing": ([], 3, 1.0),
    "fewer of one kind than shares": ([(7, 1.0)], 8, 8 / 7),
    "more shares than things": ([(2, 1.0), (1, 5.0)], 8, 8 * 5.0 / 7.0),
}


@pytest.mark.parametrize("name", CUTS)
def test_shares_cost_the_same_and_have_each_thing_once(name: str) -> None:
    groups, count, largest = CUTS[name]
    parts = [Share(index, count).of(groups) for index in range(count)]
    for number, (things, _) in enumerate(groups):
        held = [place for part in parts for place in range(*part[number])]
        assert held == list(range(things))
    costs = [sum((last - first) * cost for (first, last), (_, cost) in zip(part, groups, strict=True)) for part in parts]
    assert max(costs) <= largest * sum(costs) / count
    programs = sum(first < last for part in parts for first, last in part)
    assert programs <= len(groups) + count - 1


def test_parts_of_a_part_are_parts_of_the_whole() -> None:
    assert Share(1, 2).within(Share(2, 3)) == Share(5, 6)


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "1/0"])
def test_a_shard_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it must be I/N with I from 0 to N - 1"):
        processes.read_share(text)


def test_processes_are_found_from_the_environment() -> None:
    array = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "5"}
    assert processes.read_share(None, array) == Share(3, 5)
    assert processes.read_share("1/2", array) == Share(1, 2)
    listed = {"SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_MAX": "5", "SLURM_ARRAY_TASK_COUNT": "3"}
    for number in ("2", "4", "5"):
        with pytest.raises(ValueError, match="the job array is a list of 3 tasks between 2 and 5"):
            processes.read_share(None, {**listed, "SLURM_ARRAY_TASK_ID": number})
    with pytest.raises(ValueError, match="SLURM_ARRAY_TASK_"):
        processes.read_share(None, {"SLURM_ARRAY_TASK_ID": "3"})
    assert processes.read_share(None, {}) == Share()
    assert processes.read_share(None, {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}) == Share(1, 2)
    assert processes.read_share(None, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) == Share()
    assert processes.read_share(None, {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}) == Share(3, 4)
    assert processes.read_share(None, {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "a,b"}) == Share(1, 2)
    assert processes.read_share(None, {"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}) == Share()
    assert processes.read_share(None, {**array, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}) == Share(7, 10)
