"""`python -m shared.cli.template <verb>`, and the entry point of spark-submit."""

from shared.cli.app import main
from shared.cli.template.pipeline import VERTICAL

if __name__ == "__main__":
    main(VERTICAL)
