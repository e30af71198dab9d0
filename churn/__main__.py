"""`python -m churn <verb>`, the entry point of spark-submit, and with `command` that of the wheel."""

from churn.pipeline import VERTICAL
from shared.cli.app import main


def command() -> None:
    """Run the verb in the arguments of the process."""
    main(VERTICAL)


if __name__ == "__main__":
    command()
