"""The commands: from local files to checkpoints, records, the figure and a snapshot, and one line for bad input."""

import contextlib
import importlib.util
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import cyclopts
import numpy as np
import pandas as pd
import pytest
import qwen
from fakes import TEMPLATE, make_questions, write_parquet, write_tokenizer

from lsa_jax import cli, exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, importing, records, running, snapshot, tiny

SUBJECTS = ["philosophy", "astronomy", "sociology", "anatomy"]
QUESTIONS = ["--num-training", "8", "--num-evaluation", "4"]
TRAINING = [
    *("--targets", "v", "--loss", "mixture", "--shots", "1", "--rank", "4", "--alpha", "8", "--learning-rate", "0.01"),
    *("--epochs", "2", "--steps", "2", "--batch-size", "4", "--checkpoint-every", "2", "--dtype", "float32", "--quiet"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that name a snapshot and a copy of MMLU."""
    root = tmp_path_factory.mktemp("files")
    data = write_parquet(root / "mmlu", make_questions(SUBJECTS, 20), "test")
    model = tiny.write_snapshot(root / "model", 0, vocab_size=512, num_layers=1, tokenizer=write_tokenizer(root / "tokenizer"))
    (model / "chat_template.jinja").write_text(TEMPLATE)
    return ["--model", str(model), "--data", str(data)]


def lsa_jax(*arguments: object) -> int:
    return cli.app([str(one) for one in arguments], exit_on_error=False, print_error=False, result_action="return_value")


def stopping_after(steps: int) -> Callable[[], contextlib.AbstractContextManager[Callable[[], bool]]]:
    """A stand-in for signals, heard after so many steps."""

    @contextlib.contextmanager
    def signals() -> Generator[Callable[[], bool]]:
        asked = itertools.count()
        yield lambda: next(asked) >= steps

    return signals


def test_the_whole_experiment(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["lm", "finetune", *files, *QUESTIONS, *TRAINING, "--out", tmp_path / "v-mixture"]
    with monkeypatch.context() as patched:
        patched.setattr(running, "stop_signals", stopping_after(3))
        assert lsa_jax(*run) == exit_codes.INTERRUPTED_RESUMABLE
    assert "interrupted at step 3 of 4" in capsys.readouterr().err.replace("\n", " ")
    assert lsa_jax(*run) == exit_codes.DONE
    assert checkpoints.planned(tmp_path / "v-mixture", 4, 2) == [2, 4]
    with pytest.raises(InputError, match=r"holds a different run \(finetune\.seed 0 there, 1 asked\): choose another --out$"):
        lsa_jax(*run, "--seed", "1")

    out = tmp_path / "records"
    evaluation = ["--shots", "0", "--shots", "1", "--seeds", "0", "--dtype", "float32", "--quiet"]
    assert lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--out", out, *evaluation) == exit_codes.DONE
    assert lsa_jax("lm", "figure", out, "--shots", "1", "--out", tmp_path / "new" / "folder" / "figure") == exit_codes.DONE
    assert (tmp_path / "new" / "folder" / "figure_paths.pdf").exists()
    with pytest.raises(InputError, match="holds no records"):
        lsa_jax("lm", "figure", tmp_path / "nowhere", "--out", tmp_path / "nowhere" / "figure")
    assert not (tmp_path / "nowhere").exists()
    assert lsa_jax("lm", "figure", out, "--shots", "1") == exit_codes.DONE
    numbers = pd.read_parquet(out / "figure.parquet")
    assert sorted(numbers[["targets", "step", "shots", "category"]].itertuples(index=False, name=None)) == sorted(
        (targets, step, shots, category)
        for (targets, step), shots, category in itertools.product((("base", 0), ("v", 2), ("v", 4)), (0, 1), ("humanities", "stem"))
    )
    with pytest.raises(InputError, match=r"was trained with .*num_training=8.*leave these settings out, they are read from the run"):
        lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--num-training", "9", "--out", out, *evaluation)

    recipes = numbers.query("targets == 'v'")[["rank", "learning_rate", "training_dtype"]]
    assert set(recipes.itertuples(index=False)) == {(4, 0.01, "float32")}
    told = capsys.readouterr().out
    assert "share of each letter, and probability of the four together" in told
    assert lsa_jax("lm", "figure", out, "--shots", "1", "--select", "learning_rate=1e-2") == exit_codes.DONE
    with pytest.raises(InputError, match="no fine-tuned model has rank '8'; there are 4"):
        lsa_jax("lm", "figure", out, "--shots", "1", "--select", "rank=8")
    for which in ("1.5", "inf", "nan", "", "0", "7"):
        with pytest.raises(InputError, match="checkpoint"):
            lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--out", tmp_path / "none", "--checkpoints", which)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--out", tmp_path / "file", *evaluation)
    last = ["--shots", "0", "--dtype", "float32", "--quiet", "--checkpoints", "last"]
    assert lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--out", tmp_path / "last", *last) == exit_codes.DONE
    assert set(records.load_records(tmp_path / "last")["step"]) == {0, 4}
    assert lsa_jax("lm", "evaluate", tmp_path / "v-mixture", *files, "--out", tmp_path / "third", *last[:-1], "3") == exit_codes.DONE
    assert set(records.load_records(tmp_path / "third")["step"]) == {0, 3}

    merged = tmp_path / "merged"
    assert lsa_jax("lm", "export", tmp_path / "v-mixture", *files[:2], "--out", merged, "--dtype", "float32") == exit_codes.DONE
    tokens = qwen.random_tokens(0, (1, 6))
    ours, before = (qwen.our_logits(snapshot.load(Path(folder)).model, tokens) for folder in (merged, files[1]))
    assert np.abs(ours - before).max() > 1e-3
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (merged / name).read_bytes() == (Path(files[1]) / name).read_bytes()


def test_adapters_are_written_for_peft_and_evaluated_again(files: list[str], tmp_path: Path) -> None:
    run, adapter = tmp_path / "v-mixture", tmp_path / "adapter"
    assert lsa_jax("lm", "finetune", *files, *QUESTIONS, *TRAINING, "--out", run) == exit_codes.DONE
    assert lsa_jax("lm", "export", run, *files[:2], "--out", adapter, "--peft") == exit_codes.DONE
    asked = ["--shots", "1", "--seeds", "0", "--dtype", "float32", "--quiet", "--checkpoints", "last", "--categories", "humanities"]
    assert lsa_jax("lm", "evaluate", run, *files, "--out", tmp_path / "records", *asked, "--peft", adapter) == exit_codes.DONE
    found = records.load_records(tmp_path / "records")
    assert set(found["category"]) == {"humanities"}
    assert set(found["targets"]) == {"base", "v"}
    ordered = found.sort_values("question").set_index("loss").filter(like="log_likelihood")
    base, ours, theirs = (ordered.loc[loss].to_numpy() for loss in ("base", "mixture", "peft"))
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - base).max() > 1e-4
    namesake = shutil.copytree(adapter, tmp_path / "other" / run.name)
    with pytest.raises(InputError, match="two runs are called v-mixture; name the folders of runs and adapters"):
        lsa_jax("lm", "evaluate", run, *files, "--out", tmp_path / "twice", *asked, "--peft", namesake)
    assert not list((tmp_path / "twice").iterdir())
    with pytest.raises(InputError, match="two runs are called adapter"):
        lsa_jax("lm", "evaluate", *files, *QUESTIONS, "--out", tmp_path / "twice", "--peft", adapter, "--peft", adapter)
    with pytest.raises(InputError, match=r"unknown category 'stems'; .*Did you mean 'stem'"):
        lsa_jax("lm", "evaluate", *files, *QUESTIONS, "--out", tmp_path / "twice", "--categories", "stems")


def test_dry_run_plans_and_trains_nothing(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["lm", "finetune", *files, *QUESTIONS, *TRAINING, "--dry-run"]
    before = list(Path(files[1]).iterdir())
    assert lsa_jax(*run) == exit_codes.DONE
    told = capsys.readouterr().out
    assert "trained parameters 384" in told
    assert "steps              4, a checkpoint every 2" in told
    assert list(Path(files[1]).iterdir()) == before
    with pytest.raises(InputError, match="--out is missing: give a folder for checkpoints and metrics, or --dry-run"):
        lsa_jax(*run[:-1])
    with pytest.raises(InputError, match="are needed, there are 1e-06: take --remat or a larger --accumulation"):
        lsa_jax(*run, "--memory-gb", "1e-6")


def test_bad_input_is_one_line(files: list[str], tmp_path: Path) -> None:
    run = ["lm", "finetune", "--out", tmp_path / "run", "--rank", "4", "--quiet"]
    for flags, message in (
        ([*files, *QUESTIONS, "--targets", "w"], "targets 'w' matches no projection"),
        ([*files, *QUESTIONS, "--loss", "few"], "unknown loss 'few'"),
        ([*files, *QUESTIONS, "--data-seed", "-1"], "data_seed is -1"),
        ([*files, *QUESTIONS, "--accumulation", "3"], "batch_size 10 is no multiple of accumulation 3"),
        ([*files, "--num-evaluation", "4"], "there are 16 humanities questions to train on, 1000 are asked for"),
        ([*files[:2], "--data", tmp_path], "has no questions of the split test"),
        ([*files, *QUESTIONS, "--accumulation", "0"], "accumulation is 0; it must be a whole number, at least 1"),
        ([*files, *QUESTIONS, "--max-length", "20"], "an example has .* tokens, at most 20 are allowed: raise --max-length"),
        ([*files, *QUESTIONS, "--max-length", "20", "--dry-run"], "an example has .* tokens, at most 20 are allowed"),
        ([*files, *QUESTIONS, "--dry-run", "--memory-gb", "-1"], "memory_gb is -1"),
        ([*files, *QUESTIONS, "--seed", "-1"], "seed is -1"),
        ([*files, *QUESTIONS, "--seed", 2**32], r"seed is 4294967296; seeds must stay below 2\*\*32"),
        ([*files, *QUESTIONS, "--data-seed", 2**70], r"data_seed is .*; seeds must stay below 2\*\*32"),
        ([*files, *QUESTIONS, "--mesh", "fsdp"], "mesh is 'fsdp'; it must be fsdp=N, tp=N, or both separated by a comma"),
        ([*files, *QUESTIONS, "--mesh", "fsdp=1", "--dry-run"], "the plan of --dry-run is for one device: leave --mesh fsdp=1 out"),
        ([*files, *QUESTIONS, "--mesh", "fsdp=0"], "fsdp is 0; it must be a whole number, at least 1"),
        ([*files, *QUESTIONS, "--mesh", "tp=4096"], r"mesh tp=4096 needs 4096 devices, there are \d+: ask for fewer"),
        ([*files, *QUESTIONS, "--steps", 10**12, "--dry-run"], "50000000000000 training examples are asked for, 10000000 are allowed"),
    ):
        with pytest.raises(InputError, match=message):
            lsa_jax(*run, *flags)
    for name in ("--steps", "--num-training", "--data-seed"):
        with pytest.raises(cyclopts.CoercionError, match=r'unable to convert "2\.5" into int'):
            lsa_jax(*run, *files, name, "2.5")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="holds no run; pass a folder that lsa-jax lm finetune wrote"):
        lsa_jax("lm", "export", tmp_path, *files[:2], "--out", tmp_path / "merged")
    store.save_json(tmp_path / "tokenizer.json", {})
    with pytest.raises(InputError, match=r"has no config\.json"):
        lsa_jax(*run, "--model", tmp_path, *files[2:])


def test_texts_longer_than_the_model_was_made_for_are_refused(files: list[str], tmp_path: Path) -> None:
    short = shutil.copytree(files[1], tmp_path / "short")
    store.save_json(short / "config.json", {**store.load_json(short / "config.json"), "max_position_embeddings": 100})
    names = ["--model", short, *files[2:], *QUESTIONS, "--out", tmp_path / "out"]
    for asked in (
        ["finetune", "--rank", "4", "--loss", "mixture", "--shots", "1"],
        ["evaluate", "--shots", "0", "--shots", "1"],
        ["evaluate", "--shots", "0", "--method", "generation", "--max-tokens", "99"],
    ):
        with pytest.raises(InputError, match=r"a text has \d+ tokens, the model was made for 100 \(max_position_embeddings\): take fewer"):
            lsa_jax("lm", asked[0], *names, *asked[1:])
    assert not list(tmp_path.glob("out/*"))


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(InputError, match=r"tunix is not installed; .*pip install -e '\.\[lm\]' in the checkout") as caught,
        importing(),
    ):
        pytest.fail("imported")
    assert "\n" not in str(caught.value)


def test_a_signal_during_imports_ends_the_process_though_it_is_swallowed() -> None:
    code = (
        "import os, signal\nfrom lsa_jax import lm\nlm.PACKAGES = ()\n"
        "with lm.importing():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n    except BaseException:\n        pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == exit_codes.INTERRUPTED


def test_several_runs_and_shots_are_read_and_none_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    flags = ["lm", "evaluate", "a", "~/b", "--model", "m", "--data", "d", "--out", "o"]
    several = ["--shots", "0", "--shots", "5", "--peft", "~/c", "--peft", "d"]
    _, bound, _ = cli.app.parse_args([*flags, *several], exit_on_error=False, print_error=False)
    assert bound.args == (Path("a").absolute(), Path("/home/somebody/b"))
    assert bound.arguments["protocol"].shots == (0, 5)
    assert bound.arguments["peft"] == (Path("/home/somebody/c"), Path("d").absolute())
    with pytest.raises(cyclopts.UnknownOptionError, match="--empty-shots"):
        lsa_jax(*flags, "--empty-shots")
