"""`python -m shared export NAME --to DIR`: one vertical as a repository of its own, with the core and the tests of both."""

import re
from pathlib import Path

from shared.cli.project_file import without_verticals
from shared.cli.repository import check_empty, checkout, copy, files_in, shared_files, verticals
from shared.core.errors import ConfigError, did_you_mean


def export(name: str, target: Path) -> int:
    """Write the vertical ``name`` and all it needs to ``target`` and return the number of files.

    Raises:
        ConfigError: there is no such vertical, or the folder is not empty.
        EnvironmentProblem: this is no checkout.
    """
    source = checkout()
    known = verticals(source)
    if name not in known:
        raise ConfigError("VERTICAL_UNKNOWN", f"No vertical '{name}'.", f"One of {known}.", did_you_mean(name, known))
    check_empty(target)
    others = [other for other in known if other != name]
    paths = [*shared_files(source, others), *files_in(source / name)]
    for path in paths:
        copy(path, target / path.relative_to(source))
    write_frame(
        source, target, name, without_verticals((source / "pyproject.toml").read_text(encoding="utf-8"), others)
    )
    return len(paths) + 3


def write_frame(source: Path, target: Path, name: str, project: str) -> None:
    """Write what differs from the checkout: the project file, the default vertical of the Makefile, the README."""
    (target / "pyproject.toml").write_text(project, encoding="utf-8")
    made = (source / "Makefile").read_text(encoding="utf-8")
    (target / "Makefile").write_text(
        re.sub(r"^VERTICAL \?= \w+", f"VERTICAL ?= {name}", made, flags=re.M), encoding="utf-8"
    )
    (target / "README.md").write_text(
        _readme(name, (source / "README.md").read_text(encoding="utf-8")), encoding="utf-8"
    )


def _readme(name: str, whole: str) -> str:
    """Return a README for one vertical: how to start, where to read on, and what the core's says of running anywhere."""
    kept = [
        section for section in re.split(r"\n(?=## )", whole) if section.startswith(("## Reading and", "## What a run"))
    ]
    return "\n".join(
        [
            f"# {name.replace('_', ' ').capitalize()} on Apache Spark",
            "",
            f"The vertical [{name}]({name}/README.md) and the core it stands on, as a repository of its own.",
            "",
            "```",
            "make demo     # sets everything up, then runs the vertical on its embedded data",
            "make test     # runs the quick tests; .ci/run runs all",
            "```",
            "",
            f"Neither needs an activated environment. What the vertical does, reads and reaches: [{name}/README.md]({name}/README.md).",
            "How it is built: [architecture](docs/architecture.md). How to make it yours: [adapting](docs/adapting.md).",
            "",
            *kept,
        ]
    )
