"""Every knob of a model and of its evaluation, declared once: spec keys, records, traced batches and axis labels derive from here."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jaxtyping import ArrayLike

from lsa_jax import estimators, models
from lsa_jax.errors import InputError
from lsa_jax.given import Given, given
from lsa_jax.knobs import Check, Knob, choice, declared, flag, knob, real, shots, whole
from lsa_jax.limits import ATTENTIONS
from lsa_jax.models.transformer import QUERY_KEYS
from lsa_jax.optimizers import DECAYS, OPTIMIZERS

GRADIENTS = ("population", "sampled", "closed_form")
LARGEST_SEED = 2**32 - 1
LARGEST_COUNT = 2**31 - 1
"""Compiled programs count in 32 bits."""

LARGEST_DIM = 10_000
"""A covariance takes 0.8 GB in float64 here."""


NAMED_MODEL = "a name such as 'linear', FILE.py:NAME, or a model"
BASELINES = "one of zero, averaging, least_squares, ridge, pool_mean, descent_K, preconditioned_descent_K"
TASK = "'random', or d numbers separated by commas"


def text_or(kind: str, depth: int, example: str) -> Check:
    """Return the check of a law: a text, whose dimension is checked when it is known, or arrays or an object in its place."""
    words = f"a text such as {example!r}, or arrays"

    def check(name: str, value: Any) -> str | Given:
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, bool | int | float):
            raise InputError(f"{name} is {value!r}; it must be {words}")
        return given(kind, value)

    return Check(check, depth=depth, words=words)


def named_model(name: str, value: Any) -> str | Given:
    """Check a model: the name of one that is built in, where one is defined, or an object with a name of its own."""
    if isinstance(value, str | Given):
        return value
    if not isinstance(getattr(value, "name", None), str):
        raise InputError(f"{name} is a {type(value).__name__}; it must be {NAMED_MODEL}")
    return Given(label=value.name, value=value)


def task(name: str, value: Any) -> str | tuple[float, ...]:
    """Check a target task: `random`, or its entries."""
    if value == "random":
        return "random"
    entries = value.split(",") if isinstance(value, str) else value
    try:
        found = tuple(float(entry) for entry in entries)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}; it must be {TASK}") from None
    if not all(map(math.isfinite, found)) or not any(found):
        raise InputError(f"{name} is {value!r}; its entries must be finite, one at least not 0")
    return found


def baseline_name(name: str, value: Any) -> str:
    """Check the name of an estimator."""
    return estimators.baseline(str(value)).name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What determines one trained model but for its regime and its branch knobs. In a compiled program the traced fields hold tracers."""

    dim: int = knob(5, whole(1, LARGEST_DIM), "static", "dimension $d$", symbol="$d$")
    model: Any = knob("linear", Check(named_model, words=NAMED_MODEL), "static", "model")
    layers: int = knob(1, whole(1), "static", "layers")
    heads: int = knob(1, whole(1), "static", "heads per layer")
    attention: str = knob("linear", choice(*ATTENTIONS), "static", "attention")
    query_key: str = knob("merged", choice(*QUERY_KEYS), "static", "query and key: one merged matrix, or two")
    mlp: int = knob(0, whole(0), "static", "width of the hidden layer of an MLP after each attention; 0 for none")
    norm: bool = knob(False, flag(), "static", "layer norms")
    gradient: str = knob("population", choice(*GRADIENTS), "static", "gradient: exact, of sampled prompts, or no training")
    steps: int = knob(5000, whole(1, LARGEST_COUNT), "static", "gradient steps of each training phase")
    batch_size: int = knob(1024, whole(1, LARGEST_COUNT), "static", "prompts per step")
    pool_size: int = knob(0, whole(0, LARGEST_COUNT), "static", "labelled examples in the fine-tuning pool; 0 for fresh ones")
    optimizer: str = knob("sgd", choice(*OPTIMIZERS), "static", "optimiser")
    decay: str = knob("linear", choice(*DECAYS), "static", "shape of the learning-rate decay")
    clip_norm: float = knob(1.0, real(0.0), "static", "global norm to which gradients are clipped; 0 for none")
    num_tasks: float = knob(
        math.inf, shots(1), "static", "pretraining tasks $M$; a pool drawn from the prior, inf for the prior", symbol="$M$"
    )
    covariance: Any = knob(
        "isotropic", text_or("matrix", 2, "isotropic"), "shared", r"covariance $\Sigma$ of the covariates", symbol=r"$\Sigma$"
    )
    prior: Any = knob("sphere", text_or("prior", 3, "sphere"), "shared", "law of the pretraining tasks")
    target_task: Any = knob(
        "random", Check(task, depth=1, words=TASK), "shared", r"target task $\theta_0$: random on the unit sphere, or its entries"
    )
    pretraining_shots: ArrayLike = knob(20.0, shots(1), "traced", "pretraining shots $m$", symbol="$m$")
    noise_std: ArrayLike = knob(0.1**0.5, real(0.0), "traced", r"noise $\sigma$", symbol=r"$\sigma$")
    learning_rate: ArrayLike = knob(0.01, real(0.0, above=True), "traced", "learning rate")
    init_std: ArrayLike = knob(0.05, real(0.0, above=True), "traced", "standard deviation of the entries at initialisation")
    seed: ArrayLike = knob(0, whole(0, LARGEST_SEED), "traced", "training seed", swept="0:8")

    @property
    def network(self) -> models.Model:
        """The model itself, made to the shape that `layers`, `heads`, `attention`, `query_key`, `mlp` and `norm` say."""
        shape = {name: value for name in SHAPE if (value := getattr(self, name)) != SETTING[name].default}
        return models.of(self.model, shape)

    @property
    def trained(self) -> bool:
        """Whether models are trained; else closed-form optima are measured."""
        return self.gradient != "closed_form"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How every model of a sweep is measured, and the arithmetic."""

    evaluation_shots: Any = knob((0, 1, 2, 3, 5, 10, 20, 40, "inf"), shots(0), "sweep", "number of shots $n$", symbol="$n$")
    test_tasks: Any = knob(("target", "opposite"), real(-1.0, maximum=1.0), "sweep", r"cosines to $\theta_0$ of the test tasks")
    simulation_prompts: int = knob(0, whole(0, LARGEST_COUNT), "sweep", "prompts that simulate each error beside the exact one; 0 for none")
    simulation_shots: Any = knob((), shots(0), "sweep", "numbers of shots at which errors are simulated; empty for all")
    simulation_quantiles: Any = knob((), real(0.0, maximum=1.0), "sweep", "levels of quantiles of squared errors over simulated prompts")
    baselines: Any = knob((), Check(baseline_name, words=BASELINES), "sweep", "estimators beside the models")
    dtype: str = knob("float32", choice("float32", "float64"), "sweep", "floating-point type")
    matmul_precision: str = knob("highest", choice("highest", "high", "default"), "sweep", "precision of matrix products")


SETTING: Mapping[str, Knob] = declared(Setting)
EVALUATION: Mapping[str, Knob] = declared(Evaluation)
FINE_TUNING_SHOTS = Knob("branch", 20.0, shots(1), r"fine-tuning shots $n_\mathrm{ft}$", symbol=r"$n_\mathrm{ft}$")
"""The one branch knob of the paper's regimes: what the few-shot term of a fine-tuning loss declares."""


def of_kind(*kinds: str) -> tuple[str, ...]:
    """Return the names of the knobs of a setting that enter a program in one of these ways.

    Args:
        kinds: `static`, `shared` or `traced`.

    Returns:
        The names, in the order of their declaration.

    Example:
        >>> of_kind("shared")
        ('covariance', 'prior', 'target_task')
    """
    return tuple(name for name, one in SETTING.items() if one.kind in kinds)


LETTERS = {r"\theta_0": "θ₀", r"\sigma": "σ", r"\Sigma": "Σ", r"n_\mathrm{ft}": "n_ft", "$": ""}
"""What stands for the TeX of labels in plain text."""

SHAPE = ("layers", "heads", "attention", "query_key", "mlp", "norm")
"""Knobs that say the shape of a transformer."""

STATIC, SHARED, TRACED = of_kind("static"), of_kind("shared"), of_kind("traced")


def label_of(name: str) -> str:
    """Return the words for a knob on the axis of a figure.

    Args:
        name: name of a knob, of a column of the records or of a weight.

    Returns:
        Its label up to a semicolon, after which it explains values, or the name with spaces.

    Example:
        >>> label_of("dim"), label_of("weight_prior")
        ('dimension $d$', 'weight prior')
    """
    known = _known().get(name)
    return known.label.partition(";")[0] if known else name.replace("_", " ")


def plain(label: str) -> str:
    """Return the words for a knob without TeX, for where none is drawn."""
    for written, letter in LETTERS.items():
        label = label.replace(written, letter)
    return label


def symbol_of(name: str) -> str:
    """Return the letter of a knob where it has one, else its name with spaces."""
    known = _known().get(name)
    return known.symbol if known and known.symbol else name.replace("_", " ")


def _known() -> dict[str, Knob]:
    """All knobs, and what else an axis of a figure may be, by the names of their columns."""
    cosine = Knob("sweep", 1.0, real(-1.0, maximum=1.0), r"cosine to $\theta_0$")
    zero_shot = Knob("sweep", 0.0, real(0.0), r"zero-shot error on $\theta_0$")
    return {**SETTING, **EVALUATION, "fine_tuning_shots": FINE_TUNING_SHOTS, "cosine": cosine, "zero_shot": zero_shot}
