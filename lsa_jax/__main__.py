"""Where the command line begins: an interruption ends it without a word while it is still being imported."""

from typing import NoReturn

from lsa_jax import interruptions


def main() -> NoReturn:
    """Import the command line and run it."""
    interruptions.leave_at_once()
    from lsa_jax import cli

    cli.main()


if __name__ == "__main__":
    main()
