"""The registry of claims behind `lsa-jax verify`: what the paper and docs/theory.md state, checked at finite size along two paths."""
