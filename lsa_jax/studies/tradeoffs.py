"""What is bought and what is paid: the trade-off between zero-shot, target and unseen errors, and which regime is best where."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax.claims.case import Case, prepare
from lsa_jax.claims.errors import REGIMES
from lsa_jax.claims.settings import Settings
from lsa_jax.params import Params
from lsa_jax.population import population_risk, prior_risk
from lsa_jax.problem import LinearRegression
from lsa_jax.studies.setting import exact_errors, published
from lsa_jax.sweeps import results, run

SEEDS, STEPS, BATCH = 8, 5000, 512
MIXTURES = (0.4, 0.6, 0.9)
"""Shares of the target task among the test tasks; the others come from the prior. At one half (c) and (d) tie."""

DIMENSIONS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
NOISE_LEVELS = np.linspace(0, 2, 41)
PHASE_SHOTS = np.arange(1.0, 65.0)


def tradeoff(prompts: int) -> pd.DataFrame:
    r"""Compute the errors along two curves of parameters, at the four regimes, and of models trained on sampled prompts.

    The first curve goes from the pretrained model to `value` and beyond, $v = (0, t\thinspace v_x, v_y)$; the second one varies the scale
    $w = v_y$ of the `value` optimum, which leaves the zero-shot error as it is.

    Args:
        prompts: not used; the models are trained on fixed batches.

    Returns:
        One row a model: kind (`zero-shot curve`, `scale curve`, `optimum` or `trained`), name, zero_shot, target and unseen.
    """
    case = published()
    params = case.optima(case.settings.pretraining_shots, case.settings.shots)
    tuned = params["value"]
    along = {f"{t:.2f}": _mixed(tuned, t, 1.0) for t in np.linspace(0, 1.5, 61)}
    scales = {f"{w:.2f}": _mixed(tuned, 1.0, w) for w in np.linspace(0.2, 1.5, 66)}
    kinds = {"zero-shot curve": along, "scale curve": scales, "optimum": params}
    rows = [{"kind": kind, "name": name, **_errors(case, one)} for kind, models in kinds.items() for name, one in models.items()]
    return pd.concat([pd.DataFrame(rows), _trained(case.settings)], ignore_index=True)


def _mixed(tuned: Params, share: float, scale: float) -> Params:
    """Parameters with a share of the tuned $v_x$ and a scaled $v_y$."""
    row = tuned.value[-1].at[1:-1].multiply(share).at[-1].multiply(scale)
    return Params(value=tuned.value.at[-1].set(row), query_key=tuned.query_key)


def _errors(case: Case, params: Params) -> dict[str, float]:
    """Zero-shot error on the target, and few-shot errors on it and on its opposite."""
    tasks = jnp.stack([case.target_task, -case.target_task])
    table = np.asarray(exact_errors(params, case.problem, tasks, np.array([0.0, case.settings.shots])))
    return {"zero_shot": float(table[0, 0]), "target": float(table[0, 1]), "unseen": float(table[1, 1])}


def _trained(settings: Settings) -> pd.DataFrame:
    """The same errors of models trained on sampled prompts."""
    spec = {
        "dim": settings.dim,
        "noise_std": settings.noise_std,
        "pretraining_shots": settings.pretraining_shots,
        "fine_tuning_shots": settings.shots,
        "gradient": "sampled",
        "steps": STEPS,
        "batch_size": BATCH,
        "seed": f"0:{SEEDS}",
        "evaluation_shots": [0, settings.shots],
    }
    with tempfile.TemporaryDirectory() as out:
        run.run_sweep(spec, out)
        frame = results.load(out).frame
    frame = frame[(frame["metric"] == "risk") & ~frame["above_minimum"] & ~frame["diverged"]]
    table = frame.pivot_table(index=["regime", "seed"], columns=["test_task", "evaluation_shots"], values="value", observed=True)
    columns = {"zero_shot": ("target", 0.0), "target": ("target", float(settings.shots)), "unseen": ("opposite", float(settings.shots))}
    errors = pd.DataFrame({name: table[column] for name, column in columns.items()}).reset_index()
    return errors.rename(columns={"regime": "name"}).drop(columns="seed").assign(kind="trained").astype({"name": str})


def phases(prompts: int) -> pd.DataFrame:
    """Find the regime with the lowest risk on a mixture of target and unseen tasks, over (d, n) and over (σ, n).

    Pretraining, fine-tuning and test prompts have the same number of shots; unseen tasks come from the pretraining prior.

    Args:
        prompts: not used; everything is exact.

    Returns:
        One row a setting: against (`dim` or `noise_std`), level, shots, mixture, one column a regime with its risk, and best.
    """
    base = Settings()
    found = [_phase_rows("dim", np.array([float(dim)]), dim, np.array([base.noise_std])) for dim in DIMENSIONS]
    found.append(_phase_rows("noise_std", NOISE_LEVELS, base.dim, NOISE_LEVELS))
    table = pd.concat(found, ignore_index=True)
    return table.assign(best=np.array(REGIMES)[table[list(REGIMES)].to_numpy().argmin(axis=1)])


def _phase_rows(against: str, levels: np.ndarray, dim: int, noise_levels: np.ndarray) -> pd.DataFrame:
    """Risks of one dimension at all noise levels, shots and mixtures."""
    case = prepare(Settings(dim=dim))
    risks = np.asarray(_mixture_risks(case, jnp.asarray(noise_levels), jnp.asarray(PHASE_SHOTS)))
    index = pd.MultiIndex.from_product([levels, PHASE_SHOTS, MIXTURES], names=["level", "shots", "mixture"])
    return pd.DataFrame(risks.reshape(-1, len(REGIMES)), index=index, columns=list(REGIMES)).reset_index().assign(against=against)


def _mixture_risks(
    case: Case, noise_levels: Float[Array, " levels"], shots: Float[Array, " shots"]
) -> Float[Array, "levels shots mixtures regimes"]:
    """Risk of every regime on every mixture, exactly."""
    shares = jnp.array(MIXTURES)

    def at(noise_std: Float[Array, ""], number: Float[Array, ""]) -> Float[Array, "mixtures regimes"]:
        problem = LinearRegression(case.problem.covariance, noise_std)
        params = Case(case.settings, problem, case.prior, case.target_task).optima(number, number)
        target = jnp.stack([population_risk(params[name], problem, case.target_task, number) for name in REGIMES])
        unseen = jnp.stack([prior_risk(params[name], problem, case.prior, number) for name in REGIMES])
        return jnp.outer(shares, target) + jnp.outer(1 - shares, unseen)

    return jax.jit(lambda: jax.lax.map(lambda noise: jax.lax.map(lambda number: at(noise, number), shots), noise_levels))()
