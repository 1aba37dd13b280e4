"""`lsa-jax reproduce`: what it finds, writes, resumes and refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lsa_jax import cli, exit_codes
from lsa_jax.reproduce import command, experiment, run
from lsa_jax.reproduce.settings import PRESETS, Settings, default_out

SMALL = Settings(seeds=2, steps=2000, gradient="population", evaluation_shots=20, simulation_prompts=2000)
FLAGS = ["--seeds", "2", "--steps", "2000", "--gradient", "population", "--evaluation-shots", "20", "--simulation-prompts", "2000"]
REGIMES = ["pretrained", "full", "value", "value_auxiliary"]


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command_line = [sys.executable, "-m", "lsa_jax", *map(str, arguments)]
    return subprocess.run(command_line, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[run.Outcome, Path]:
    """A small reproduction by population gradients."""
    out = tmp_path_factory.mktemp("reproduce") / "small"
    return run.reproduce(SMALL, out), out


def test_all_twelve_claims_hold_at_population_gradients(small: tuple[run.Outcome, Path]) -> None:
    claims = small[0].claims
    assert len(claims) == 12
    assert list(dict.fromkeys(claims["regime"])) == REGIMES
    assert (claims["verdict"] == "agrees").all(), claims.to_string()
    assert (claims["excess"].abs() < 0.02).all()
    assert command.exit_code(small[0]) == exit_codes.DONE


def test_exact_curves_show_what_each_regime_gains_and_loses(small: tuple[run.Outcome, Path]) -> None:
    curves = small[0].curves
    closed = curves[curves["source"] == "closed_form"].groupby(["evaluation_shots", "regime", "test_task"])["risk"].mean() - 0.1
    assert closed[np.inf, "full", "target"] == pytest.approx(1, abs=1e-4)
    assert closed[0, "full", "target"] == pytest.approx(0, abs=1e-6)
    assert closed[0, "value", "target"] == pytest.approx(2 / 9, abs=1e-5)
    assert closed[20, "value_auxiliary", "target"] < closed[20, "value", "target"]
    assert closed[20, "value_auxiliary", "opposite"] > closed[20, "value", "opposite"]


def test_records_hold_every_regime_seed_task_and_source(small: tuple[run.Outcome, Path]) -> None:
    curves = small[0].curves
    assert set(curves["source"]) == {"closed_form", "trained", "simulated"}
    counts = curves.groupby(["regime", "source"]).size().unstack()
    shots = len(experiment.simulated_numbers(SMALL))
    assert (counts[["closed_form", "trained"]] == 2 * 2 * 22).all(axis=None)
    assert (counts["simulated"] == 2 * 2 * shots).all()


def test_scale_of_full_is_within_two_percent_of_the_conserved_one(small: tuple[run.Outcome, Path]) -> None:
    scales = small[0].scales
    np.testing.assert_allclose(scales["trained"], scales["conserved"], rtol=0.02)


def test_everything_is_written(small: tuple[run.Outcome, Path]) -> None:
    out = small[1]
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and run.SWEEP not in path.parts}
    tables = {f"{name}.{suffix}" for name in ("curves", "claims", "full_scales") for suffix in ("csv", "parquet")}
    assert names == tables | {f"params/{regime}.npz" for regime in REGIMES} | {"figure.pdf", "figure.png", "run.json"}
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["finished"] is True
    assert manifest["settings"]["dim"] == 5
    assert manifest["environment"]["versions"]["jax"]
    pd.testing.assert_frame_equal(pd.read_parquet(out / "curves.parquet"), small[0].curves)


def test_finished_seeds_are_used_again(small: tuple[run.Outcome, Path]) -> None:
    (small[1] / "curves.parquet").unlink()
    seen: list[int] = []
    again = run.reproduce(SMALL, small[1], figure=False, report=lambda progress: seen.append(progress.computed))
    assert seen == [0]
    pd.testing.assert_frame_equal(again.curves, small[0].curves)
    assert (small[1] / "curves.parquet").exists()


def test_another_run_in_the_folder_is_refused(small: tuple[run.Outcome, Path]) -> None:
    result = call("reproduce", "--quiet", *FLAGS, "--seed", 5, "--out", small[1])
    assert result.returncode == exit_codes.BAD_INPUT
    assert "holds a different run (seed 0 there, 5 asked): choose another --out, or --force" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_runs_that_diverge_are_reported_and_left_out(tmp_path: Path) -> None:
    result = call("reproduce", *FLAGS, "--learning-rate", 1e4, "--decay", "constant", "--out", tmp_path / "x")
    assert result.returncode == exit_codes.SOME_RUNS_FAILED, result.stderr
    assert "pretrained: seeds [0, 1] diverged; left out above" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        "--optimizer adam",
        "--noise-std 0",
        "--fine-tuning-shots 25 --covariance rotated:power_law:0.5 --prior gaussian --target-task 1,0,-1,0,0 --dtype float64",
    ],
)
def test_other_settings_hold_as_well(flags: str, tmp_path: Path) -> None:
    result = call("reproduce", "--quiet", *FLAGS, *flags.split(), "--out", tmp_path / "x")
    assert result.returncode == exit_codes.DONE, result.stdout + result.stderr
    assert not result.stderr


def test_a_damaged_chunk_is_trained_again(small: tuple[run.Outcome, Path]) -> None:
    path = min((small[1] / run.SWEEP / "chunks").iterdir())
    path.write_bytes(path.read_bytes()[:100])
    again = run.reproduce(SMALL, small[1], figure=False)
    np.testing.assert_allclose(again.claims["trained"], small[0].claims["trained"], rtol=1e-5)


@pytest.mark.slow
def test_seeds_pretrained_to_a_local_minimum_are_reported_and_left_out(tmp_path: Path) -> None:
    settings = Settings(seed=4, seeds=4, steps=1500, gradient="population", dim=3, evaluation_shots=20, simulation_prompts=2000)
    outcome = run.reproduce(settings, tmp_path / "x", figure=False)
    assert outcome.failures["value"] == {"diverged": [], run.NOT_REACHED: [5, 6]}
    assert set(outcome.curves[outcome.curves["source"] == "trained"]["seed"]) == {4, 7}
    assert (outcome.claims["verdict"] == "agrees").all()
    assert command.exit_code(outcome) == exit_codes.SOME_RUNS_FAILED


BAD_FLAGS = {
    "--dim 0": "dim is 0; it must be a whole number, from 1 to 10000",
    "--dim 2.5": 'Invalid value for --dim: unable to convert "2.5" into int',
    "--seeds 2.5": 'Invalid value for --seeds: unable to convert "2.5" into int',
    "--dim x": 'Invalid value for --dim: unable to convert "x" into int',
    "--dimension 3": "Unknown option: --dimension",
    "--seeds 1": "seeds is 1; it must be a whole number, at least 2",
    "--seed -1": "seed is -1; it must be a whole number, at least 0",
    "--seed 4294967295": "seeds must stay below 2**32",
    "--noise-std -1": "noise_std is -1.0; it must be a finite number, at least 0",
    "--noise-std nan": "noise_std is nan; it must be a finite number, at least 0",
    "--covariance diagonal:1,-1,1": "covariance is not positive definite",
    "--covariance powerlaw:1": "Did you mean 'power_law'?",
    "--prior spere": "Did you mean 'sphere'?",
    "--optimizer adan": 'Did you mean "adam"?',
    "--target-task 1,2": "target_task has shape (2,); it must have shape (3,)",
    "--target-task 0,0,0": "target_task is '0,0,0'; its entries must be finite, one at least not 0",
    "--target-task a,b,c": "target_task is 'a,b,c'; it must be 'random', or d numbers",
    "--model sofmax": "Did you mean 'softmax'?",
    "--model softmax --gradient population": "model 'softmax' has no exact risk: set gradient = 'sampled'",
    "--pretraining-shots 0": "pretraining_shots is 0; it must be a whole number, at least 1",
    "--learning-rate 0": "learning_rate is 0.0; it must be a finite number, above 0",
    "--steps 0": "steps is 0; it must be a whole number, from 1 to 2147483647",
    "--simulation-prompts 1000000000000": "simulation_prompts is 1000000000000; it must be a whole number, from 0 to 2147483647",
    "--device tpu": "device is 'tpu', which this machine does not have; it has cpu",
    "--preset papers": 'Did you mean "paper"?',
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_bad_flags_end_with_one_line_and_exit_code_2(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dim = [] if "--dim" in flags else ["--dim", "3"]
    monkeypatch.setattr(sys, "argv", ["lsa-jax", "reproduce", "--quiet", *dim, *flags.split(), "--out", str(tmp_path / "x")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = capsys.readouterr().err
    assert ended.value.code == exit_codes.BAD_INPUT
    assert errors.startswith("lsa-jax: ")
    assert errors.count("\n") == 1
    assert BAD_FLAGS[flags] in errors
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = call("reproduce", "--quiet", *FLAGS, "--out", blocked / "x")
    assert result.returncode == exit_codes.BAD_INPUT
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_where_it_stopped(number: int, tmp_path: Path) -> None:
    flags = ["--seeds", "130", *FLAGS[2:-2], "--simulation-prompts", "200", "--no-figure", "--quiet"]
    out = tmp_path / "x"
    process = subprocess.Popen([sys.executable, "-m", "lsa_jax", "reproduce", *flags, "--out", str(out)], stderr=subprocess.PIPE, text=True)
    while not list(out.glob(f"{run.SWEEP}/chunks/*.parquet")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, number)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == exit_codes.INTERRUPTED_RESUMABLE, errors
    assert "run the same command to resume" in errors
    begun = {path.name: path.stat().st_mtime_ns for path in (out / run.SWEEP / "chunks").iterdir()}
    call("reproduce", *flags, "--out", out)
    assert json.loads((out / "run.json").read_text())["finished"]
    assert begun.items() <= {path.name: path.stat().st_mtime_ns for path in (out / run.SWEEP / "chunks").iterdir()}.items()


def test_help_teaches_every_setting_without_importing_jax() -> None:
    asked = "cli.app(['reproduce', '--help'], result_action='return_value')"  # which else ends the process
    probe = f"import sys; from lsa_jax import cli; {asked}; assert 'jax' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for name in Settings.__dataclass_fields__:
        assert "--" + name.replace("_", "-") in result.stdout


def test_importing_the_package_touches_no_device_and_draws_nothing() -> None:
    probe = "import sys, lsa_jax\nassert not {'jax', 'matplotlib', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_presets_change_known_settings_and_have_folders_of_their_own() -> None:
    for name, changes in PRESETS["regimes"].items():
        assert Settings(**changes) is not None
        assert default_out(name).name == f"reproduce-{name}"
    assert Settings(**PRESETS["regimes"]["paper"]).batch_size == 5000
