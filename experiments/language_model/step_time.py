"""Time and memory of a fine-tuning step here, and in PEFT with transformers, on the same batch, from the same adapters, in float32.

Both learn the last tokens of random texts with LoRA on q, k and v and the published optimiser; their losses are compared at every step.
Usage, with torch, transformers and peft installed: `python step_time.py MODEL [BATCH LENGTH STEPS]`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from lsa_jax.lm import lora, peft_adapter, snapshot
from lsa_jax.lm.batches import Example, micro_batches
from lsa_jax.lm.config import read_config
from lsa_jax.lm.finetune import optimizer
from lsa_jax.lm.forward import response_loss
from lsa_jax.lm.settings import FinetuneSettings

ADAPTER, RATE, RESPONSE = lora.Adapter("qkv", 8, 16.0), 1e-3, 2
TOLERANCE = 1e-3


def examples(model: Path, batch: int, length: int) -> list[Example]:
    """Random texts whose last tokens are learned."""
    rows = np.random.default_rng(0).integers(read_config(model).vocab_size, size=(batch, length)).tolist()
    return [Example(tuple(row[:-RESPONSE]), tuple(row[-RESPONSE:])) for row in rows]


def ours(model: Path, start: Path, made: list[Example], steps: int) -> Callable[[], float]:
    """A step of this library, which returns its loss."""
    adapted, _ = peft_adapter.load(start, snapshot.load(model).model)
    rule = optimizer(FinetuneSettings(epochs=1, steps=steps, learning_rate=RATE))
    state = nnx.Optimizer(adapted, rule, wrt=nnx.LoRAParam)
    (batch,) = micro_batches(made, 1, 4096)

    @nnx.jit
    def step(adapted: Any, state: Any) -> jax.Array:
        loss, gradient = nnx.value_and_grad(response_loss, argnums=nnx.DiffState(0, nnx.LoRAParam))(adapted, **batch)
        state.update(adapted, gradient)
        return loss

    return lambda: float(step(adapted, state))


def theirs(model: Path, start: Path, made: list[Example], steps: int) -> Callable[[], float]:
    """A step of PEFT and transformers, which returns its loss."""
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(base, start, is_trainable=True).train()
    trained = [one for one in adapted.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / steps)
    tokens = torch.tensor([[*one.prompt, *one.response] for one in made])
    labels = torch.where(torch.arange(tokens.shape[1]) < tokens.shape[1] - RESPONSE, -100, tokens)

    def step() -> float:
        optimizer.zero_grad()
        loss = adapted(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        decay.step()
        return float(loss)

    return step


SIDES = {"lsa_jax": ours, "PEFT": theirs}


def measure(side: str, model: Path, start: Path, batch: int, length: int, steps: int) -> dict[str, Any]:
    """Losses, least processor and wall time of a step after the first, time of the first, and peak memory of this process."""
    step = SIDES[side](model, start, examples(model, batch, length), steps)
    losses, processor, wall = [], [], []
    for _ in range(steps):
        before = time.process_time(), time.perf_counter()
        losses.append(step())
        processor.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"losses": losses, "processor": min(processor[1:]), "wall": min(wall[1:]), "first": processor[0], "memory": peak}


def main(model: Path, batch: int = 4, length: int = 256, steps: int = 5) -> None:
    """Measure each side in a process of its own and compare."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        fresh = lora.with_adapter(snapshot.load(model).model, ADAPTER, 0)
        start = peft_adapter.save(fresh, ADAPTER, model, Path(place) / "start")
        for side in SIDES:
            command = [sys.executable, __file__, str(model), str(batch), str(length), str(steps), side, str(start)]
            found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            told = {name: round(value, 3) for name, value in found[side].items() if name != "losses"}
            print(f"{side}: seconds a step and GB {told}, losses {np.round(found[side]['losses'], 4)}")
    one, other = found["lsa_jax"], found["PEFT"]
    np.testing.assert_allclose(one["losses"], other["losses"], atol=TOLERANCE, rtol=0)
    print("ratios to PEFT:", {name: round(one[name] / other[name], 2) for name in ("processor", "wall", "memory")})


if __name__ == "__main__":
    place, *numbers = sys.argv[1:5]
    if len(sys.argv) == 7:
        print(json.dumps(measure(sys.argv[5], Path(place), Path(sys.argv[6]), *map(int, numbers))))
    else:
        main(Path(place), *map(int, numbers))
