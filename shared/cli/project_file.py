"""`pyproject.toml` with another set of verticals, edited as text so that its comments stay.

Of a vertical it names: the package, alone or with ``*``, ``.*`` or ``.schema``, in lists; its script; and a contract about its
layers.
The standard library alone.
"""

import re
from collections.abc import Sequence
from typing import Final

_ENDINGS: Final = r"(?:\*|\.\*|\.schema)?"
_CONTRACT: Final = "[[tool.importlinter.contracts]]"
INDEPENDENT: Final = "verticals know nothing of each other"
_LAYERS: Final = (
    "__main__",
    "pipeline",
    "(adapt) | report",
    "(monitor) | (serve) | (score_stream) | score_batch",
    "promote",
    "evaluate",
    "train",
    "features",
    "ingest",
    "(algorithms)",
    "sample",
    "schema",
    "config | (jobs)",
)


def with_vertical(text: str, name: str, known: Sequence[str]) -> str:
    r"""Return the project with the vertical ``name`` wherever a vertical of ``known`` is listed, and its layers.

    >>> print(with_vertical('files = ["shared", "churn"]\n', "fraud", ["churn"]).split("\n", maxsplit=1)[0])
    files = ["shared", "churn", "fraud"]
    """
    names = "|".join(map(re.escape, known))
    # After the last of the verticals in a list, with the same ending.
    listed = re.compile(rf'"(?:{names})({_ENDINGS})"(?!(?:,\s*"(?:{names}){_ENDINGS}"))')
    script = re.compile(rf'^({names}) = "\1\.__main__:command"\n', re.MULTILINE)
    text = script.sub(rf'\g<0>{name} = "{name}.__main__:command"\n', text, count=1)
    blocks = [
        block if re.search(r'name = "\w+ is layered"', block) else listed.sub(rf'\g<0>, "{name}\1"', block)
        for block in _blocks(text)
    ]
    layers = "".join(f'    "{layer}",\n' for layer in _LAYERS)
    own = f'{_CONTRACT}\nname = "{name} is layered"\ntype = "layers"\ncontainers = ["{name}"]\nexhaustive = true\nlayers = [\n{layers}]\n'
    return _independent("\n".join([*blocks, own]), [*known, name])


def without_verticals(text: str, names: Sequence[str]) -> str:
    r"""Return the project without the verticals ``names``: their places in lists, and contracts that are theirs alone.

    >>> print(without_verticals('files = ["shared", "churn", "fraud"]\n', ["churn"]).strip())
    files = ["shared", "fraud"]
    """
    if not names:
        return text
    some = "|".join(map(re.escape, names))
    item = rf'"(?:{some})(?:\*|\.[\w.*]+)?"'
    kept = []
    text = re.sub(rf'^(?:{some}) = "(?:{some})\.__main__:command"\n', "", text, flags=re.MULTILINE)
    for block in _blocks(text):
        if re.search(rf'containers = \["(?:{some})"\]', block):
            continue
        shorter = re.sub(rf"{item},\s*", "", block)
        shorter = re.sub(rf",\s*{item}|{item}", "", shorter)
        if shorter != block and re.search(r"= \[\s*\]", shorter):
            continue  # nothing is left of what it was about
        if INDEPENDENT in shorter and len(re.findall(r'"\w+"', shorter.partition("modules")[2])) < 2:
            continue
        kept.append(shorter)
    return "\n".join(kept)


def _blocks(text: str) -> list[str]:
    """Return the tables of the file, each from its header on.

    >>> _blocks("[a]\\nx = 1\\n\\n[b]\\ny = 2\\n")
    ['[a]\\nx = 1\\n', '[b]\\ny = 2\\n']
    """
    return re.split(r"\n(?=\[)", text)


def _independent(text: str, names: Sequence[str]) -> str:
    """Add the contract that no vertical imports another, when there is none yet: lists were extended otherwise."""
    if INDEPENDENT in text or len(names) < 2:
        return text
    listed = ", ".join(f'"{name}"' for name in names)
    return f'{text}\n{_CONTRACT}\nname = "{INDEPENDENT}"\ntype = "independence"\nmodules = [{listed}]\n'
