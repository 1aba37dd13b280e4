"""Which method is at least as good as which other on both errors, seed by seed."""

import pandas as pd

from lsa_jax.comparison.fronts import judged

BOTH = ("zero_shot", "few_shot")
SEED = ["shape", "seed"]


def rivals(errors: pd.DataFrame, num_shots: float) -> pd.DataFrame:
    """Count the seeds for which a rival matches a method.

    A method stands at the rate with its least zero-shot error on the target, as it is `judged`. A rival matches it where at one of its
    rates both this error and the mean few-shot error on the unseen task are at most the method's.

    Args:
        errors: what `lsa_jax.comparison.fronts.by_seed` returns.
        num_shots: number of shots of the few-shot error.

    Returns:
        One row a shape, method (`regime`) and `rival`: `num_matched` of the `num_seeds` at which both have errors.

    Example:
        >>> told = {"shape": "(1, 1)", "layers": 1, "attention": "linear", "seed": 0, "over_prompts": "mean"}
        >>> points = {"a": (0.1, 2.0), "b": (0.1, 1.0), "c": (0.3, 0.5)}
        >>> rows = [{**told, "regime": name, "rate": 0.1, "error": error, "test_task": task, "evaluation_shots": shots}
        ...     for name, point in points.items() for error, task, shots in zip(point, ("target", "opposite"), (0.0, 20.0))]
        >>> table = rivals(pd.DataFrame(rows), 20.0)
        >>> table[table["num_matched"] > 0][["regime", "rival"]].to_numpy().tolist()
        [['a', 'b']]
    """
    found = errors[errors["rate"].notna()]
    zero = judged(found)
    zero = zero[(zero["test_task"] == "target") & (zero["evaluation_shots"] == 0)]
    few = found[(found["over_prompts"] == "mean") & (found["test_task"] == "opposite") & (found["evaluation_shots"] == num_shots)]
    keys = [*SEED, "regime", "rate"]
    points = zero.merge(few, on=keys, suffixes=("_zero", "_few")).rename(columns={"error_zero": BOTH[0], "error_few": BOTH[1]})
    points = points[[*keys, *BOTH]]
    best = points.loc[points.groupby([*SEED, "regime"], observed=True)[BOTH[0]].idxmin()]
    pairs = best.merge(points.rename(columns={"regime": "rival"}), on=SEED, suffixes=("", "_rival"))
    pairs = pairs[pairs["regime"] != pairs["rival"]]
    matched = (pairs["zero_shot_rival"] <= pairs["zero_shot"]) & (pairs["few_shot_rival"] <= pairs["few_shot"])
    pair = ["shape", "regime", "rival"]
    seeds = pairs.assign(matched=matched).groupby([*pair, "seed"], observed=True)["matched"].any()
    return seeds.groupby(level=pair, observed=True).agg(num_matched="sum", num_seeds="size").reset_index()
