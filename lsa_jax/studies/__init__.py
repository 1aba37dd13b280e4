"""The studies behind the gallery: exact curves with simulated points, one figure each; `lsa-jax gallery` runs them."""
