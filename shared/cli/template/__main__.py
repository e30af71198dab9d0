"""`python -m shared.cli.template <verb>`, the entry point of spark-submit, and with `command` that of the wheel."""

from shared.cli.app import main
from shared.cli.template.pipeline import VERTICAL


def command() -> None:
    """Run the verb in the arguments of the process."""
    main(VERTICAL)


if __name__ == "__main__":
    command()
