"""The language-model tests: their extra, the library's own default precision, and its third-party warnings."""

import importlib.util
from collections.abc import Generator
from pathlib import Path

import jax
import pytest

if importlib.util.find_spec("tunix") is None:
    collect_ignore_glob = ["*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of the folder, so that it runs only when it is asked for."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lm)


@pytest.fixture(scope="session", autouse=True)
def float32(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """What users get: float32, and numpy's broadcasting, which tunix relies on; programs that are compiled twice are kept."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        yield
