"""Numbers pinned before the regimes, models and settings became objects: every later version gives the same."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import lsa_jax as lsa
from lsa_jax import prompts
from lsa_jax.experiment import TASK_STREAM
from lsa_jax.reproduce import run
from lsa_jax.reproduce.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
KEYS = ["regime", "gradient", "pool_size", "prior", "pretraining_shots", "seed", "fine_tuning_shots", "test_task", "evaluation_shots"]
RUNS = {
    "sampled": Settings(
        dim=3,
        seeds=3,
        steps=60,
        batch_size=16,
        pool_size=50,
        evaluation_shots=6,
        fine_tuning_shots=4,
        pretraining_shots=10,
        simulation_prompts=50,
        dtype="float64",
        covariance="diagonal:2,1,0.5",
        init_std=0.2,
    ),
    "population": Settings(
        seeds=2,
        steps=1500,
        gradient="population",
        evaluation_shots=6,
        fine_tuning_shots=5,
        simulation_prompts=50,
        dtype="float64",
        target_task="1,0,-1,0,0",
        prior="gaussian",
    ),
}


def indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """Records by their coordinates, each there once; what is not known has no row."""
    known = frame[frame["value"].notna()]
    texts = {name: str for name in (*KEYS, "metric") if isinstance(known[name].dtype, pd.CategoricalDtype)}
    rows = known.astype(texts).set_index([*KEYS, "metric"]).sort_index()
    assert rows.index.is_unique
    return rows


def models(folder: Path) -> dict[tuple[str, str, int], np.ndarray]:
    """Trained parameters, by chunk, name and place in it."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            for name in arrays.files:
                found |= {(path.stem, name, place): row for place, row in enumerate(arrays[name])}
    return found


def drawn_alone(settings: Settings) -> np.ndarray:
    """The random target tasks of a reproduction, drawn outside its programs."""
    prior = lsa.SpherePrior(dim=settings.dim)
    with jax.enable_x64(True):
        keys = [jax.random.fold_in(jax.random.key(seed), TASK_STREAM) for seed in range(settings.seeds)]
        return np.stack([prompts.sample_task(key, prior) for key in keys])


@pytest.mark.slow
def test_a_sweep_gives_the_numbers_it_gave(tmp_path: Path) -> None:
    lsa.run_sweep(GOLDEN / "sweep.toml", tmp_path / "again", save_params=True, seed_batch=4)
    before, after = indexed(lsa.load(GOLDEN / "sweep").frame), indexed(lsa.load(tmp_path / "again").frame)
    assert before.index.equals(after.index)
    np.testing.assert_allclose(after["value"], before["value"], rtol=1e-12, atol=1e-17)  # standard errors of 0 are rounding
    assert (before[["diverged", "above_minimum"]] == after[["diverged", "above_minimum"]]).all(axis=None)
    old, new = models(GOLDEN / "sweep" / "params"), models(tmp_path / "again" / "params")
    for place, values in old.items():
        np.testing.assert_allclose(new[place], values, rtol=1e-12, atol=1e-14, err_msg=str(place))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_reproduction_gives_the_numbers_it_gave(name: str, tmp_path: Path) -> None:
    run.reproduce(RUNS[name], tmp_path, figure=False)
    for file in ("curves", "claims", "full_scales"):
        before, after = (pd.read_parquet(folder / f"{file}.parquet") for folder in (GOLDEN / "reproduce" / name, tmp_path))
        pd.testing.assert_frame_equal(after, before, rtol=1e-12, atol=1e-14)
    for path in (GOLDEN / "reproduce" / name / "params").glob("*.npz"):
        with np.load(path) as before, np.load(tmp_path / "params" / path.name) as after:
            assert set(before.files) == set(after.files)
            if RUNS[name].target_task == "random":
                np.testing.assert_array_equal(after["target_task"], drawn_alone(RUNS[name]))
            # The programs that were pinned rounded the length of one target otherwise than its draw outside them.
            np.testing.assert_array_max_ulp(after["target_task"], before["target_task"], maxulp=2)
            assert (after["diverged"] | ~before["diverged"]).all(), "flags may only be added: of runs that end above their start"
            for entry in set(before.files) - {"diverged"}:
                np.testing.assert_allclose(after[entry], before[entry], rtol=1e-12, atol=1e-14, err_msg=entry)


def test_a_folder_of_the_first_record_format_can_still_be_read() -> None:
    frame = lsa.load(GOLDEN / "sweep").frame
    assert set(frame["regime"]) == {"pretrained", "full", "value", "value_auxiliary", "value_annealed"}
    assert len(frame) == 13248


def test_a_folder_of_the_first_record_format_is_not_gone_on_with() -> None:
    with pytest.raises(ValueError, match=r"record format 1, which can be read but not gone on with"):
        lsa.run_sweep(GOLDEN / "sweep.toml", GOLDEN / "sweep")
