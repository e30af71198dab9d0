"""`python -m shared new-vertical NAME`: a whole vertical in its smallest form, written from the one in `shared/cli/template`.

The template is code like any other, linted and tested; writing it elsewhere only changes its name.
"""

import keyword
import re
import sys
from pathlib import Path

from shared.cli.export_vertical import write_frame
from shared.cli.project_file import with_vertical, without_verticals
from shared.cli.repository import check_empty, checkout, copy, files_in, shared_files, verticals
from shared.core.errors import ConfigError

_CODE = "shared/cli/template"
_TESTS = "tests/shared/cli/template"
_TAKEN = {"shared", "tests", "docs", "benchmarks", "jars", "dist", "template", "warehouse"}


def write_vertical(name: str, target: Path | None = None) -> int:
    """Write the vertical ``name`` and return the number of its files.

    Args:
        name: of the package: lower case letters, digits, underscores.
        target: an empty or new folder, which becomes a repository with the core; None adds it to this checkout.

    Raises:
        ConfigError: the name cannot be a package or is taken, or the folder is not empty.
        EnvironmentProblem: this is no checkout.
    """
    source = checkout()
    _check(name, source)
    known = verticals(source)
    project = with_vertical((source / "pyproject.toml").read_text(encoding="utf-8"), name, known)
    if target is not None:
        check_empty(target)
        for path in shared_files(source, known):
            copy(path, target / path.relative_to(source))
        write_frame(source, target, name, without_verticals(project, known))
    else:
        target = source
        (source / "pyproject.toml").write_text(project, encoding="utf-8")
    count = 0
    for folder, place in ((_CODE, name), (_TESTS, f"tests/{name}")):
        for path in files_in(source / folder):
            written = target / place / path.relative_to(source / folder)
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
            count += 1
    return count


def renamed(text: str, name: str) -> str:
    """Return a text of the template with the name of the vertical in place of its own.

    >>> renamed("from shared.cli.template.config import TemplateConfig  # silver_template_rows", "card_fraud")
    'from card_fraud.config import CardFraudConfig  # silver_card_fraud_rows'
    """
    title = "".join(word.capitalize() for word in name.split("_"))
    changes = {
        _TESTS: f"tests/{name}",
        _TESTS.replace("/", "."): f"tests.{name}",
        _CODE: name,
        _CODE.replace("/", "."): name,
        "# Template": f"# {name.replace('_', ' ').capitalize()}",
        "Template": title,
        "template": name,
    }
    pattern = re.compile("|".join(map(re.escape, changes)))
    return _sorted_imports(pattern.sub(lambda found: changes[found[0]], text))


def _sorted_imports(text: str) -> str:
    """Sort each run of from-imports of packages of this repository, whose order the new name has changed."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and re.match(r"from \w[\w.]* import [^(]+$", lines[end]):
            end += 1
        lines[start:end] = sorted(lines[start:end], key=lambda line: line.split()[1])
        start = max(end, start + 1)
    return "\n".join(lines)


def _check(name: str, source: Path) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            "NAME_INVALID", f"{name!r} cannot be a package.", "Lower case letters, digits, _.", "Rename it."
        )
    taken = name in _TAKEN or name in sys.stdlib_module_names or (source / name).exists()
    if taken:
        raise ConfigError("NAME_TAKEN", f"{name!r} is taken.", "A name of its own.", "Choose another.")
