"""Training steps of a deep linear transformer: against the published way in PyTorch, and against the number of shots."""

import time
from typing import Any

import jax
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.agreement import deviation
from benchmarks.training import DIM, NOISE_STD, SHOTS, published_setting
from lsa_jax import objectives, optimizers, regimes, training

LAYERS, HEADS = 3, 1
NUMBERS = (20, 100, 1000)
"""Numbers of shots whose steps are timed."""


def deep_steps(rounds: int = 7, batch_size: int = 5000, steps: int = 20) -> dict[str, Any]:
    """Time sampled pretraining steps of a transformer of three layers: PyTorch as published, and here at several numbers of shots.

    Args:
        rounds: timed rounds.
        batch_size: prompts a step.
        steps: steps a round.

    Returns:
        The record, with the ratio of PyTorch's time, also that of processor times with PyTorch on one thread, and of each number of shots'
        to that of the smallest.
    """
    import torch

    from benchmarks.depth_peer import PublishedDeepPretraining

    problem, prior = published_setting()
    model = lsa.Transformer(LAYERS, HEADS, query_key="separate")
    start = model.init(jax.random.key(0), DIM, 0.1)
    peer = PublishedDeepPretraining(DIM, SHOTS, batch_size, NOISE_STD, start)
    risk = jax.jit(objectives.fresh_prompts(problem, prior, 10**6, model=model))
    with torch.no_grad():
        drawn = [float(peer.loss()) for _ in range(40)]
    agreement = deviation("the published loss", drawn, float(risk(jax.random.key(1), start, SHOTS)))

    def run(key: jax.Array, num_shots: jax.Array) -> training.Trained:
        fresh = objectives.fresh_prompts(problem, prior, batch_size, model=model)
        objective = regimes.stages("pretrained", fresh, num_shots, model=model)[0]
        settings = training.Settings(steps=steps, history_stride=steps)
        return training.train(key, objective, start, optimizers.sgd(0.01, steps, "constant"), settings)

    compiled, key = jax.jit(run), jax.random.key(2)
    ways = {"published PyTorch step": lambda: [peer.step() for _ in range(steps)]}
    ways |= {f"n = {number}": lambda n=np.float32(number): jax.block_until_ready(compiled(key, n)) for number in NUMBERS}
    seconds = timing.interleaved(ways, rounds)
    per_step = {way: [second / steps for second in taken] for way, taken in seconds.items()}
    first = f"n = {NUMBERS[0]}"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    processor = timing.interleaved({way: ways[way] for way in ("published PyTorch step", first)}, rounds, time.process_time)
    torch.set_num_threads(threads)
    told = {
        "speedup": {first: timing.ratio_interval(per_step["published PyTorch step"], per_step[first])},
        "speedup_in_processor_time": {first: timing.ratio_interval(processor["published PyTorch step"], processor[first])},
        "processor_seconds": {way: [second / steps for second in taken] for way, taken in processor.items()},
        "slower_than_few_shots": {
            way: timing.ratio_interval(taken, per_step[first]) for way, taken in per_step.items() if way.startswith("n =") and way != first
        },
        "agreement": agreement,
    }
    memory = compiled.lower(key, np.float32(SHOTS)).compile().memory_analysis()
    settings = {"dim": DIM, "layers": LAYERS, "heads": HEADS, "batch_size": batch_size, "steps": steps, "torch": torch.__version__}
    settings["temporary_bytes"] = None if memory is None else memory.temp_size_in_bytes
    return timing.record("deep_steps", settings, per_step, unit="seconds a step", **told)
