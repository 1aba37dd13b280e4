"""Several devices: the same losses as on one, to rounding, with weights really split; fake devices, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from fakes import make_questions, write_parquet, write_tokenizer
from test_commands import QUESTIONS, SUBJECTS, TRAINING

from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, devices, tiny
from lsa_jax.lm.config import read_config

MESHES = ("", "fsdp=2,tp=2")
SCRIPT = """
import json, sys
from lsa_jax import cli
from lsa_jax.lm import experiment, forward

out, meshes, command = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
finetune, seen = experiment.finetune, []


def watched(model, *arguments, **named):
    done = finetune(model, *arguments, **named)
    kernel = forward.tensors(model)["layers.0.attn.q_proj.w"]
    adapter = forward.tensors(model, forward.trained(model))["layers.0.attn.v_proj.w_lora_a"]
    seen.append([kernel.addressable_shards[0].data.shape, len(kernel.devices()), len(adapter.devices())])
    return done


experiment.finetune = watched
for mesh in meshes:
    flags = ["--mesh", mesh, "--out", f"{out}/run-{mesh}"]
    assert cli.app([*command, *flags], exit_on_error=False, print_error=False, result_action="return_value") == 0
print(json.dumps(seen))
"""


def test_losses_are_those_of_one_device(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "mmlu", make_questions(SUBJECTS, 20), "test")
    model = tiny.write_snapshot(tmp_path / "model", 0, vocab_size=512, num_layers=1, tokenizer=write_tokenizer(tmp_path / "tokenizer"))
    command = ["lm", "finetune", "--model", str(model), "--data", str(data), *QUESTIONS, *TRAINING]
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    arguments = [str(tmp_path), json.dumps(MESHES), json.dumps(command)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[[64, 4, 16], 1, 1], [[32, 2, 16], 4, 4]]
    one, several = (checkpoints.read_metrics(tmp_path / f"run-{mesh}" / checkpoints.METRICS) for mesh in MESHES)
    assert one[0]["loss"] - one[-1]["loss"] > 0.01
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose([line[name] for line in several], [line[name] for line in one], rtol=1e-4)


def test_what_cannot_be_split_is_one_clear_line(tmp_path: Path) -> None:
    config = read_config(tiny.write_snapshot(tmp_path, 0))
    mesh = jax.sharding.AbstractMesh((2, 4), devices.AXES)
    with pytest.raises(InputError, match=r"5 examples \(batch_size / accumulation\) cannot be split over fsdp=2 devices: choose"):
        devices.check_split(mesh, config, 5)
    with pytest.raises(InputError, match=r"layers\.0\.attn\.k_proj\.w of shape \(64, 2, 16\) cannot be split over fsdp=2,tp=4 devices"):
        devices.check_split(mesh, config, 4)
    assert devices.mesh_of("") is None
