"""The spec of a sweep: checked, and written down so that equal sweeps read equal."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.given import Given
from lsa_jax.knobs import Knob, choice
from lsa_jax.objectives import TERMS
from lsa_jax.regimes import Family, Regime
from lsa_jax.setting import EVALUATION, SETTING
from lsa_jax.sweeps import sources
from lsa_jax.written import as_list, values_of

TEST_TASKS = {"target": 1.0, "opposite": -1.0}
TEST_LAWS = ("pool", "prior")
"""Laws over which errors can be averaged beside single test tasks: the pretraining tasks, and what a pool of them was drawn from."""

DEFAULT_REGIMES = ("pretrained", "full", "value", "value_auxiliary")
TABLES = ("points", "regimes")

Axes = dict[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Spec:
    """A checked sweep: blocks of axes, whose products together are its cells, and what all of them share.

    Args:
        blocks: for each block the values of every axis.
        family: the regimes there are, own ones included.
        evaluation_shots: numbers of shots at which models are evaluated.
        simulation_shots: those of them at which errors are simulated.
        cosines: cosines to the target task of the tasks they are evaluated on; 1 is θ₀ itself and -1 its opposite.
        test_laws: laws of tasks over which errors are averaged as well: `pool`, the pretraining tasks, and `prior`, what they come from.
        simulation_prompts: prompts to simulate each error with, beside the exact one; 0 for none.
        simulation_quantiles: levels of the quantiles over these prompts that are recorded beside their mean.
        baselines: estimators that are measured beside the models, see `lsa_jax.estimators.baseline`.
        dtype: `float32` or `float64`.
        matmul_precision: precision of matrix products on devices that have several.
        earlier: sweeps that it goes on from, oldest first: what they hold is not computed again.
    """

    blocks: tuple[Axes, ...]
    family: Family
    evaluation_shots: tuple[float, ...]
    simulation_shots: tuple[float, ...]
    cosines: tuple[float, ...]
    test_laws: tuple[str, ...]
    simulation_prompts: int
    simulation_quantiles: tuple[float, ...]
    baselines: tuple[str, ...]
    dtype: str
    matmul_precision: str
    earlier: tuple["Spec", ...] = ()

    @property
    def finite_shots(self) -> tuple[float, ...]:
        """The numbers of shots at which baselines are simulated."""
        return tuple(filter(math.isfinite, self.simulation_shots))

    @property
    def history(self) -> tuple["Spec", ...]:
        """The sweeps it goes on from, and itself without them."""
        return *self.earlier, dataclasses.replace(self, earlier=())

    @property
    def axes(self) -> dict[str, Knob]:
        """The axes there are: knobs of a setting, the regime, and the knobs of its terms, but for swept weights."""
        return axes_of(self.family)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON can hold it, the same for equal sweeps however they were written."""
        own = [regime.described() for regime in self.family.regimes if regime not in Family.of().regimes]
        told = {
            "cells": [{name: _written(values) for name, values in block.items()} for block in self.blocks],
            "regimes": own,
            "evaluation_shots": _written(self.evaluation_shots),
            "simulation_shots": _written(self.simulation_shots),
            "cosines": _written(self.cosines),
            "simulation_prompts": self.simulation_prompts,
            "dtype": self.dtype,
            "matmul_precision": self.matmul_precision,
        }
        asked = {"simulation_quantiles": self.simulation_quantiles, "baselines": self.baselines, "test_laws": self.test_laws}
        asked["extends"] = [one.as_dict() for one in self.earlier]
        return told | {name: list(values) for name, values in asked.items() if values}

    @property
    def tests(self) -> tuple[tuple[str, float], ...]:
        """Name of every test task and its cosine to the target, and of every law, which has none."""
        return (*((task_name(cosine), cosine) for cosine in self.cosines), *((law, math.nan) for law in self.test_laws))

    @property
    def objects(self) -> dict[str, Any]:
        """The laws, models and terms of one's own, of which `as_dict` holds the names alone."""
        own = (*self.earlier, self)
        values = (
            value for one in own for block in one.blocks for column in block.values() if not isinstance(column, range) for value in column
        )
        terms = (term for one in own for regime in one.family.regimes for term in (*regime.terms, regime.constraint) if term)
        return {
            **{str(value): value for value in values if isinstance(value, Given)},
            **{term.name: term for term in terms if TERMS.get(term.name) is not term},
        }

    @property
    def digest(self) -> str:
        """A hash of the spec."""
        return digest_of(self.as_dict())


def digest_of(told: Mapping[str, Any]) -> str:
    """Return the hash of a spec from what it was written down as; what it extends counts where there is something."""
    content = {name: value for name, value in told.items() if name != "extends" or value}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read(source: str | Path | Mapping[str, Any] | Spec, overrides: Sequence[str] = ()) -> Spec:
    """Read a spec.

    Args:
        source: a TOML file, a Python file that defines `spec`, or a dictionary: axes by name; `points`, a list of dictionaries of axes,
            each of which takes the place of the axes of the same names; `regimes`, own regimes, as tables by name or as `Regime` objects;
            and what belongs to the whole sweep.
        overrides: further `name=value` settings, in place of what the spec and its points say; a value is TOML, or else a text.

    Returns:
        The checked spec.

    Raises:
        ValueError: if the file cannot be read as a spec, a name is unknown, or a value is out of range.
        FileNotFoundError: if there is no such file.

    Example:
        >>> spec = read({"dim": [3, 5], "seed": "0:100"}, ["noise_std=0.3"])
        >>> spec.blocks[0]["noise_std"], len(spec.blocks[0]["seed"])
        ((0.3,), 100)
    """
    if isinstance(source, Spec):
        return source
    written = dict(source) if isinstance(source, Mapping) else sources.from_file(Path(source))
    if not all(isinstance(name, str) for name in written):
        raise InputError("a key of the spec is no text; keys are the names of axes")
    points = written.pop("points", [{}])
    if not isinstance(points, Sequence) or not points or not all(isinstance(point, Mapping) for point in points):
        raise InputError(f"points is {points!r}; it must be a list of tables, [[points]]")
    family = Family.of(_own_regimes(written.pop("regimes", ())))
    asked = dict(sources.override(text) for text in overrides)
    written |= asked
    points = [{name: value for name, value in point.items() if name not in asked} for point in points]
    shared = {name: written.pop(name, knob.default) for name, knob in EVALUATION.items()}
    return _checked(tuple(_block(written, point, family) for point in points), family, shared)


def task_name(cosine: float) -> str:
    """Return the name of a test task: `target`, `opposite`, or its cosine to the target task, to as many digits as tell it from others."""
    named = {value: name for name, value in TEST_TASKS.items()}
    return named.get(cosine, f"cosine {cosine:.12g}")


def axes_of(family: Family) -> dict[str, Knob]:
    """Return the axes that a spec may have where these regimes are known."""
    names = tuple(regime.name for regime in family.regimes)
    regime = Knob("branch", DEFAULT_REGIMES, choice(*names), "regime")
    terms = {name: knob for one in family.regimes for name, knob in one.knobs.items() if name not in one.swept}
    return {**SETTING, "regime": regime, **terms}


def _own_regimes(written: Any) -> Sequence[Regime]:
    """Regimes that a spec defines: tables by name, or objects."""
    if isinstance(written, Mapping):
        return [_regime(name, table) for name, table in written.items()]
    regimes = as_list(written)
    for regime in regimes:
        if not isinstance(regime, Regime):
            raise InputError(f"regimes holds a {type(regime).__name__}; it must hold Regime objects, or be a table of tables")
    return regimes


def _regime(name: str, table: Any) -> Regime:
    """A regime that a spec defines as a table; one that starts from the initial parameters says `start = "initial"`."""
    if not isinstance(table, Mapping):
        raise InputError(f"regime {name!r} is {table!r}; it must be a table, [regimes.{name}], with a loss")
    for key in table:
        checks.as_choice(f"key of regime {name!r}:", key, ("loss", "train", "start", "within", "rate", "steps", "stream", "title"))
    if "loss" not in table:
        raise InputError(f"regime {name!r} has no loss; give loss = {{ zero_shot = 1.0 }}, say")
    chosen: dict[str, Any] = dict(table)
    if chosen.get("start") == "initial":
        chosen["start"] = None
    return Regime(name=name, **chosen)


def _block(axes: Mapping[str, Any], point: Mapping[str, Any], family: Family) -> Axes:
    """The values of every axis of one block."""
    named, known = {**axes, **point}, axes_of(family)
    for name in named:
        checks.as_choice("key", name, (*known, *(() if name in point else (*EVALUATION, *TABLES))))
    block: Axes = {}
    for name, knob in known.items():
        default = knob.default if knob.swept is None else knob.swept
        block[name] = values_of(name, named.get(name, default), knob.check)
    _require_use(block, named)
    return block


def _require_use(block: Axes, named: Mapping[str, Any]) -> None:
    """Refuse combinations that cannot be trained, and axes along which nothing would change."""
    pooled = "sampled" in block["gradient"] and any(block["pool_size"])
    if pooled and math.inf in block["fine_tuning_shots"]:
        raise InputError("fine_tuning_shots is infinite, but prompts from a pool are finite: leave inf out or set pool_size = 0")
    for name in ("batch_size", "pool_size"):
        if "sampled" not in block["gradient"] and name in named and (len(block[name]) > 1 or (name == "pool_size" and block[name][0])):
            raise InputError(f"{name} changes nothing where no prompts are drawn: set gradient = 'sampled', or leave it out")


def _checked(blocks: tuple[Axes, ...], family: Family, shared: Mapping[str, Any]) -> Spec:
    """The spec with what belongs to the whole sweep checked too."""
    asked = as_list(shared["test_tasks"])
    laws = tuple(law for law in TEST_LAWS if law in asked)
    cosines = [TEST_TASKS.get(one, one) if isinstance(one, str) else one for one in asked if one not in laws]
    if laws and not cosines:
        raise InputError(f"test_tasks has no single task beside {' and '.join(laws)}: add 'target'")

    def several(name: str) -> tuple[float, ...]:
        return tuple(map(float, values_of(name, shared[name], EVALUATION[name].check)))

    def some(name: str) -> tuple[Any, ...]:
        return tuple(values_of(name, shared[name], EVALUATION[name].check)) if len(as_list(shared[name])) else ()

    def one(name: str) -> Any:
        return EVALUATION[name].check(name, shared[name])

    shots = several("evaluation_shots")
    simulated = several("simulation_shots") if len(as_list(shared["simulation_shots"])) else shots
    if not set(simulated) <= set(shots):
        raise InputError("simulation_shots holds numbers that evaluation_shots does not: add them there")
    spec = Spec(
        blocks=blocks,
        family=family,
        evaluation_shots=shots,
        simulation_shots=simulated,
        cosines=tuple(map(float, values_of("test_tasks", cosines, EVALUATION["test_tasks"].check))),
        test_laws=laws,
        simulation_prompts=one("simulation_prompts"),
        simulation_quantiles=some("simulation_quantiles"),
        baselines=some("baselines"),
        dtype=one("dtype"),
        matmul_precision=one("matmul_precision"),
    )
    _require_prompts(spec)
    if any(1 in block["dim"] for block in blocks) and not set(spec.cosines) <= {1.0, -1.0}:
        raise InputError("dim 1 knows the tasks target and opposite only; leave other cosines out of test_tasks")
    return spec


def _require_prompts(spec: Spec) -> None:
    """Refuse what is to be measured on simulated prompts where there are none that fit."""
    if spec.simulation_prompts == 1:
        raise InputError("simulation_prompts is 1; a standard error needs at least 2, or 0 for no simulation")
    if not spec.simulation_prompts and (spec.simulation_quantiles or spec.baselines):
        raise InputError("simulation_quantiles and baselines are measured on simulated prompts: set simulation_prompts above 1")
    if spec.baselines and not spec.finite_shots:
        raise InputError("baselines see finite prompts, but all simulation_shots are infinite: add a finite number")
    taken = set(spec.baselines) & set(spec.family.by_name)
    if taken:
        raise InputError(f"{', '.join(taken)} is a baseline and the name of a regime; call the regime otherwise")


def _written(values: Sequence[Any]) -> Any:
    """Values as JSON can hold them; a run of consecutive whole numbers as a range."""
    if isinstance(values, range) and values.step == 1 and len(values) > 2:
        return f"{values.start}:{values.stop}"
    first = values[0]
    if len(values) > 2 and isinstance(first, int) and tuple(values) == tuple(range(first, first + len(values))):
        return f"{first}:{first + len(values)}"
    return ["inf" if value == math.inf else str(value) if isinstance(value, Given) else value for value in values]
