"""The tests on every Python that is on the machine, each with the newest JAX that it takes: `nox`, or `nox -s tests-3.13 -- -k optima`."""

import nox

nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install the package and run the default tests, or those that the arguments choose.

    Args:
        session: the session.
    """
    session.install("-e", ".[test]")
    session.run("python", "-c", "import jax; print('jax', jax.__version__)")
    session.run("pytest", *(session.posargs or ["-n", "2"]))
