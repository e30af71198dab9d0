"""`python -m shared`: what concerns the machine and the code, not a vertical."""

import sys
from pathlib import Path

import click

from shared.cli import doctor as doctor_checks
from shared.cli.package import write_package
from shared.core.errors import EnvironmentProblem


@click.group(help="Look at the machine, package the code.")
def shared() -> None:
    """Hold the commands together."""


@shared.command()
@click.option("--warehouse", default="warehouse", show_default=True)
def doctor(warehouse: str) -> None:
    """Check Python, Java, packages, jars, memory, disk and folders; exit 5 on a problem."""
    found = doctor_checks.checks(warehouse)
    click.echo(doctor_checks.as_table(found))
    if not all(check.is_fine for check in found):
        sys.exit(EnvironmentProblem.exit_code)


@shared.command()
@click.argument("target", type=click.Path(path_type=Path))
def package(target: Path) -> None:
    """Write the code as one zip for spark-submit --py-files."""
    click.echo(f"{target}: {write_package(target)} files")


if __name__ == "__main__":
    shared(prog_name="python -m shared")
