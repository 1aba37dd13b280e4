"""Trainable sets of a deep model: whole leaves, one layer of a leaf, or one head of a layer."""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.models.protocol import Group


class TrainableSets(Mapping[str, Group]):
    """The trainable sets of a model, by name.

    A name alone (`value`) is the leaves of that name at all layers; `value[1]` is their layer 1 and `value[1,0]` head 0 of that layer, both
    counted from 0. Iterating gives the plain names; an indexed one is made when it is asked for. The first axes of every leaf are layer
    and head.

    Args:
        leaves: for each plain name, the paths of its leaves and how many axes each has.
        layers: number of layers.
        heads: number of heads of the leaves that have any.
        headless: names whose leaves have a layer axis but no head axis.

    Example:
        >>> sets = TrainableSets({"value": {"value": 4}, "query_key": {"query_key": 4}}, layers=2, heads=1)
        >>> list(sets), sets["value"]("value"), sets["value"]("query_key")
        (['value', 'query_key'], True, False)
        >>> sets["value[1]"]("value").tolist()
        [[[[False]]], [[[True]]]]
    """

    def __init__(self, leaves: Mapping[str, Mapping[str, int]], layers: int, heads: int, headless: tuple[str, ...] = ()) -> None:
        """Store; names are checked when they are asked for."""
        self._leaves, self._layers, self._heads, self._headless = leaves, layers, heads, headless

    def __iter__(self) -> Iterator[str]:
        """The plain names."""
        return iter(self._leaves)

    def __len__(self) -> int:
        """Number of plain names."""
        return len(self._leaves)

    def __contains__(self, name: object) -> bool:
        """Whether the model has leaves of this name, whatever layer and head are asked for."""
        return isinstance(name, str) and name.partition("[")[0] in self._leaves

    def __getitem__(self, name: str) -> Group:
        """The set of this name.

        Args:
            name: a plain name, or one with a layer or a layer and a head in square brackets.

        Returns:
            The function of a leaf's path.

        Raises:
            ValueError: if there is no such set (the nearest name is given), or a layer or head is out of range.
        """
        match = re.fullmatch(r"(\w+)(?:\[(\d+)(?:,\s*(\d+))?\])?", name)
        plain, layer, head = match.groups() if match else (name, None, None)
        checks.as_choice("trainable set", plain, ("all", *self))
        paths = self._leaves[plain]
        if layer is None:
            return lambda path: path in paths
        chosen = self._chosen(name, plain, int(layer), None if head is None else int(head))
        return lambda path: chosen.reshape(chosen.shape + (1,) * (paths[path] - chosen.ndim)) if path in paths else False

    def _chosen(self, name: str, plain: str, layer: int, head: int | None) -> np.ndarray:
        """Which layers are meant, or which heads of which layer."""
        if layer >= self._layers:
            raise InputError(f"trainable set is {name!r}; layers are counted from 0 and the model has {self._layers}: ask for less")
        layers = np.arange(self._layers) == layer
        if head is None:
            return layers
        if plain in self._headless:
            raise InputError(f"trainable set is {name!r}; {plain} has no heads: name a layer only, as in {plain}[{layer}]")
        if head >= self._heads:
            raise InputError(f"trainable set is {name!r}; heads are counted from 0 and the model has {self._heads}: ask for less")
        return layers[:, None] & (np.arange(self._heads) == head)[None]
