"""The tests on every Python that is on the machine, each with the newest JAX that it takes: `nox`, or `nox -s tests-3.13 -- -k optima`."""

import nox

nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests"]

PYTHONS = ["3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Install the package and run the default tests, or those that the arguments choose.

    Args:
        session: the session.
    """
    session.install("-e", ".[test]")
    session.run("python", "-c", "import jax; print('jax', jax.__version__)")
    _pytest(session)


@nox.session(python=PYTHONS)
def locked(session: nox.Session) -> None:
    """Run the tests with the locked versions of everything, those of tests/requirements.txt.

    Args:
        session: the session.
    """
    session.install("-r", "tests/requirements.txt")
    session.install("--no-deps", "-e", ".")
    _pytest(session)


@nox.session
def accessibility(session: nox.Session) -> None:
    """Check the built site in a browser that is on the machine.

    Args:
        session: the session.
    """
    session.install("axe-playwright-python")
    session.run("python", "docs/accessibility.py", "build/site")


def _pytest(session: nox.Session) -> None:
    """Run the tests that the arguments choose, by default all but the marked ones on two processes."""
    session.run("pytest", *(session.posargs or ["-n", "2"]))
