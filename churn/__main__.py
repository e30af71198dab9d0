"""`python -m churn <verb>`, and the entry point of spark-submit."""

from churn.pipeline import VERTICAL
from shared.cli.app import main

if __name__ == "__main__":
    main(VERTICAL)
