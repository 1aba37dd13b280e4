"""The scorer as a model of lm-eval, and lm-eval's own MMLU tasks on a local folder: to check the one against the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import lm_eval
import yaml
from lm_eval.api.model import TemplateLM

from lsa_jax.errors import InputError
from lsa_jax.lm import scoring
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.tokenizer import Tokenizer

TEMPLATES = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"

Request = tuple[tuple[str, str], list[int], list[int]]
"""Texts of a context and what may follow it, and their token numbers."""


class HarnessModel(TemplateLM):
    """A model whose log-likelihoods lm-eval can ask for; it refuses to generate."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, batch_size: int = 8) -> None:
        super().__init__()
        self._model = model
        self._numbers = tokenizer
        self._batch_size = batch_size

    @property
    def eot_token_id(self) -> int:
        """Number of the token that ends a text."""
        return self._numbers.end_of_text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the token numbers of a text; special tokens are those written out in it."""
        return list(self._numbers.encode(string))

    def _loglikelihood_tokens(self, requests: list[Request], **kwargs: Any) -> list[tuple[float, bool]]:
        """Log-likelihoods of what may follow each context, contexts with the same possibilities together."""
        places: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
        for number, (_, context, continuation) in enumerate(requests):
            places.setdefault(tuple(context), {})[tuple(continuation)] = number
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[int, ...]]] = {}
        for context, choices in places.items():
            groups.setdefault(tuple(choices), []).append(context)
        found: dict[int, tuple[float, bool]] = {}
        for choices, contexts in groups.items():
            scores = scoring.score_choices(self._model, contexts, choices, self._batch_size)
            for row, context in enumerate(contexts):
                for column, choice in enumerate(choices):
                    found[places[context][choice]] = float(scores.log_likelihoods[row, column]), bool(scores.greedy[row, column])
        return [found[places[tuple(context)][tuple(continuation)]] for _, context, continuation in requests]

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Refuse: no MMLU task asks for it."""
        raise NotImplementedError("log-likelihoods of whole texts are not offered; only choices are scored")

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Refuse: `lsa_jax.lm.generation` samples answers."""
        raise NotImplementedError("lm-eval's generation tasks are not offered; use lsa_jax.lm.generation")


def mmlu_tasks(data: Path, subjects: Sequence[str], cache: Path) -> list[dict[str, Any]]:
    """Return lm-eval's stock MMLU tasks as whole dictionaries, reading local files only.

    Args:
        data: folder in the shape of cais/mmlu, with SUBJECT/test-*.parquet and SUBJECT/dev-*.parquet.
        subjects: which.
        cache: folder where the datasets library keeps its copies.

    Returns:
        A task a subject.

    Raises:
        InputError: if lm-eval has no such subject, or the folder no such files.
    """
    common = yaml.safe_load((TEMPLATES / "_default_template_yaml").read_text())
    tasks = []
    for subject in subjects:
        template = TEMPLATES / f"mmlu_{subject}.yaml"
        if not template.exists():
            raise InputError(f"lm-eval has no MMLU subject {subject!r}; take one of lsa_jax.lm.categories")
        own = {
            name: value for name, value in yaml.safe_load(template.read_text()).items() if name not in {"include", "tag", "dataset_name"}
        }
        files = {split: sorted(str(path) for path in (data / subject).glob(f"{split}-*.parquet")) for split in ("test", "dev")}
        if not all(files.values()):
            raise InputError(f"{data / subject} lacks test-*.parquet or dev-*.parquet: give a folder in the shape of cais/mmlu")
        tasks.append({**common, **own, "dataset_path": "parquet", "dataset_kwargs": {"data_files": files, "cache_dir": str(cache)}})
    return tasks
