"""Which column of an unknown table is the label, and which of its two values stands for the event."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.core.columns import words_of
from shared.core.errors import ConfigError, DataError
from shared.core.kinds import Sampled

if TYPE_CHECKING:
    from shared.features.roles import Told, Vocabulary

_NEAR: Final = 0.1
_LEAST: Final = 0.5
_NAMED: Final = 0.9
_NOT: Final = {"no", "not", "non", "never"}
_BEGINS_NOT: Final = ("non", "not", "no", "un", "in")
_YES: Final = ("yes", "y", "true", "t", "1", "1.0", "ja", "oui", "si")
_NO: Final = ("no", "n", "false", "f", "0", "0.0", "nein", "non", "-1")


@dataclass(frozen=True)
class Label:
    """The label of a table.

    Args:
        column: its name.
        positive, negative: its values, as texts.
        confidence: that it is this column, and that value; the lesser of the two.
        reason: of both.
        share: of the positive value among the rows of the sample.
    """

    column: str
    positive: str
    negative: str
    confidence: float
    reason: str
    share: float

    def of(self, texts: Sequence[str | None]) -> list[bool | None]:
        """Return for each text whether it is the positive value; None for no value."""
        return [None if text is None else text == self.positive for text in texts]


def find_label(columns: Sequence[Sampled], told: "Told", words: "Vocabulary") -> Label:
    """Return the label among the columns of a table without its id.

    Raises:
        ConfigError: LABEL_UNKNOWN, LABEL_UNCLEAR or POSITIVE_UNKNOWN, with the option to give.
        DataError: the label has one value, more than two, or none in some rows.
    """
    if told.label:
        column = next((each for each in columns if each.name == told.label), None)
        if column is None:
            raise ConfigError(
                "LABEL_INVALID", f"{told.label!r} is the id.", "Another column.", "Correct --label or --id."
            )
        score, reason = 1.0, "you said so"
    else:
        score, column, reason = _likeliest(columns, words)
    counts = Counter(text for text in column.texts if text is not None)
    _check_values(column, counts)
    positive, sureness, why = _positive(column.name, counts, told.positive, words)
    negative = next(value for value in counts if value != positive)
    share = counts[positive] / counts.total()
    reason = f"{reason}; {positive!r} is the positive value ({why}), {share:.1%} of the rows"
    return Label(column.name, positive, negative, round(min(score, sureness), 2), reason, share)


def _likeliest(columns: Sequence[Sampled], words: "Vocabulary") -> tuple[float, Sampled, str]:
    alone = sum(_levels(column) == 2 for column in columns) == 1
    scored = sorted(((*_score(column, words, is_alone=alone), column) for column in columns), key=_by_score)
    found = [(score, reason, column) for score, reason, column in scored if score > 0]
    if not found or found[0][0] < _LEAST:
        names = [column.name for _, _, column in found[:10]]
        raise ConfigError(
            "LABEL_UNKNOWN",
            f"No column is surely the label. With two values: {names}."
            if names
            else f"No column has two values; they are {[column.name for column in columns][:10]}.",
            "A column that says for whom it happened.",
            "Say --label COLUMN." if names else "Add one, or for an event log say --id and --time.",
        )
    score, reason, column = found[0]
    near = [other for s, _, other in found[1:] if score - s < _NEAR and not _is_same(column, other)]
    if near:
        names = [column.name, *(other.name for other in near)]
        raise ConfigError("LABEL_UNCLEAR", f"{names} could each be the label.", "One of them.", "Say --label COLUMN.")
    return score, column, reason


def _by_score(item: tuple[float, str, Sampled]) -> float:
    return -item[0]


def _levels(column: Sampled) -> int:
    return len({text for text in column.texts if text is not None})


def _score(column: Sampled, words: "Vocabulary", *, is_alone: bool) -> tuple[float, str]:
    values = {text for text in column.texts if text is not None}
    named = any(
        word in words_of(column.name) or (len(word) > 4 and word in column.name.lower()) for word in words.label
    )
    told = any(_stance(value, words.positive, words.negative) > 0 for value in values)
    if len(values) != 2:
        # Called like a label and not one: named, so that the reason can be told. Scores and reasons of it have many values.
        is_it = named and len(words_of(column.name)) <= 2 and 0 < len(values) <= 10
        return (0.6 if is_it else 0.0), "called like a label"
    if named or told:
        return _NAMED + 0.05 * (len(words_of(column.name)) == 1), (
            "two values, and called like a label" if named else "two values, and they say so"
        )
    return 0.3 + 0.2 * is_alone, "two values" + (", the only such column" if is_alone else "")


def _is_same(left: Sampled, right: Sampled) -> bool:
    """Tell whether two columns part the rows alike: one is then a copy of the other, which is no rival but a leak."""
    pairs = set(zip(left.texts, right.texts, strict=True))
    return len(pairs) == len(set(left.texts)) == len(set(right.texts))


def _check_values(column: Sampled, counts: Counter[str]) -> None:
    missing = len(column.texts) - counts.total()
    if len(counts) == 1:
        found = f"Every label in {column.name!r} is {next(iter(counts))!r}."
        raise DataError("LABEL_ONE_CLASS", found, "Two values.", "Check the export, or say --label COLUMN.")
    if len(counts) != 2:
        values = [value for value, _ in counts.most_common(5)]
        raise DataError(
            "LABEL_NOT_BINARY",
            f"{column.name!r} has {len(counts):,} values, e.g. {values}.",
            "Two values.",
            "Map them to two, or say --label COLUMN.",
        )
    if missing:
        raise DataError(
            "LABEL_NULL", f"{missing:,} of {len(column.texts):,} rows have no {column.name!r}.", "", "Leave them out."
        )


def _positive(name: str, counts: Counter[str], told: str, words: "Vocabulary") -> tuple[str, float, str]:
    """Return the positive value, how sure that is, and why."""
    first, second = counts.most_common()
    if told:
        if told not in counts:
            raise ConfigError(
                "POSITIVE_UNKNOWN", f"{name!r} is never {told!r}.", f"One of {sorted(counts)}.", "Correct --positive."
            )
        return told, 1.0, "you said so"
    is_opposite = _stance(name, (*words.label, *words.positive), words.opposite) < 0
    said = {value: _sense(value, words) for value in counts}
    positives = [value for value in counts if said[value] > 0]
    negatives = [value for value in counts if said[value] < 0]
    if len(positives) <= 1 and len(negatives) <= 1 and positives + negatives:
        yes = positives[0] if positives else next(value for value in counts if value not in negatives)
        if is_opposite:
            return next(value for value in counts if value != yes), 0.85, f"{name} says who stayed"
        return yes, 0.95, "by its meaning"
    if second[1] <= 0.4 * counts.total():
        return second[0], 0.6, "the rarer of the two: check it"
    raise ConfigError(
        "POSITIVE_UNKNOWN",
        f"{name!r} is {first[0]!r} or {second[0]!r}, about as often.",
        "To know which says that it happened.",
        "Say --positive VALUE.",
    )


def _sense(value: str, words: "Vocabulary") -> int:
    """Return 1 for a value that says it happened, -1 for one that says it did not, 0 for neither.

    >>> from shared.features.roles import Vocabulary
    >>> words = Vocabulary((), (), ("churn",), ("stayed",))
    >>> [_sense(value, words) for value in ("Yes", "0", "Churned", "Not churned", "Stayed", "red")]
    [1, -1, 1, -1, -1, 0]
    """
    low = value.lower().strip().rstrip(".")
    if low in _YES or low in _NO:
        return 1 if low in _YES else -1
    return _stance(value, words.positive, words.negative)


def _stance(text: str, positive: Sequence[str], negative: Sequence[str]) -> int:
    """Return 1 when the first word that says something is positive, -1 when it is negative; a *not* turns it around.

    Args:
        text: a value or a name.
        positive, negative: beginnings of words; what is both is negative.

    >>> [_stance(text, ["left"], ["active"]) for text in ("is_active", "inactive", "InActive", "not left", "no", "x_left")]
    [-1, 1, 1, -1, 0, 1]
    """
    own = words_of(text)
    for place, word in enumerate(own):
        turn = -1 if _NOT & set(own[:place]) or own[place - 1 : place] in (["un"], ["in"]) else 1
        for start in ("", *_BEGINS_NOT):
            if word.startswith(start) and (sense := _begins(word[len(start) :], negative, positive)):
                return sense * turn * (-1 if start else 1)
    return 0


def _begins(word: str, negative: Sequence[str], positive: Sequence[str]) -> int:
    for sense, known in ((-1, negative), (1, positive)):
        if any(word == each or (len(each) > 3 and word.startswith(each)) for each in known):
            return sense
    return 0
