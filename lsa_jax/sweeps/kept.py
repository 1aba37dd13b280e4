"""The trained models that a sweep has kept, found by what they were trained on, whatever the order in which its folder grew."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.models.protocol import path_of
from lsa_jax.regimes import Branch
from lsa_jax.sweeps import extension, saved
from lsa_jax.sweeps import plan as planning
from lsa_jax.sweeps.chunks import disjoint
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec
from lsa_jax.training import Trained

ARITHMETIC = ("dtype", "matmul_precision")
"""What of a spec, beside axes and regimes, says how models are trained; the rest says how they are measured."""

AGAIN = "run that sweep again with --save-params"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A folder with trained models, and the plan of its sweep.

    Args:
        folder: the folder.
        groups: the plan.
    """

    folder: Folder
    groups: Sequence[Group]

    @classmethod
    def of(cls, folder: Folder, spec: Spec) -> "Kept":
        """Return the models of a folder, which were trained as those of another sweep are.

        Args:
            folder: the folder.
            spec: the other sweep.

        Returns:
            The models.

        Raises:
            ValueError: if the folder cannot be read, its arithmetic is another, or one of its regimes is another one of that name.
        """
        there = extension.sweep_of(folder, spec.objects)
        for name in ARITHMETIC:
            found, asked = getattr(there, name), getattr(spec, name)
            if found != asked:
                raise InputError(f"{name} is {found} in {folder.out} and {asked} in the spec: its models are others")
        extension.require_same_regimes(folder, there, spec)
        return cls(folder, planning.plan(there))

    def require(self, groups: Sequence[Group]) -> None:
        """Refuse a plan some of whose models are not here.

        Args:
            groups: the plan.

        Raises:
            ValueError: if so.
        """
        for group in groups:
            for branch in group.trainings:
                missing = np.flatnonzero(self._places(group, branch, np.arange(len(group.lineages)))[:, 0] < 0)
                if len(missing):
                    first = ", ".join(f"{name} {value:g}" for name, value in group.lineages.iloc[missing[0]].items())
                    raise InputError(
                        f"{self.folder.out} lacks the trained models of {len(missing)} lineages, such as {saved.model_name(branch)!r} at "
                        f"{first}: {AGAIN}, or leave them out"
                    )

    def load(self, group: Group, first: int, last: int, size: int) -> dict[Branch, Trained]:
        """Return the trained models of some lineages of a group.

        Args:
            group: the group.
            first: the first lineage.
            last: the one after the last.
            size: size of the batch; the last lineage is repeated to fill it.

        Returns:
            The models, as they were at the end of their training; what their first loss was is not kept.

        Raises:
            ValueError: if a file is damaged, or lacks a model.
        """
        read = functools.cache(self._read)
        init = functools.partial(group.setting.network.init, dim=group.setting.dim, std=1.0)
        shapes, numbers = jax.eval_shape(init, jax.random.key(0)), np.minimum(np.arange(first, first + size), last - 1)

        def model(branch: Branch) -> Trained:
            array = self._arrays(self._places(group, branch, numbers), saved.model_name(branch), read)
            params = jax.tree_util.tree_map_with_path(lambda place, _: array(f"{path_of(place)} "), shapes)
            history = array(saved.HISTORY)
            return Trained(params=params, first_loss=jnp.zeros_like(history[:, 0]), history=history, diverged=array(saved.DIVERGED))

        return {branch: model(branch) for branch in group.trainings}

    @functools.cached_property
    def _files(self) -> Sequence[Sequence[tuple[Chunk, int]]]:
        """The files of each group, with the first lineage that none before them holds."""
        found = sorted(chunk for path in self.folder.params.glob("*.npz") if (chunk := Chunk.of(path)))
        return [list(disjoint(chunk for chunk in found if chunk.group == group.number)) for group in self.groups]

    @functools.cached_property
    def _kept(self) -> Sequence[np.ndarray]:
        """Whether the models of each lineage of each group are in a file."""
        held = [np.zeros(len(group.lineages), bool) for group in self.groups]
        for flags, files in zip(held, self._files, strict=True):
            for chunk, new in files:
                flags[new : chunk.last] = True
        return held

    @functools.cached_property
    def _lineages(self) -> Sequence[pd.MultiIndex]:
        """The lineages of each group, to be looked up."""
        return [pd.MultiIndex.from_frame(group.lineages) for group in self.groups]

    def _places(self, group: Group, branch: Branch, numbers: np.ndarray) -> np.ndarray:
        """Where the model of each of some lineages of another plan is: group and lineage here, -1 where there is none."""
        wanted, found = pd.MultiIndex.from_frame(group.lineages.iloc[numbers]), np.full((len(numbers), 2), -1)
        for one, lineages, kept in zip(self.groups, self._lineages, self._kept, strict=True):
            if one.setting == group.setting and branch in one.trainings:
                rows = lineages.get_indexer(wanted)
                here = (rows >= 0) & kept[rows]
                found[here, 0], found[here, 1] = one.number, rows[here]
        return found

    def _arrays(self, places: np.ndarray, model: str, read: Callable[[Chunk], Mapping[str, np.ndarray]]) -> Callable[[str], Array]:
        """The function that gathers an array of a model from the files that hold these lineages."""
        parts, order = list[tuple[Mapping[str, np.ndarray], np.ndarray]](), list[np.ndarray]()
        for number in np.unique(places[:, 0]):
            for chunk, new in self._files[number]:
                held = np.flatnonzero((places[:, 0] == number) & (places[:, 1] >= new) & (places[:, 1] < chunk.last))
                if len(held):
                    parts.append((read(chunk), places[held, 1] - chunk.first))
                    order.append(held)
        back = np.argsort(np.concatenate(order))

        def array(kind: str) -> Array:
            name = f"{kind}{model}"
            if not all(name in arrays for arrays, _ in parts):
                raise InputError(f"{self.folder.out} does not hold {name!r}: {AGAIN}, in a new folder")
            return jnp.asarray(np.concatenate([arrays[name][rows] for arrays, rows in parts])[back])

        return array

    def _read(self, chunk: Chunk) -> Mapping[str, np.ndarray]:
        """The arrays of a file."""
        arrays = store.load_arrays(self.folder.params_of(chunk))
        if arrays is None:
            raise InputError(f"{self.folder.params_of(chunk)} is damaged: remove it, and {AGAIN}")
        return arrays
