"""Signs that a column knows the label: by what it ranks, by what it says alone, and by what it is called.

They are signs and no proof: a column so found is named and left out until the user says to keep it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.core.columns import words_of
from shared.core.kinds import Sampled
from shared.features.single_auc import greatest_auc

if TYPE_CHECKING:
    from shared.features.label_role import Label
    from shared.features.roles import Vocabulary

_ENOUGH: Final = 20
_BINS: Final = 200
NOTABLE_AUC: Final = 0.95
"""A column that alone ranks the label better is worth a look."""

_PRESENCE: Final = ("a value", "no value")
_AFTERWARDS: Final = {
    *(
        "reason",
        "category",
        "score",
        "date",
        "cause",
        "probability",
        "prediction",
        "predicted",
        "value",
        "type",
        "comment",
    )
}


@dataclass(frozen=True)
class Sign:
    """A sign that a column knows the label; without ``is_leak`` it is only worth a look.

    Args:
        is_leak, confidence, reason: of the sign.
        auc: how well the column alone ranks the label, where that is remarkable.
    """

    is_leak: bool
    confidence: float
    reason: str
    auc: float | None = None


def giveaway(
    column: Sampled, label: "Label", is_positive: Sequence[bool | None], words: "Vocabulary", *, max_auc: float
) -> Sign | None:
    """Return the strongest sign that ``column`` knows the label, None without any.

    A name says so when it holds a word of the label or of what comes after it, together with *reason*, *date*, *score*
    and the like. Values say so when the column alone ranks the label better than ``max_auc``, or when one of its two
    values, its being there or its absence comes with the positive label only, in at least 20 rows.

    Args:
        column: the column.
        label: the label.
        is_positive: the label of each row.
        words: of the field of business.
        max_auc: as in `leakage.check_single_features`.
    """
    if named := _by_name(column.name, label, words):
        return Sign(True, 0.9, named)
    auc = alone(column, is_positive)
    if auc > max_auc:
        return Sign(True, 0.95, f"alone it ranks the label with an AUC of {auc:.3f}", auc)
    if pure := _pure(column, is_positive):
        return Sign(True, 0.75, pure)
    if auc > NOTABLE_AUC:
        return Sign(False, 0.6, f"alone it ranks the label with an AUC of {auc:.3f}: is it known beforehand?", auc)
    return None


def alone(column: Sampled, is_positive: Sequence[bool | None]) -> float:
    """Return the AUC of the column as the only input, 0.5 with fewer than 20 rows of a label: there chance ranks well."""
    counts = Counter(is_positive)
    return 0.5 if min(counts[True], counts[False]) < _ENOUGH else _auc(column, is_positive)


def _by_name(name: str, label: "Label", words: "Vocabulary") -> str:
    own, low = set(words_of(name)), " ".join(words_of(name))
    about = next((word for word in (*words.label, *words.after) if word in own or (len(word) > 4 and word in low)), "")
    if about and own & _AFTERWARDS:
        return f"called {name}: known only once the outcome is"
    full = " ".join(words_of(label.column))
    return f"its name holds that of the label, {label.column}" if len(full) > 4 and full in low else ""


def _auc(column: Sampled, is_positive: Sequence[bool | None]) -> float:
    is_ordered = column.kind.is_number or column.kind.is_time or column.kind.type == "boolean"
    bins: dict[float | None, tuple[int, int]] = {}
    for key, flag in zip(_keys(column, is_ordered), is_positive, strict=True):
        ups, downs = bins.get(key, (0, 0))
        bins[key] = (ups + (flag is True), downs + (flag is False))
    return greatest_auc(bins, is_ordered=is_ordered)


def _keys(column: Sampled, is_ordered: bool) -> list[float | None]:
    """Return the bin of each row: the value of a number with few of them, else its quantile; a place for each level."""
    if not is_ordered:
        places = {text: float(place) for place, text in enumerate(dict.fromkeys(column.texts))}
        return [None if text is None else places[text] for text in column.texts]
    known = sorted(number for number in column.numbers if number is not None)
    if len(set(known)) <= _BINS:
        return list(column.numbers)
    edges = sorted({known[len(known) * step // _BINS] for step in range(_BINS)})
    return [None if number is None else float(bisect_right(edges, number)) for number in column.numbers]


def _pure(column: Sampled, is_positive: Sequence[bool | None]) -> str:
    """Say whether one of the two values of a column, any value or none comes with the positive label only."""
    if len({text for text in column.texts if text is not None}) == 2 and (found := _only(column.texts, is_positive)):
        return f"all {found[1]:,} rows with {found[0]!r} have the positive label"
    presence = [_PRESENCE[text is None] for text in column.texts]
    if found := _only(presence, is_positive):
        return f"all {found[1]:,} rows with {found[0]} have the positive label"
    return ""


def _only(texts: Sequence[str | None], is_positive: Sequence[bool | None]) -> tuple[str, int] | None:
    """Return a value, and its rows, that less than half of the rows have, nearly all of them positive."""
    rows = Counter(text for text in texts if text is not None)
    hits = Counter(text for text, flag in zip(texts, is_positive, strict=True) if flag)
    for value, count in rows.items():
        if count >= _ENOUGH and hits[value] >= 0.99 * count and count < len(texts) / 2:
            return value, count
    return None
