"""From a spec to a figure
=======================

A grid of trainings as one dictionary (or a TOML file, with the same keys): here five noise levels, four seeds each, in two regimes. Models
that share everything but traced values are trained together, and both regimes of a seed start from one pretraining. The folder keeps
every finished part: a second run only draws the figure.

In the figure, lines are theory and points trained models with 95 % intervals over seeds. The same on the command line:
``lsa-jax sweep SPEC.toml --out FOLDER`` and ``lsa-jax plot FOLDER --against noise_std``.
"""

import lsa_jax as lsa

spec = {
    "dim": 3,
    "noise_std": "logspace(0.1, 1, 5)",
    "seed": "0:4",
    "steps": 2000,
    "learning_rate": 0.03,
    "regime": ["pretrained", "value"],
    "evaluation_shots": [0, 20],
}

if __name__ == "__main__":
    progress = lsa.run_sweep(spec, "results/sweep")
    print(f"{progress.done} models trained, {progress.diverged} diverged, {progress.above_minimum} above the minimum")
    numbers = lsa.plotting.sweep_numbers(lsa.load("results/sweep").frame, "noise_std")
    figure = lsa.plotting.plot_sweep(numbers, "noise_std")
    figure.savefig("results/sweep/error_against_noise_std.pdf")
