"""What a model is: initial parameters, a prediction, named sets of parameters to train, and what is exact about it, if anything."""

import dataclasses
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression

Risk = Callable[[Any, ArrayLike], Float[Array, ""]]
"""A function (parameters, number of shots) -> error."""

Acting = tuple[Float[Array, " entries"], Callable[[Float[Array, " entries"]], Any]]
"""Some entries of the parameters as a vector, and the function that puts others in their place."""


@dataclasses.dataclass(frozen=True)
class Theory:
    """What is exact about a model.

    Args:
        risk: makes the exact risk of a problem on a task or a prior, a function (params, num_shots) -> error.
        sampled_errors: draws squared errors of the same law as those on prompts of tokens, but cheaper, in the signature of
            `lsa_jax.empirical.projected_errors`; None where only tokens will do.
        minimisers: whether the closed-form minimisers of `lsa_jax.optima` are this model's.
    """

    risk: Callable[[LinearRegression, Float[Array, " dim"] | TaskPrior], Risk]
    sampled_errors: Callable[..., Float[Array, " batch"]] | None = None
    minimisers: bool = False


@runtime_checkable
class Model(Protocol):
    """What training, evaluation, sweeps and figures ask of a model; its parameters may be any pytree.

    `groups` names the sets of parameters that may be trained alone, each a predicate on the path of a leaf such as `"value"`; the set `all`
    is always there. `acting` returns the entries of a set that act on the prediction as a vector, and the function that puts a vector in
    their place: Hessians are taken in these alone. `linear_in` names the sets in which predictions are linear. `theory` is None where
    nothing is exact.
    """

    @property
    def name(self) -> str:
        """Its name in records and figures."""
        ...

    @property
    def groups(self) -> Mapping[str, Callable[[str], bool]]:
        """Trainable sets by name."""
        ...

    @property
    def linear_in(self) -> Container[str]:
        """Trainable sets in whose acting entries predictions are linear, so that squared errors are quadratics."""
        ...

    @property
    def theory(self) -> Theory | None:
        """What is exact."""
        ...

    def init(self, key: Key[Array, ""], dim: int, std: ArrayLike) -> Any:
        """Draw initial parameters for covariates of dimension `dim`, entries of standard deviation `std`."""
        ...

    def predict(self, params: Any, tokens: Any, num_tokens: Any = None) -> Float[Array, ""]:
        """Predict the label of the last token; zero rows may pad the prompt before it, and `num_tokens` counts the others."""
        ...

    def acting(self, params: Any, group: str) -> Acting:
        """Return the entries of a trainable set that act, and the function that replaces them."""
        ...

    def yardsticks(self, params: Any, group: str) -> tuple[Any, ...]:
        """Return parameters at which curvatures in a set tell what rounding is: their largest size, and that of the tokens; or none."""
        ...


class Plain:
    """What a model of one's own has where it says nothing: no other trainable set than all, of which every entry acts, and no theory."""

    groups: Mapping[str, Callable[[str], bool]] = MappingProxyType({})
    linear_in: Container[str] = ()
    theory: Theory | None = None

    def acting(self, params: Any, group: str) -> Acting:
        """Return all entries of a trainable set.

        Args:
            params: the parameters.
            group: the trainable set.

        Returns:
            The entries as a vector, and the function that puts others in their place.
        """
        own: Any = self
        return entries(params, mask(own, params, group))

    def yardsticks(self, params: Any, group: str) -> tuple[Any, ...]:
        """Return nothing: rounding is told by the diagonal of a curvature.

        Args:
            params: the parameters.
            group: the trainable set.

        Returns:
            The empty tuple.
        """
        return ()


def require_group(model: Model, group: str) -> Callable[[str], bool]:
    """Return the predicate of a trainable set.

    Args:
        model: the model.
        group: `all`, or a name in `model.groups`.

    Returns:
        The predicate on paths of leaves.

    Raises:
        ValueError: if the model has no such set.
    """
    checks.as_choice(f"trainable set of model {model.name!r}:", group, ("all", *model.groups))
    return (lambda path: True) if group == "all" else model.groups[group]


def mask(model: Model, params: Any, group: str) -> Any:
    """Tell which leaves of the parameters a trainable set holds.

    Args:
        model: the model.
        params: its parameters.
        group: the trainable set.

    Returns:
        A pytree of truth values, shaped like `params`.

    Raises:
        ValueError: if the model has no such set, or it matches no leaf.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> lsa.models.mask(lsa.models.LINEAR, lsa.models.LINEAR.init(jax.random.key(0), 3, 0.05), "value")
        Params(value=True, query_key=False)
    """
    inside = require_group(model, group)
    found = jax.tree_util.tree_map_with_path(lambda path, _: bool(inside(path_of(path))), params)
    if not any(jax.tree.leaves(found)):
        paths = ", ".join(path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
        raise InputError(f"trainable set {group!r} of model {model.name!r} matches none of its leaves ({paths}): mend its predicate")
    return found


def entries(params: Any, chosen: Any) -> Acting:
    """Return all entries of the chosen leaves as a vector, and the function that puts others in their place.

    Args:
        params: any pytree of arrays.
        chosen: a pytree of truth values, shaped like `params`.

    Returns:
        The vector and the function.

    Example:
        >>> vector, put = entries({"a": jnp.ones(2), "b": jnp.zeros(3)}, {"a": False, "b": True})
        >>> vector.tolist(), put(jnp.arange(3.0))["b"].tolist(), put(jnp.arange(3.0))["a"].tolist()
        ([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, 1.0])
    """
    leaves, structure = jax.tree.flatten(params)
    kept = [index for index, inside in enumerate(jax.tree.leaves(chosen)) if inside]
    vector, unravel = jax.flatten_util.ravel_pytree([leaves[index] for index in kept])

    def put(moved: Float[Array, " entries"]) -> Any:
        new = dict(zip(kept, unravel(moved), strict=True))
        return jax.tree.unflatten(structure, [new.get(index, leaf) for index, leaf in enumerate(leaves)])

    return vector, put


def path_of(path: tuple[Any, ...]) -> str:
    """Return the path of a leaf as text, its parts separated by points."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Return whether every entry of a pytree is finite."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
