"""What `lsa-jax sweep --dry-run` prints: what a sweep would do here, or on hardware that is not here."""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from lsa_jax import exit_codes
from lsa_jax.consoles import wide_console
from lsa_jax.sweeps import compiled, estimate, plan, processes, spec, watching, worker
from lsa_jax.sweeps.compiled import Programs
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.spec import Spec
from lsa_jax.sweeps.worker import Devices
from lsa_jax.targets import chips, roofline, topology
from lsa_jax.targets.chips import Chip
from lsa_jax.targets.programs import Built, built

TABLE_WIDTH = 150
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
HEADINGS = ("lineages a device", "memory", "fit at most", "kernels a step", "traffic a step", "devices talk", "compiled in", "roofline")


def dry_run(source: Path, overrides: Sequence[str], device: str, target: str | None = None) -> int:
    """Print what a sweep would do: cells, groups, memory and time; for a target also what its compiler makes of each program.

    Args:
        source: the spec.
        overrides: `name=value` settings that come after the spec.
        device: platform to run on.
        target: a chip to compile for, with or without a slice; None to compile nothing.

    Returns:
        The exit code: 3 if a program does not compile, or needs devices to talk to each other.

    Raises:
        ValueError: if the sweep cannot be run, or the target is unknown or its compiler is not installed.
    """
    processes.spread_over_cores()
    read = spec.read(source, overrides)
    if target is None:
        groups = plan.plan(read)
        mesh = processes.local_mesh(device, max(len(group.lineages) for group in groups))
        chip, memory = None, processes.memory(mesh)
    else:
        aim = chips.target(target)
        mesh, chip, memory = topology.mesh(aim), aim.chip, processes.USED * aim.chip.memory
        groups = plan.plan(read)
    devices = Devices(mesh.devices.flat[0].platform, mesh.devices.size, memory)
    with worker.arithmetic(read):
        programs = [compiled.programs_of(group, read, mesh) for group in groups]
        sizes = [estimate.batch_size(group, read, len(group.lineages), *devices) for group in groups]
        _tell_plan(read, programs, sizes, devices)
        return exit_codes.DONE if chip is None else _tell_target(read, programs, sizes, devices, chip)


def _tell_plan(read: Spec, programs: Sequence[Programs], sizes: Sequence[int], devices: Devices) -> None:
    """Print what is known before anything is compiled."""
    groups, (platform, count, _) = [one.group for one in programs], devices
    needed = max(size * estimate.bytes_a_lineage(group, read) for size, group in zip(sizes, groups, strict=True))
    trained = sum(len(group.lineages) * len(group.trainings) for group in groups)
    different = {one.static for one in programs}
    took = sum(estimate.seconds(group, read, platform, count) for group in groups)
    took -= estimate.COMPILE_SECONDS * (len(groups) - len(different))
    cells, metrics = sum(group.num_cells for group in groups), 4 if read.simulation_prompts else 2
    rows = cells * len(read.tests) * len(read.evaluation_shots) * metrics
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"cells             {cells} in {sum(len(group.lineages) for group in groups)} lineages; {trained} models to train")
    console.print(f"records           {rows}")
    console.print(f"compiled programs {len(different)}, for {len(groups)} groups")
    console.print(f"at once           up to {max(sizes)} lineages on {count} {platform} device{'s' * (count > 1)}")
    console.print(f"memory            about {needed / 2**20:.0f} MiB")
    console.print(f"time              very roughly {watching.duration(took)}")


def _tell_target(read: Spec, programs: Sequence[Programs], sizes: Sequence[int], devices: Devices, chip: Chip) -> int:
    """Print what the compiler of a target makes of the programs, those of groups with equal ones once."""
    once = {(one.static, one.group.cells): (one, size) for one, size in zip(programs, sizes, strict=True)}
    whole, plain = True, Console(soft_wrap=True, highlight=False, markup=False)
    for one, size in once.values():
        found = list(built(one, chip, size // devices.count))
        wide_console(TABLE_WIDTH, highlight=False).print(_table(read, one.group, found, devices, chip))
        for part in found:
            if part.error:
                plain.print(f"{part.name}: {part.error}")
        whole &= not any(part.error or part.talks for part in found)
    told = f"{chip.name}: {chip.memory / 1e9:g} GB, of which programs may take {processes.USED:.0%}; {chip.bandwidth / 1e9:g} GB/s"
    plain.print(f"{told}, {chip.operations['float32'] / 1e12:.3g} TFLOP/s ({chip.source})")
    return exit_codes.DONE if whole else exit_codes.SOME_RUNS_FAILED


def _table(read: Spec, group: Group, found: Sequence[Built], devices: Devices, chip: Chip) -> Table:
    """One line for each program of a group."""
    setting = group.setting
    table = Table(title=f"d = {setting.dim}, {setting.gradient} gradient, {len(group.lineages)} lineages", title_justify="left")
    table.add_column("program", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    table.add_column("by")
    for part in found:
        if part.error:
            table.add_row(part.name, str(part.lineages), "does not compile")
            continue
        step = ("", "") if part.regime is None else (f"{part.step.kernels:.0f}", _bytes(part.step.bytes))
        seconds, bound = _least(read, group, part, devices, chip)
        cells = (str(part.lineages), _bytes(part.bytes), str(part.largest(devices.memory)), *step, ", ".join(part.talks) or "no")
        table.add_row(part.name, *cells, f"{part.seconds:.1f} s", seconds, bound)
    return table


def _least(read: Spec, group: Group, part: Built, devices: Devices, chip: Chip) -> tuple[str, str]:
    """How long the training of all lineages takes at least by the roofline, and what bounds it; nothing where that is not counted."""
    needs = None if part.regime is None else roofline.step_needs(group.setting, part.regime, jnp.dtype(read.dtype).itemsize)
    least = None if needs is None else roofline.step_seconds(needs, chip, read.dtype)
    if part.regime is None or least is None:
        return "", ""
    branches = sum(branch.regime == part.regime.name for branch in group.trainings)
    steps = (part.regime.steps or group.setting.steps) * len(group.lineages) * branches
    return f"{least[0] * steps / devices.count:.3g} s", least[1]


def _bytes(number: float | int) -> str:
    """A number of bytes in words."""
    size, unit = next(((size, unit) for size, unit in UNITS if number >= size), (1.0, "B"))
    return f"{number / size:.3g} {unit}"
