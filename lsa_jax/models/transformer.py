"""Transformers of any depth over the tokens of a prompt: linear or softmax attention, with or without MLP and layer norm."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.limits import ATTENTIONS
from lsa_jax.models import gram_path, token_path, transformer_theory
from lsa_jax.models.protocol import Plain, Theory
from lsa_jax.models.trainable import TrainableSets
from lsa_jax.models.transformer_params import TransformerParams, draw, merged_query_key, widened

QUERY_KEYS = ("merged", "separate")


@dataclasses.dataclass(frozen=True)
class Transformer:
    r"""A transformer that predicts the label of the last token of a prompt.

    Every layer updates all tokens at once, head outputs averaged,

    $$ Z \leftarrow Z + \frac1H \sum_h \frac1N V_h Z Z^\top K_h^\top Q_h Z $$

    with linear attention, and with $\sum_i V_h z_i\,\mathrm{softmax}_i(z_i^\top K_h^\top Q_h z_j)$ for token j with softmax attention
    (logits are not scaled). The query is one of the tokens attended to, also after its label entry has ceased to be 0, and N counts it. The
    prediction is the last entry of the last token. A layer norm, if there is one, stands before the attention and before the MLP, whose
    activation is GELU.

    Args:
        layers: number of layers, at least 1.
        heads: number of heads, at least 1.
        attention: `linear` or `softmax`.
        query_key: `merged`, one matrix for $K^\top Q$, or `separate`.
        mlp: width of the hidden layer of an MLP after every attention, or None for no MLP.
        norm: whether there are layer norms.
        query_attends: whether the query is among the tokens attended to. If not, N is the number of examples, and without examples
            attention adds nothing.
        extra_width: coordinates of a token beyond (1, x, y), which stand between x and y. Tokens without them are filled with zeros.

    Raises:
        ValueError: if a number is out of range or a name unknown.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression (several layers and heads); Ahn, Cheng, Daneshmand, Sra, arXiv
        2306.00297, section 2 (query not attended to).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model = lsa.Transformer(layers=2, heads=3, attention="softmax", query_key="separate")
        >>> params = model.init(jax.random.key(0), dim=5)
        >>> model.predict(params, jnp.ones((21, 7))).shape
        ()
    """

    layers: int
    heads: int
    attention: str = "linear"
    query_key: str = "merged"
    mlp: int | None = None
    norm: bool = False
    query_attends: bool = True
    extra_width: int = 0

    acting, yardsticks = Plain.acting, Plain.yardsticks

    def __post_init__(self) -> None:
        """Check what does not depend on parameters."""
        checks.as_count("layers", self.layers)
        checks.as_count("heads", self.heads)
        checks.as_choice("attention", self.attention, ATTENTIONS)
        checks.as_choice("query_key", self.query_key, QUERY_KEYS)
        checks.as_count("extra_width", self.extra_width, minimum=0)
        if self.mlp is not None:
            checks.as_count("mlp", self.mlp)

    def init(self, key: Key[Array, ""], dim: int, std: ArrayLike = 0.05, dtype: DTypeLike | None = None) -> TransformerParams:
        """Draw parameters: every matrix with normal entries of mean 0, biases 0, gains 1.

        Args:
            key: randomness.
            dim: dimension d of the covariates.
            std: standard deviation of an entry.
            dtype: floating type; by default that of JAX.

        Returns:
            The parameters.

        Raises:
            ValueError: if `dim` is below 1 or `std` negative or not finite.

        References:
            Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression.
        """
        std = checks.as_scale("std", std, minimum=0.0)
        return draw(key, self.shapes(checks.as_count("dim", dim) + 2 + self.extra_width), std, dtype)

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every leaf of the parameters.

        Args:
            width: number of coordinates of a token.

        Returns:
            The shapes by name.
        """
        projections = ("value", "query_key") if self.query_key == "merged" else ("value", "query", "key")
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(projections, (self.layers, self.heads, width, width))
        if self.mlp is not None:
            shapes |= {"mlp_in": (self.layers, self.mlp, width), "mlp_in_bias": (self.layers, self.mlp)}
            shapes |= {"mlp_out": (self.layers, width, self.mlp), "mlp_out_bias": (self.layers, width)}
        if self.norm:
            shapes |= dict.fromkeys(("norm_scale", "norm_shift"), (self.layers, 1 if self.mlp is None else 2, width))
        return shapes

    @property
    def name(self) -> str:
        """Its name in records and figures, such as `transformer(3,2)`; what is not at its default follows."""
        changed = [
            value if isinstance(value, str) else field.name if value is True else f"{field.name}={value}"
            for field in dataclasses.fields(self)[2:]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"transformer({','.join([str(self.layers), str(self.heads), *changed])})"

    @property
    def groups(self) -> TrainableSets:
        """The trainable sets: each projection, `mlp` and `norm`, and each of these for one layer or head: `value[1]`, `value[1,0]`."""
        leaves: dict[str, dict[str, int]] = {}
        for path, shape in self.shapes(width=3).items():
            name = path.split("_")[0] if path.startswith(("mlp", "norm")) else path
            leaves.setdefault(name, {})[path] = len(shape)
        return TrainableSets(leaves, self.layers, self.heads, headless=("mlp", "norm"))

    @property
    def linear_in(self) -> tuple[str, ...]:
        """The sets in which predictions are linear: the values of the last layer, and query and key of a single one of linear attention."""
        if self.mlp is not None:
            return ()
        last = self.layers - 1
        sets = [f"value[{last}]", *(f"value[{last},{head}]" for head in range(self.heads))]
        if self.layers > 1:
            return tuple(sets)
        alone = () if self.attention == "softmax" or self.norm else tuple(name for name in self.groups if name not in {"value", "norm"})
        return ("value", *sets, *alone)

    @property
    def theory(self) -> Theory | None:
        """What is exact, see `lsa_jax.models.transformer_theory`."""
        return transformer_theory.of(self)

    def predict(
        self, params: TransformerParams, tokens: Real[ArrayLike, "rows token"], num_tokens: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """Predict the label of the last token.

        Args:
            params: the parameters.
            tokens: the prompt, one token (1, x, y) a row; the query, whose label is 0, comes last.
            num_tokens: number of tokens, when zero rows pad the prompt before the query; by default the number of rows. May be traced.

        Returns:
            The prediction, NaN where a traced `num_tokens` exceeds the rows. Time and memory are linear in the length of the prompt with
            linear attention, quadratic with softmax.

        Raises:
            ValueError: if the parameters are not this model's, the tokens not of the width they are made for, or `num_tokens` out of range.
        """
        width = self._width(params)
        tokens = checks.as_real("tokens", tokens, ("num_tokens", "width"))
        if tokens.shape[1] not in {width, width - self.extra_width}:
            extra = f", or {width - self.extra_width} without the extra width" if self.extra_width else ""
            raise InputError(f"tokens have shape {tokens.shape}; these params want rows of {width} entries (1, x, y){extra}")
        tokens = widened(tokens, 1, width)
        rows = len(tokens)
        known = None if num_tokens is None else checks.concrete(num_tokens)
        if known is not None and not 1 <= known <= rows:
            raise InputError(f"num_tokens is {known:g} for a prompt of {rows} rows; it must be from 1 to {rows}, the query counted")
        return _read_tokens(self, params, tokens, rows if num_tokens is None else num_tokens)

    def predict_from_gram(
        self,
        params: TransformerParams,
        gram: Float[Array, "token token *batch"],
        query: Float[Array, "token *batch"],
        num_tokens: ArrayLike,
    ) -> Float[Array, "*batch"]:
        """Predict the same from the Gram matrix of all tokens, at a cost that does not depend on their number.

        Args:
            params: the parameters.
            gram: Gram matrix of all tokens, the query's own included (taken out again where the query does not attend). A batch of prompts
                stands in the axes after the first two, differentiable in reverse, see `products.product`.
            query: the query token, with the same batch.
            num_tokens: number of tokens, the query counted.

        Returns:
            The prediction.

        Raises:
            ValueError: if the model has softmax attention, an MLP or layer norms, or the shapes are not those of the parameters.

        References:
            docs/theory.md, equation (D1).
        """
        if self.attention != "linear" or self.mlp is not None or self.norm:
            raise InputError(
                "a prompt enters through its Gram matrix in linear attention without MLP and norm only: pass tokens to predict"
            )
        width = self._width(params)
        known = {width, width - self.extra_width}
        if gram.ndim < 2 or gram.shape[0] not in known or gram.shape != (gram.shape[0], *query.shape):
            raise InputError(f"gram has shape {gram.shape} and query {query.shape}; these params want ({width}, {width}) and ({width},)")
        gram = widened(widened(gram, 0, width), 1, width)
        query = widened(query, 0, width)
        total = jnp.asarray(num_tokens, gram.dtype)
        if not self.query_attends:
            gram, total = gram - query[:, None] * query[None], jnp.maximum(total - 1, 1)
        return _read_gram(params, gram, query, total)

    def _width(self, params: TransformerParams) -> int:
        """Width of the tokens the parameters are made for, once they are known to be this model's."""
        width = params.value.shape[-1]
        if width < 3 + self.extra_width:
            raise InputError(f"params are for tokens of width {width}; it must be at least d + 2, with d at least 1, and the extra width")
        got = {field.name: leaf.shape for field in dataclasses.fields(params) if (leaf := getattr(params, field.name)) is not None}
        wanted = self.shapes(width)
        if got != wanted:
            raise InputError(f"params have leaves {got}; this model wants {wanted}: make them with its init")
        return width


@functools.partial(jax.jit, static_argnums=0)
def _read_tokens(
    model: Transformer, params: TransformerParams, tokens: Float[Array, "rows width"], num_tokens: Real[ArrayLike, ""]
) -> Float[Array, ""]:
    """The last entry of the query token after all layers."""
    rows, total = len(tokens), jnp.asarray(num_tokens)
    row = jnp.arange(rows)
    attended = (row < total - 1) | (row == rows - 1)
    if not model.query_attends:
        attended &= row < rows - 1
    with precision.in_force():
        query_key = merged_query_key(params)
        for index in range(model.layers):
            readers = tokens if index < model.layers - 1 else tokens[-1:]
            leaves = jax.tree.map(lambda leaf, index=index: leaf[index], params)
            tokens = token_path.layer(model.attention, leaves, query_key[index], tokens, readers, attended)
    return jnp.where(total <= rows, tokens[-1, -1], jnp.nan)


@jax.jit
def _read_gram(
    params: TransformerParams, gram: Float[Array, "token token *batch"], query: Float[Array, "token *batch"], total: Float[Array, ""]
) -> Float[Array, "*batch"]:
    """The same from the Gram matrix of the tokens attended to."""
    with precision.in_force():
        return gram_path.read_out(params.value, merged_query_key(params), gram, query, total)
