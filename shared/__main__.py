"""`python -m shared`: what concerns the machine and the code, not a vertical.

The standard library alone at import: `doctor` has to start where nothing is installed.
"""

import argparse
import sys
from pathlib import Path

from shared.cli import doctor
from shared.cli.export_vertical import export
from shared.cli.new_vertical import write_vertical
from shared.cli.package import write_package
from shared.core.errors import AcceleratorError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 2 for a wrong command, 5 when the machine lacks something."""
    parser = argparse.ArgumentParser("python -m shared", description="Look at the machine, package the code.")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("doctor", help="check Python, Java, packages, jars, memory, disk and folders")
    look.add_argument("--warehouse", default="warehouse", help="folder or URI of the tables [%(default)s]")
    pack = commands.add_parser("package", help="write the code as one zip for spark-submit --py-files")
    pack.add_argument("target", type=Path)
    manifests = commands.add_parser("manifests", help="write what platforms need to know of a vertical's jobs")
    manifests.add_argument("vertical")
    manifests.add_argument("--check", action="store_true", help="write nothing; fail when a file is not as rendered")
    alone = commands.add_parser("export", help="write one vertical as a repository of its own")
    alone.add_argument("vertical")
    alone.add_argument("--to", type=Path, required=True, help="a new or empty folder")
    new = commands.add_parser("new-vertical", help="write a vertical that runs, to be filled with your business")
    new.add_argument("name")
    new.add_argument("--to", type=Path, help="a new or empty folder; this checkout otherwise")
    given = parser.parse_args(arguments)
    try:
        return _done(given)
    except AcceleratorError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code


def _done(given: argparse.Namespace) -> int:
    match given.command:
        case "package":
            print(f"{given.target}: {write_package(given.target)} files")  # noqa: T201 - its output
            return 0
        case "manifests":
            return _manifests(given.vertical, is_check=given.check)
        case "export":
            print(f"{given.to}: {export(given.vertical, given.to)} files. Next: make demo there.")  # noqa: T201
            return 0
        case "new-vertical":
            count = write_vertical(given.name, given.to)
            print(f"{given.to or given.name}: {count} files. Next: python -m {given.name} run")  # noqa: T201
            return 0
    found = doctor.checks(given.warehouse)
    print(doctor.as_table(found))  # noqa: T201
    return 0 if all(check.is_fine for check in found) else doctor.EXIT_CODE


def _manifests(vertical: str, *, is_check: bool) -> int:
    from shared.core.errors import ConfigError
    from shared.core.jars import root
    from shared.deploy import manifests

    try:
        spec = manifests.load(vertical)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    changed = manifests.differing(spec, root()) if is_check else manifests.write(spec, root())
    for path in changed:
        print(f"{path} {'is not as rendered' if is_check else 'written'}")  # noqa: T201
    return ConfigError.exit_code if is_check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
