"""What a model is: initial parameters, a prediction, named sets of parameters to train, and what is exact about it, if anything."""

import dataclasses
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression

Risk = Callable[[Any, ArrayLike], Float[Array, ""]]
"""A function (parameters, number of shots) -> error."""

Distance = Callable[[Any, Any, ArrayLike], Float[Array, ""]]
"""A function (parameters, other parameters, number of shots) -> mean squared difference of predictions."""

Group = Callable[[str], bool | np.ndarray]
"""Which entries of a leaf a trainable set holds, from its path such as `"value"`: all, none, or a mask that broadcasts against the leaf."""

Acting = tuple[Float[Array, " entries"], Callable[[Float[Array, " entries"]], Any]]
"""Some entries of the parameters as a vector, and the function that puts others in their place."""


@dataclasses.dataclass(frozen=True)
class Theory:
    """What is exact about a model.

    Args:
        risk: makes the exact risk of a problem on a task or a prior, a function (params, num_shots) -> error.
        sampled_errors: draws squared errors of the same law as those on prompts of tokens, but cheaper, in the signature of
            `lsa_jax.squared_errors.projected_errors`; None where only tokens will do.
        samples_limit: whether it draws them for infinitely many examples too.
        minimisers: whether the closed-form minimisers of `lsa_jax.optima` are this model's.
        exact_at: numbers of shots at which the risk is exact, which is NaN at others; None for all.
        distance: makes the exact mean squared difference of two models' predictions on a task or a prior, a function (params, other,
            num_shots) -> distance; None where it is not known.
    """

    risk: Callable[[LinearRegression, Float[Array, " dim"] | TaskPrior], Risk]
    sampled_errors: Callable[..., Float[Array, " batch"]] | None = None
    samples_limit: bool = False
    minimisers: bool = False
    exact_at: tuple[float, ...] | None = None
    distance: Callable[[LinearRegression, Float[Array, " dim"] | TaskPrior], Distance] | None = None

    def knows(self, num_shots: float) -> bool:
        """Tell whether the risk is exact at a number of shots."""
        return self.exact_at is None or num_shots in self.exact_at


@runtime_checkable
class Model(Protocol):
    """What training, evaluation, sweeps and figures ask of a model; its parameters may be any pytree.

    `groups` names the sets of parameters that may be trained alone, each a `Group`; the set `all` is always there. `acting` returns the
    entries of a set that act on the prediction as a vector, and the function that puts a vector in their place: Hessians are taken in
    these alone. `linear_in` names the sets in which predictions are linear. `theory` is None where nothing is exact.
    """

    @property
    def name(self) -> str:
        """Its name in records and figures."""
        ...

    @property
    def groups(self) -> Mapping[str, Group]:
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
    """Defaults of a user-defined model: no other trainable set than all, of which every entry acts, and no theory."""

    groups: Mapping[str, Group] = MappingProxyType({})
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


def require_group(model: Model, group: str) -> Group:
    """Return a trainable set.

    Args:
        model: the model.
        group: `all`, or a name in `model.groups`.

    Returns:
        The function of a leaf's path.

    Raises:
        ValueError: if the model has no such set.
    """
    if group == "all":
        return lambda path: True
    if group not in model.groups:
        checks.as_choice(f"trainable set of model {model.name!r}:", group, ("all", *model.groups))
    return model.groups[group]


def mask(model: Model, params: Any, group: str) -> Any:
    """Tell which entries of the parameters a trainable set holds.

    Args:
        model: the model.
        params: its parameters.
        group: the trainable set.

    Returns:
        A pytree shaped like `params`: for each leaf a truth value, or a mask that broadcasts against it.

    Raises:
        ValueError: if the model has no such set, or it matches no leaf.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> lsa.models.mask(lsa.models.LINEAR, lsa.models.LINEAR.init(jax.random.key(0), 3, 0.05), "value")
        Params(value=True, query_key=False)
    """
    inside = require_group(model, group)
    found = jax.tree_util.tree_map_with_path(lambda path, _: _truth(inside(path_of(path))), params)
    if not any(np.any(leaf) for leaf in jax.tree.leaves(found)):
        paths = ", ".join(path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
        raise InputError(f"trainable set {group!r} of model {model.name!r} matches none of its leaves ({paths}): mend its predicate")
    return found


def kept(tree: Any, chosen: Any) -> Any:
    """Return a tree of arrays with 0 for the entries outside a mask; leaves that are in it, or out of it, as a whole are left alone."""
    return jax.tree.map(lambda leaf, inside: leaf if isinstance(inside, bool) else jnp.where(inside, leaf, 0), tree, chosen)


def entries(params: Any, chosen: Any) -> Acting:
    """Return all entries inside a mask as a vector, and the function that puts others in their place.

    Args:
        params: any pytree of arrays.
        chosen: a pytree shaped like `params`, for each leaf a truth value or a mask, see `mask`.

    Returns:
        The vector and the function.

    Example:
        >>> vector, put = entries({"a": jnp.ones(2), "b": jnp.zeros(3)}, {"a": False, "b": np.array([True, False, True])})
        >>> vector.tolist(), put(jnp.array([5.0, 6.0]))["b"].tolist(), put(jnp.array([5.0, 6.0]))["a"].tolist()
        ([0.0, 0.0], [5.0, 0.0, 6.0], [1.0, 1.0])
    """
    leaves, structure = jax.tree.flatten(params)
    places = {
        index: np.flatnonzero(np.broadcast_to(inside, jnp.shape(leaves[index])))
        for index, inside in enumerate(jax.tree.leaves(chosen))
        if np.any(inside)
    }
    vector, unravel = jax.flatten_util.ravel_pytree([_taken(leaves[index], where) for index, where in places.items()])

    def put(moved: Float[Array, " entries"]) -> Any:
        new = list(leaves)
        for (index, where), part in zip(places.items(), unravel(moved), strict=True):
            whole = where.size == leaves[index].size
            new[index] = part if whole else leaves[index].ravel().at[where].set(part).reshape(leaves[index].shape)
        return jax.tree.unflatten(structure, new)

    return vector, put


def _taken(leaf: Any, where: np.ndarray) -> Any:
    """Some entries of a leaf, or the leaf as it is if these are all."""
    return leaf if where.size == leaf.size else leaf.ravel()[where]


def _truth(inside: bool | np.ndarray) -> bool | np.ndarray:
    """A mask that holds all or nothing as a truth value."""
    return bool(np.all(inside)) if np.all(inside) or not np.any(inside) else np.asarray(inside, bool)


def path_of(path: tuple[Any, ...]) -> str:
    """Return the path of a leaf as text, its parts separated by points."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Return whether every entry of a pytree is finite."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
