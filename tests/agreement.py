"""What it takes for a simulation to count as agreement, with its power stated."""

STANDARD_ERRORS = 5.0
LARGEST_RELATIVE_ERROR = 0.005
CONTROL = 1.05


def agrees(mean: float, standard_error: float, exact: float) -> bool:
    """Whether a simulated mean is within 5 standard errors of the exact value."""
    return bool(abs(mean - exact) < STANDARD_ERRORS * standard_error)


def assert_agrees(mean: float, standard_error: float, exact: float) -> None:
    """Assert agreement, a standard error under 0.5 % of the value, and that a value off by 5 % would have been rejected."""
    relative = standard_error / exact
    assert relative < LARGEST_RELATIVE_ERROR, f"standard error is {relative:.2%} of the value: too little power"
    deviation = (mean - exact) / standard_error
    assert agrees(mean, standard_error, exact), f"{mean} against {exact}: {deviation:.1f} standard errors"
    assert not agrees(mean, standard_error, CONTROL * exact), "a value off by 5 % would have passed"
