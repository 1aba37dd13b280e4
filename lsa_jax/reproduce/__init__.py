"""The paper's first experiment: train the four regimes, and set theory, exact computation and simulation side by side."""
