"""The reference of spec keys says what the checks do: names, defaults and ranges."""

import tomllib
from pathlib import Path

import pytest

from lsa_jax import commands
from lsa_jax.errors import InputError
from lsa_jax.sweeps import spec
from lsa_jax.sweeps.keys import ENTERS, SpecKey, markdown, spec_keys

KEYS = spec_keys()
ROUNDED = {"noise_std"}
"""Keys whose default is shown to four digits."""


def default_of(key: SpecKey) -> object:
    """The default of a key as a TOML file would give it."""
    return tomllib.loads(f"value = {key.default}")["value"]


def test_every_key_of_a_spec_is_there_with_its_meaning_and_range() -> None:
    assert {key.name for key in KEYS} == {*spec.read({}).axes, *spec.EVALUATION}
    assert all(key.meaning and key.values and key.kind in ENTERS for key in KEYS)
    assert all(f"| `{key.name}` | {key.meaning} |" in markdown(KEYS) for key in KEYS)
    assert not any(set(key.plain) & set("$\\") for key in KEYS)


def test_shown_defaults_are_those_of_a_spec_that_says_nothing() -> None:
    said = spec.read({key.name: default_of(key) for key in KEYS if key.name not in ROUNDED})
    assert said.digest == spec.read({}).digest
    for key in KEYS:
        if key.name in ROUNDED:
            assert default_of(key) == pytest.approx(spec.read({}).blocks[0][key.name][0], rel=1e-4)


@pytest.mark.parametrize("key", [key for key in KEYS if " number, " in key.values], ids=lambda key: key.name)
def test_a_refused_number_is_told_the_range_that_is_listed(key: SpecKey) -> None:
    with pytest.raises(InputError) as refused:
        spec.read({"simulation_prompts": 2, key.name: -2.5})
    assert key.values.removesuffix(", or inf") in str(refused.value)


def test_the_command_lists_the_keys_of_own_regimes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.py"
    own.write_text((Path(__file__).parents[1] / "examples" / "own_axis.py").read_text())
    assert commands.keys(None) == 0
    plain = capsys.readouterr().out
    assert commands.keys(own) == 0
    assert "replayed_shots" in capsys.readouterr().out
    assert "replayed_shots" not in plain
    assert all(key.name in plain for key in KEYS)
