"""The gallery: every study with its figure, and what `lsa-jax gallery` does."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lsa_jax import exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.plotting import families, studies
from lsa_jax.plotting.diversity import plot_diversity
from lsa_jax.plotting.gauge import plot_gauge
from lsa_jax.plotting.training import plot_forgetting
from lsa_jax.studies import diversity, gauge, published, tasks, tradeoffs, training, trajectories

SHOTS, ERROR, DAMAGE = "number of shots $n$", "$n$-shot error", "damage (error less pretrained)"


@dataclasses.dataclass(frozen=True)
class Study:
    """One figure: what computes its numbers, given the prompts a simulated point, and what draws them."""

    compute: Callable[[int], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


STUDIES: dict[str, Study] = {
    "pretrained": Study(published.pretrained_dimensions, functools.partial(families.plot_family, x_label=SHOTS, y_label=ERROR)),
    "full": Study(published.full_family, functools.partial(families.plot_family, x_label=SHOTS, y_label=ERROR, log_y=True)),
    "value": Study(published.value_family, families.plot_value_family),
    "tradeoff": Study(tradeoffs.tradeoff, studies.plot_tradeoff),
    "phases": Study(tradeoffs.phases, studies.plot_phases),
    "cosine": Study(
        tasks.damage_by_cosine,
        functools.partial(families.plot_family, x_label=r"cosine to $\theta_0$", y_label=DAMAGE, share_y=False),
    ),
    "paths": Study(trajectories.paths, studies.plot_paths),
    "directions": Study(
        tasks.damage_by_direction,
        functools.partial(
            families.plot_family,
            x_label=r"eigenvalue of $\Sigma$ along the task",
            y_label=DAMAGE,
            log_x=True,
            share_y=False,
        ),
    ),
    "annealed": Study(
        trajectories.annealed_against_constrained,
        functools.partial(
            families.plot_family, x_label="steps of the annealed run", y_label="distance from regime (d), relative", log_x=True, log_y=True
        ),
    ),
    "forgetting": Study(training.forgetting, plot_forgetting),
    "gauge": Study(gauge.forgetting_by_scale, plot_gauge),
    "hovering": Study(
        training.hovering,
        functools.partial(families.plot_family, x_label="learning rate", y_label="excess zero-shot error", log_x=True, log_y=True),
    ),
    "clipping": Study(
        training.clipped,
        functools.partial(families.plot_family, x_label="batch size", y_label=r"$v_x$ over its optimum", log_x=True),
    ),
    "task_diversity": Study(diversity.task_diversity, plot_diversity),
}


def run(names: Sequence[str], out: Path, prompts: int) -> int:
    """Compute and draw studies, and write figures and numbers.

    Args:
        names: which; none for all.
        out: the folder.
        prompts: prompts a simulated point.

    Returns:
        The exit code.

    Raises:
        ValueError: if there is no such study, or fewer than 2 prompts.
    """
    unknown = [name for name in names if name not in STUDIES]
    if unknown:
        raise InputError(f"there is no study {unknown[0]!r}; the gallery has {', '.join(STUDIES)}")
    if prompts < 2:
        raise InputError(f"prompts is {prompts}; it must be at least 2")
    out = store.writable_folder(out)
    console = Console(soft_wrap=True, highlight=False)
    for name in names or STUDIES:
        begun = time.monotonic()
        with jax.enable_x64(True):
            numbers = STUDIES[name].compute(prompts)
        store.save_table(out / name, numbers)
        store.save_figure(out / name, STUDIES[name].draw(numbers))
        console.print(f"{out / name}.pdf, .png and the numbers: {time.monotonic() - begun:.0f} s")
    return exit_codes.DONE
