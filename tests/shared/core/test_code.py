import sys
import zipfile
from pathlib import Path

import pytest

from shared.core.code import code_digest

digest = code_digest.__wrapped__


def write(folder: Path, name: str, body: str) -> None:
    (folder / name / "inner").mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "inner" / "part.py").write_text(body)
    (folder / name / "settings.yaml").write_text("a: 1\n")


def test_the_digest_follows_every_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "digested", "x = 1\n")
    before = digest("digested")

    assert digest("digested") == before
    (tmp_path / "digested" / "notes.txt").write_text("no source")
    assert digest("digested") == before
    for file, text in (("inner/part.py", "x = 2\n"), ("settings.yaml", "a: 2\n"), ("new.py", "")):
        (tmp_path / "digested" / file).write_text(text)
        assert digest("digested") != before
        before = digest("digested")


def test_code_in_a_zip_has_the_digest_it_has_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "folder", "zipped_or_not", "x = 1\n")
    monkeypatch.syspath_prepend(tmp_path / "folder")
    in_folder = digest("zipped_or_not")
    monkeypatch.undo()
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path in sorted((tmp_path / "folder").rglob("*")):
            made.write(path, path.relative_to(tmp_path / "folder"))
    monkeypatch.delitem(sys.modules, "zipped_or_not")
    monkeypatch.syspath_prepend(archive)

    assert digest("zipped_or_not") == in_folder
