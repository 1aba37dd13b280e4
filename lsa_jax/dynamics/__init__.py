"""Training as theory, on isotropic data: forgetting in time, exact moments of stochastic descent, and the bias of clipping."""

from lsa_jax.dynamics.clipping import clipped_fixed_point
from lsa_jax.dynamics.forgetting import Errors, errors_along, forgetting_time, full_tuning
from lsa_jax.dynamics.value_descent import largest_rate, stationary_excess

__all__ = ["Errors", "clipped_fixed_point", "errors_along", "forgetting_time", "full_tuning", "largest_rate", "stationary_excess"]
