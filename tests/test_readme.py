"""The README is true: its example runs, its names exist, its commands are those of the gate."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax.sweeps import plan, spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_example_prints_exact_values_within_the_error_of_the_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for line in lines:
        exact, mean, error = map(float, re.findall(r"\d+\.\d+", line))
        assert abs(mean - exact) < 5 * error


def test_first_number_of_the_start_page_is_between_the_noise_floor_and_the_error_before_tuning() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "start.md").read_text(), flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(example, "start.md", "exec"), found)
    problem, target = found["problem"], found["target"]
    before, after = (lsa.population_risk(found[name], problem, target, 0) for name in ("pretrained", "tuned"))
    assert 0.3**2 < after < before


def test_own_objective_of_the_page_on_sweeps_is_a_spec_of_seven_models_a_seed(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n# mine.py(.*?)```", (ROOT / "docs" / "sweeps.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(f"#{example}")
    (group,) = plan.plan(spec.read(path))
    assert (len(group.lineages), len(group.cells)) == (3, 7)
    weights = [cell.knobs["stay.weight_near"] for cell in group.cells if cell.regime == "stay"]
    np.testing.assert_allclose(sorted(weights), np.geomspace(1e-3, 1, 5))


def test_readme_names_functions_tests_and_files_that_exist() -> None:
    for name in re.findall(r"`optima\.(\w+)`", README):
        assert callable(getattr(lsa.optima, name))
    for test in re.findall(r"`(test_\w+\.py)`", README):
        assert (ROOT / "tests" / test).exists()
    for link in re.findall(r"\]\(([\w/.-]+)\)", README):
        assert (ROOT / link).exists()


def test_gate_finds_the_two_commands() -> None:
    for name in ("run", "test"):
        assert len(re.findall(rf"<!-- command: {name} -->\n```sh\npython3 [^\n]+\n```", README)) == 1


def test_readme_stays_short() -> None:
    assert len(README.splitlines()) < 85
