"""What each column of an unknown table or event log is for, proposed from names and a sample, with reason and confidence.

Nothing is guessed in silence: where two columns could be the label, or either value the positive one, none is chosen and
the error says what to set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from shared.core.columns import words_of
from shared.core.errors import ConfigError, DataError, did_you_mean
from shared.core.kinds import Sampled
from shared.features.giveaways import NOTABLE_AUC, alone, giveaway
from shared.features.label_role import Label, find_label

RoleName = Literal[
    "id",
    "label",
    "time",
    "numeric",
    "categorical",
    "text",
    "leak",
    "constant",
    "ignored",
    "quantity",
    "amount",
    "price",
]
SURE: Final = 0.7
"""A proposal below it is marked, so that the reader looks at it."""

_ALMOST_ALL: Final = 0.99
_FEW: Final = 20
_WRITTEN: Final = ("a text", "no text")
_ID_WORDS: Final = {"id", "ids", "key", "nr", "no", "number", "num", "uuid", "guid", "code"}
_ROW_WORDS: Final = {"row", "index", "unnamed", "rownum", "line", "udi", "seq"}
_CODE_WORDS: Final = {"code", "type", "class", "category", "group", "region", "zip", "plz", "postcode"}
_TIME_WORDS: Final = {
    "event",
    "order",
    "invoice",
    "purchase",
    "transaction",
    "tx",
    "created",
    "timestamp",
    "ts",
    "bought",
}
_VALUE_WORDS: Final[Mapping[RoleName, frozenset[str]]] = {
    "quantity": frozenset({"quantity", "qty", "units", "pieces", "items", "menge"}),
    "price": frozenset({"price", "unitprice", "preis"}),
    "amount": frozenset(
        {"amount", "total", "revenue", "value", "spend", "sales", "dollar", "dollars", "betrag", "umsatz"}
    ),
}


@dataclass(frozen=True)
class Told:
    """What the user says of the columns, which needs no guess: names in the source, empty where nothing is said.

    Args:
        label, id, time, quantity, amount: columns; the last two of an event log.
        positive: the value of the label that stands for the event.
        keep: columns to use though they look like a leak, an id or a constant.
    """

    label: str = ""
    id: str = ""
    time: str = ""
    quantity: str = ""
    amount: str = ""
    positive: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Words by which a field of business names its columns, as parts of names in lower case.

    Args:
        entity: who a row or an event belongs to, e.g. ``customer``.
        label: the outcome, e.g. ``churn``.
        positive, negative: values of the outcome.
        opposite: names of a label whose yes means that nothing happened, e.g. ``retained``.
        after: what is known only once the outcome is, e.g. ``cancellation``.
    """

    entity: tuple[str, ...]
    label: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    opposite: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Role:
    """What one column is proposed for.

    Args:
        column: its name.
        role: what it is proposed for.
        confidence: 0 to 1, 1 where the user said so.
        reason: in a few words.
        auc: how well it alone ranks the label, where that is remarkable.
    """

    column: str
    role: RoleName
    confidence: float
    reason: str
    auc: float | None = None


@dataclass(frozen=True)
class Proposal:
    """The roles of all columns, in their order; ``label`` is None for an event log."""

    roles: tuple[Role, ...]
    label: Label | None = None

    @property
    def is_log(self) -> bool:
        """Rows are events, not customers."""
        return self.label is None

    def of(self, role: RoleName) -> list[str]:
        """Return the columns of a role."""
        return [each.column for each in self.roles if each.role == role]


def propose(
    columns: Sequence[Sampled],
    told: Told,
    words: Vocabulary,
    *,
    max_levels: int,
    max_auc: float,
    repeated: Sequence[str],
) -> Proposal:
    """Propose what the columns of a sample are for.

    Args:
        columns: the sample.
        told: what the user says.
        words: of the field of business.
        max_levels: a text with more levels is left out.
        max_auc: a column that alone ranks the label better is taken for a leak.
        repeated: columns that look unique in the sample and are not in the whole source.

    Raises:
        ConfigError: no label, id or time can be told; the message says which option to give.
        DataError: the label has one value or more than two, or an id is there twice.
    """
    by_name = {column.name: column for column in columns}
    said = {option: [getattr(told, option)] for option in ("label", "id", "time", "quantity", "amount")}
    for option, names in {**said, "keep": told.keep}.items():
        for name in names:
            if name and name not in by_name:
                known = f"Its columns are {list(by_name)}."
                raise ConfigError(
                    "COLUMN_UNKNOWN", f"--{option}: no column {name!r}.", known, did_you_mean(name, by_name)
                )
    entity = _repeated_entity(columns, told, words, repeated)
    times = _times(columns, told)
    if told.time or (not told.label and entity and times):
        return Proposal(tuple(_log(columns, told, entity, times)))
    identity = _identity(columns, told, words, repeated)
    label = find_label([c for c in columns if identity is None or c.name != identity.column], told, words)
    if identity is None:
        raise ConfigError(
            "ID_UNKNOWN",
            "No column has a value of its own in every row.",
            "One that names the customer.",
            "Say --id COLUMN, or for an event log --id and --time.",
        )
    _check_ids(by_name[identity.column], identity.column in repeated)
    own = {identity.column: identity, label.column: Role(label.column, "label", label.confidence, label.reason)}
    is_positive = label.of(by_name[label.column].texts)
    roles = [
        own.get(column.name) or _feature(column, told, words, label, is_positive, max_levels, max_auc)
        for column in columns
    ]
    return Proposal(tuple(roles), label)


def distinct(column: Sampled) -> int:
    """Return the number of different values, missing not counted."""
    return len({text for text in column.texts if text is not None})


def _filled(column: Sampled) -> int:
    return sum(text is not None for text in column.texts)


def _is_unique(column: Sampled, repeated: Sequence[str]) -> bool:
    return column.name not in repeated and distinct(column) == len(column.texts)


def _has(name: str, words: Sequence[str]) -> str:
    """Return the first of ``words`` that is in a name, empty when none is."""
    joined = " ".join(words_of(name))
    return next((word for word in words if word in joined), "")


def _identity(columns: Sequence[Sampled], told: Told, words: Vocabulary, repeated: Sequence[str]) -> Role | None:
    """Return the column that names the rows: unique, or so called and nearly so, whose few repetitions are refused."""
    if told.id:
        return Role(told.id, "id", 1.0, "you said so")
    scored: list[tuple[float, Sampled]] = []
    for column in columns:
        named = bool(_ID_WORDS & set(words_of(column.name)))
        about = bool(_has(column.name, words.entity))
        is_unique = _is_unique(column, repeated)
        is_nearly = named and about and distinct(column) > len(column.texts) / 2
        if column.name == told.label or column.kind.type not in ("text", "whole") or not (is_unique or is_nearly):
            continue
        is_row = bool(_ROW_WORDS & set(words_of(column.name))) or not column.name
        scored.append((0.55 + 0.25 * named + 0.15 * about - 0.3 * is_row - 0.01 * (not is_unique), column))
    if not scored:
        return None
    score, column = max(scored, key=lambda pair: pair[0])
    others = [other.name for _, other in scored if other.name != column.name]
    reason = "a value of its own in every row" + (f"; so have {', '.join(others)}" if others else "")
    return Role(column.name, "id", round(score, 2), reason)


def _check_ids(column: Sampled, is_repeated: bool) -> None:
    more = len(column.texts) - distinct(column)
    if more or is_repeated:
        found = f"{more:,} of {len(column.texts):,} rows have no {column.name} of their own." if more else ""
        raise DataError(
            "ID_NOT_UNIQUE",
            found or f"{column.name} has values that are there more than once.",
            "One row a customer.",
            "Keep the newest row of each, or for an event log say --time COLUMN.",
        )


def _repeated_entity(columns: Sequence[Sampled], told: Told, words: Vocabulary, repeated: Sequence[str]) -> Role | None:
    """Return the column that names who the events of a log belong to."""
    if told.id:
        column = next(each for each in columns if each.name == told.id)
        is_repeated = told.id in repeated or distinct(column) < 0.9 * _filled(column)
        return Role(told.id, "id", 1.0, "you said so") if told.time or is_repeated else None
    found = []
    for column in columns:
        about = _has(column.name, words.entity)
        # An account length is no account.
        about = about if len(words_of(column.name)) == 1 or _ID_WORDS & set(words_of(column.name)) else ""
        if about and _is_unique(column, repeated):
            return None  # one row a customer
        often = column.name in repeated or 10 < distinct(column) < 0.8 * _filled(column)
        if about and often and column.kind.type in ("text", "whole", "number"):
            named = bool(_ID_WORDS & set(words_of(column.name)))
            found.append(Role(column.name, "id", 0.75 + 0.2 * named, f"names a {about}, in several rows each"))
    return max(found, key=lambda role: role.confidence, default=None)


def _times(columns: Sequence[Sampled], told: Told) -> list[Role]:
    """Return the columns that can be the time of an event, the likeliest first."""
    if told.time:
        return [Role(told.time, "time", 1.0, "you said so")]
    found = []
    for column in columns:
        if column.kind.is_time and _filled(column) >= 0.95 * len(column.texts):
            score = 0.7 + 0.1 * (column.kind.type == "timestamp") + 0.1 * bool(_TIME_WORDS & set(words_of(column.name)))
            found.append(Role(column.name, "time", score if not column.kind.doubt else 0.5, _dated(column)))
    return sorted(found, key=lambda role: -role.confidence)


def _dated(column: Sampled) -> str:
    pattern = column.kind.pattern or "ISO 8601"
    return f"{column.kind.type}s as {pattern}" + (f"; {column.kind.doubt}" if column.kind.doubt else "")


def _log(columns: Sequence[Sampled], told: Told, entity: Role | None, times: Sequence[Role]) -> list[Role]:
    if entity is None:
        raise ConfigError(
            "ID_UNKNOWN",
            "No column names who the events belong to.",
            "A column with ids that repeat.",
            "Say --id COLUMN.",
        )
    if len(times) > 1 and times[0].confidence - times[1].confidence < 0.05:
        names = [role.column for role in times if times[0].confidence - role.confidence < 0.05]
        raise ConfigError("TIME_UNCLEAR", f"{names} could each be the time of the event.", "One.", "Say --time COLUMN.")
    own = {entity.column: entity, times[0].column: times[0]}
    own |= {name: Role(name, role, 1.0, "you said so") for role, name in _values_told(told).items()}
    for role, words in _VALUE_WORDS.items():
        if role in _values_told(told):
            continue
        named = [c.name for c in columns if c.kind.is_number and c.name not in own and _is_called(c.name, role, words)]
        if named:
            exact = [name for name in named if name.lower() == role]
            best = (exact or named)[0]
            own[best] = Role(best, role, 0.85 if exact or len(named) == 1 else 0.6, f"numbers, called {best}")
    rest = "not used: an event log gives times, numbers of events and amounts"
    return [own.get(column.name) or Role(column.name, "ignored", 0.9, rest) for column in columns]


def _values_told(told: Told) -> dict[RoleName, str]:
    said: dict[RoleName, str] = {"quantity": told.quantity, "amount": told.amount}
    return {role: name for role, name in said.items() if name}


def _is_called(name: str, role: RoleName, words: frozenset[str]) -> bool:
    return bool(words & set(words_of(name))) or (role == "quantity" and "number of" in " ".join(words_of(name)))


def _feature(
    column: Sampled,
    told: Told,
    words: Vocabulary,
    label: Label,
    is_positive: Sequence[bool | None],
    max_levels: int,
    max_auc: float,
) -> Role:
    """Return what a column of a table is that is neither its id nor its label."""
    kept = column.name in told.keep
    is_text = _is_text(column, max_levels)
    if not kept and not is_text and (useless := _useless(column)):
        return useless
    # Of a text only whether one was written can rank the label before its words are known.
    looked_at = replace(column, texts=[_WRITTEN[text is None] for text in column.texts]) if is_text else column
    role = _usable(column, max_levels)
    if kept:
        auc = alone(looked_at, is_positive)
        is_notable = auc > NOTABLE_AUC
        return Role(column.name, role.role, 1.0, f"{role.reason}; you said to keep it", auc if is_notable else None)
    sign = giveaway(looked_at, label, is_positive, words, max_auc=max_auc)
    if sign and sign.is_leak:
        return Role(column.name, "leak", sign.confidence, sign.reason, sign.auc)
    if sign and role.role in ("numeric", "categorical", "time", "text"):
        return Role(column.name, role.role, min(role.confidence, 0.6), f"{role.reason}; {sign.reason}", sign.auc)
    return role


def _useless(column: Sampled) -> Role | None:
    rows, filled, levels = len(column.texts), _filled(column), distinct(column)
    if column.kind.type == "nested":
        return Role(column.name, "ignored", 1.0, "nested values, not one value a row")
    if not filled:
        return Role(column.name, "ignored", 1.0, "no value in any row")
    if levels == 1 and filled == rows:
        return Role(column.name, "constant", 1.0, f"always {next(iter(column.texts))!r}")
    if rows - filled >= _ALMOST_ALL * rows and rows > 100:
        return Role(column.name, "ignored", 0.9, f"no value in {1 - filled / rows:.1%} of the rows")
    is_name = bool((_ID_WORDS | _ROW_WORDS) & set(words_of(column.name))) or not column.name
    if _has_own_values(column) and (column.kind.type == "text" or (column.kind.type == "whole" and is_name)):
        return Role(column.name, "ignored", 0.9, "a value of its own in nearly every row")
    return None


def _usable(column: Sampled, max_levels: int) -> Role:
    levels, kind = distinct(column), column.kind
    if kind.is_time:
        return Role(
            column.name, "time", 0.5 if kind.doubt else 0.9, f"{_dated(column)}; used as days before the newest"
        )
    if kind.type == "boolean":
        return Role(column.name, "numeric", 0.95, "true or false")
    if kind.is_number:
        if kind.type == "whole" and 2 < levels <= 30 and _CODE_WORDS & set(words_of(column.name)):
            return Role(column.name, "categorical", 0.65, f"{levels} whole numbers that seem to be codes")
        return Role(column.name, "numeric", 0.95 if levels > 2 else 0.85, f"{levels:,} different numbers")
    if _is_text(column, max_levels):
        return Role(column.name, "text", 0.8, f"{levels:,} different texts of several words")
    if levels > max_levels:
        return Role(column.name, "ignored", 0.8, f"{levels:,} levels, more than model.max_levels {max_levels}")
    return Role(column.name, "categorical", 0.95, f"{levels} levels")


def _is_text(column: Sampled, max_levels: int) -> bool:
    """Return whether people wrote it: texts of several words, too many to be levels."""
    texts = [text for text in column.texts if text is not None][:500]
    is_prose = column.kind.type == "text" and sum(len(text.split()) for text in texts) > 3 * len(texts)
    return is_prose and (_has_own_values(column) or distinct(column) > max_levels)


def _has_own_values(column: Sampled) -> bool:
    filled = _filled(column)
    return filled > _FEW and distinct(column) > 0.95 * filled
