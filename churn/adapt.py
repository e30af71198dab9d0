"""`python -m churn adapt FILE`: look at a user's own table or event log and write the settings that run on it.

It proposes and says why; what it is not sure of is marked in the file it writes, and what it cannot tell it asks for.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import click
import yaml
from pyspark.sql import SparkSession

from churn.algorithms.silence import Histories, churn_share, histories, proposed_windows
from churn.config import ChurnConfig, LabelConfig
from churn.features import BOOKKEEPING, snapshot_days, split_starts
from churn.schema import CUSTOMER_ID, EVENT_TS
from shared.cli.command import guarded
from shared.core.columns import plain_names
from shared.core.errors import ConfigError, DataError
from shared.core.kinds import Sampled, as_time
from shared.core.session import SessionConfig, get_session
from shared.features.roles import SURE, Proposal, Role, Told, Vocabulary, distinct, propose
from shared.ingest.peek import Peeked, peek
from shared.ingest.source import Source

WORDS = Vocabulary(
    entity=("customer", "client", "user", "account", "member", "subscriber", "employee", "msisdn", "kunde", "card"),
    label=(
        *("churn", "churned", "exited", "attrition", "attrited", "left", "leaver", "cancelled", "canceled"),
        *("unsubscribed", "label", "target", "outcome", "default", "failure", "fraud", "class", "y", "retained"),
        *("response", "kündigung"),
    ),
    positive=("churn", "exited", "left", "attrited", "cancel", "inactive", "closed", "lost", "terminated", "gekündigt"),
    negative=("stay", "existing", "retain", "renew", "current", "active", "aktiv"),
    opposite=("retain", "active", "aktiv", "stay", "renew", "surviv"),
    after=("cancellation", "cancel", "termination", "closure", "exit", "leaving", "kündigung"),
)
_FEWEST_ROWS = 50
_SCORED = ["probability", "decile", "decision", "reasons", "model_name", "model_version", "model_run_id"]
_RESERVED = (*BOOKKEEPING, EVENT_TS, *_SCORED)
_FEATURES = ("numeric", "categorical", "time", "text")
_ROLE_OF_LOG = {"quantity": "quantity", "amount": "amount", "price": "unit_price"}
_SLICES, _SLICE_LEVELS = 3, 10
_AUC_ROOM = 0.005


@dataclass(frozen=True)
class Adapted:
    """A proposal with what the settings need beside the roles.

    Args:
        path: the source as the user named it.
        peeked: the look at it.
        proposal: roles of its columns.
        names: source name → name in the tables, of the columns that are kept.
        failing: share of rows that go to quarantine: with a value that cannot be read, of a log without an id or a time.
        log: of an event log: histories of customers.
    """

    path: str
    peeked: Peeked
    proposal: Proposal
    names: dict[str, str]
    failing: float = 0.0
    log: Histories | None = None


def look(path: str, told: Told) -> Adapted:
    """Look at the source at ``path`` and propose what its columns are for.

    Raises:
        ConfigError: it cannot be told, and the message says which option to give.
        DataError: the source is broken, too small, or has no usable label.
    """
    peeked = _with_time(peek(path, _spark), told.time)
    if peeked.rows < _FEWEST_ROWS:
        raise DataError(
            "TOO_FEW_ROWS", f"{path} has {peeked.rows} rows.", f"At least {_FEWEST_ROWS}.", "Export more customers."
        )
    defaults = ChurnConfig()
    repeated = _repeated(path, peeked)
    limits = {"max_levels": defaults.model.max_levels, "max_auc": defaults.max_single_auc}
    proposal = propose(peeked.columns, told, WORDS, repeated=repeated, **limits)  # type: ignore[arg-type]
    names = _names(proposal)
    if not proposal.is_log:
        if not any(role.role in _FEATURES for role in proposal.roles):
            raise DataError(
                "FEATURES_EMPTY", f"{path} has no column to learn from.", "At least one.", "Say --keep COLUMN."
            )
        return Adapted(path, peeked, proposal, names, _failing(peeked, names))
    (identity,), (time,) = proposal.of("id"), proposal.of("time")
    found = _with_time(peek(path, _spark, entity=identity, columns=[identity, time]), told.time)
    moments = next(column for column in peeked.columns if column.name == time)
    if not moments.kind.is_time:
        raise DataError(
            "TIME_INVALID",
            f"{time!r} holds no times, e.g. {moments.texts[0]!r}.",
            "Dates or times.",
            "Say --time COLUMN.",
        )
    customers, seconds = found.columns
    log = histories(customers.texts, seconds.numbers)
    return Adapted(path, peeked, proposal, names, _failing(peeked, names, needed=(identity, time)), log)


def _failing(peeked: Peeked, names: Mapping[str, str], needed: Sequence[str] = ()) -> float:
    """Return the share of rows in which a kept value cannot be read, or one that is needed is missing."""
    is_text = peeked.source.format in ("csv", "words")  # in other formats numbers are numbers
    failing: set[int] = set()
    for column in peeked.columns:
        kind = column.kind
        is_read = kind.is_time or ((kind.is_number or kind.type == "boolean") and is_text)
        for row, (text, number) in enumerate(zip(column.texts, column.numbers, strict=True)):
            is_broken = text is not None and number is None and is_read and column.name in names
            if is_broken or (text is None and column.name in needed):
                failing.add(row)
    return len(failing) / peeked.rows


def _with_time(peeked: Peeked, name: str) -> Peeked:
    columns = [as_time(column) if column.name == name else column for column in peeked.columns]
    return replace(peeked, columns=columns)


def _spark() -> SparkSession:
    return get_session(SessionConfig(fast_start=True), "churn-adapt")


def _repeated(path: str, peeked: Peeked) -> list[str]:
    """Return the columns that are unique in a sample of the rows and not among all of them."""
    if peeked.rows_read == peeked.rows:
        return []
    unique = [c for c in peeked.columns if c.kind.type in ("text", "whole") and distinct(c) > 0.95 * peeked.rows]
    looks = {column.name: peek(path, _spark, entity=column.name, columns=[column.name]) for column in unique[:4]}
    return [name for name, found in looks.items() if distinct(found.columns[0]) < found.rows]


def _names(proposal: Proposal) -> dict[str, str]:
    if proposal.is_log:
        fixed = {"id": CUSTOMER_ID, "time": EVENT_TS, **_ROLE_OF_LOG}
        return {role.column: fixed[role.role] for role in proposal.roles if role.role in fixed}
    kept = [role.column for role in proposal.roles if role.role in ("label", *_FEATURES)]
    return {proposal.of("id")[0]: CUSTOMER_ID, **plain_names(kept, taken=_RESERVED)}


def as_yaml(adapted: Adapted) -> str:
    """Return the settings as yaml, each line with the reason behind it."""
    proposal, source = adapted.proposal, adapted.peeked.source
    shape = "purchases" if proposal.is_log else "customers"
    lines = [
        f"# Proposed by python -m churn adapt {quote(adapted.path)}. What is marked CHECK is less sure: look at it.",
        f"shape: {shape}",
        f"warehouse: warehouse/{plain_names([Path(adapted.path).name.split('.')[0]]).popitem()[1]}",
        *(_windows(adapted.log) if adapted.log else ["split: {by: customer, validation: 0.2, test: 0.2}"]),
    ]
    if adapted.failing > 0.03:
        why = (
            "as they have no id or time, or values that cannot be read"
            if proposal.is_log
            else "as values cannot be read"
        )
        lines.append(
            f"max_failed_share: {min(round(adapted.failing + 0.03, 2), 0.99)}  "
            f"# CHECK: {adapted.failing:.1%} of the rows go to quarantine, {why}"
        )
    guard = ChurnConfig().max_single_auc
    kept = [role for role in proposal.roles if role.role in _FEATURES and role.confidence == 1.0]
    # A sample: of all rows the figure may be a little higher.
    if told := [role.column for role in kept if (role.auc or 0.0) > guard - _AUC_ROOM]:
        lines.append(
            f"max_single_auc: 1.0  # you kept {_on_a_line(', '.join(told))}, which nearly ranks the label alone"
        )
    return "\n".join([*lines, "sources:", f"  {shape}:", *_source(adapted, source), *_data(adapted)]) + "\n"


def _source(adapted: Adapted, source: Source) -> list[str]:
    left_out = [role for role in adapted.proposal.roles if role.column not in adapted.names]
    columns = dict(adapted.names)
    if not source.has_header:  # every field has to have a name then, in order
        columns = {role.column: adapted.names.get(role.column, role.column) for role in adapted.proposal.roles}
    defaults = Source()
    settings = {
        name: value
        for name, value in dict(source).items()
        if value != getattr(defaults, name)
        and name not in ("format", "path", "columns", "ignore", "formats", "database")
    }
    patterns = {c.name: c.kind.pattern for c in adapted.peeked.columns if c.kind.pattern and c.name in adapted.names}
    lines = [f"    format: {source.format}", *(f"    {name}: {_plain(value)}" for name, value in settings.items())]
    if patterns:
        formats = ", ".join(f"{_name(adapted.names[name])}: {_plain(pattern)}" for name, pattern in patterns.items())
        lines.append(f"    formats: {{{formats}}}")
    by_column = {role.column: role for role in adapted.proposal.roles}
    lines.append("    columns:  # your name: the name in the tables")
    lines += [f"      {_plain(name)}: {_name(own)}{_why(by_column[name])}" for name, own in columns.items()]
    if left_out:
        how = "name others with --quantity, --amount" if adapted.proposal.is_log else "use one with --keep COLUMN"
        lines.append(f"    ignore:  # {how}")
        lines += [f"      - {_plain(role.column)}{_why(role)}" for role in left_out]
    return lines


def _data(adapted: Adapted) -> list[str]:
    proposal, names = adapted.proposal, adapted.names
    typed = {role.column: _type(role, adapted) for role in proposal.roles if role.column in names}
    kept = {names[name]: kind for name, kind in typed.items() if kind and names[name] not in (CUSTOMER_ID, EVENT_TS)}
    lines = ["data:"]
    if label := proposal.label:
        why = _why(Role(label.column, "label", label.confidence, label.reason))
        lines += [
            f"  label: {_name(names[label.column])}{why}",
            f"  positive: [{_plain(label.positive)}]",
            f"  negative: [{_plain(label.negative)}]",
        ]
    times = [c for c in adapted.peeked.columns if c.kind.is_time and typed.get(c.name)]
    if times and not proposal.is_log:
        lines.append(f"  as_of: {_newest(times)}  # dates count as days before it")
    if slices := _slices(adapted):
        lines.append(f"  slices: [{', '.join(map(_name, slices))}]")
    if texts := [names[name] for name in proposal.of("text") if name in names]:
        lines.append(
            f"  texts: [{', '.join(map(_name, texts))}]  # their words count, read as English; else set words.language"
        )
    return [
        *lines,
        "  columns:" if kept else "  columns: {}",
        *(f"    {_name(own)}: {kind}" for own, kind in kept.items()),
    ]


def _type(role: Role, adapted: Adapted) -> str:
    kind = next(column.kind for column in adapted.peeked.columns if column.name == role.column)
    match role.role:
        case "time":
            return kind.type
        case "numeric":
            return "boolean" if kind.type == "boolean" else "double"
        case "quantity" | "amount" | "price":
            return "double"
    return "string"


def _newest(times: Sequence[Sampled]) -> date:
    today = datetime.now(UTC)
    seconds = [number for column in times for number in column.numbers if number is not None]
    past = [number for number in seconds if number <= today.timestamp()]
    return datetime.fromtimestamp(max(past or [0.0]), UTC).date()


def _slices(adapted: Adapted) -> list[str]:
    wanted = set(adapted.proposal.of("categorical"))
    few = [c for c in adapted.peeked.columns if c.name in wanted and 2 <= distinct(c) <= _SLICE_LEVELS]
    return [adapted.names[column.name] for column in sorted(few, key=distinct)[:_SLICES]]


def _windows(log: Histories) -> list[str]:
    windows = proposed_windows(log)
    share = churn_share(log, windows)
    told = "nobody was at risk in the sample: CHECK" if share is None else f"{share:.1%} of those at risk churn so"
    if share is not None and not 0.01 <= share <= 0.95:
        told += ": CHECK"
    fields = ", ".join(
        f"{name}: {getattr(windows, name)}" for name in LabelConfig.model_fields if name in windows.model_fields_set
    )
    by_time = "split: {by: time, validation: 1, test: 1}"
    by_customer = "split: {by: customer, validation: 0.2, test: 0.2}  # the log is too short to split by time"
    return [
        f"label: {{{fields}}}  # {told}; a log of {log.length} days",
        by_time if _has_parts(log, windows) else by_customer,
    ]


def _has_parts(log: Histories, windows: LabelConfig) -> bool:
    try:
        as_of, days = snapshot_days(windows, log.begin, log.end)
        reach = windows.gap_days + windows.outcome_days
        split_starts([day for day in days if (as_of - day).days >= reach], 1, 1, windows)
    except DataError:
        return False
    return True


def _why(role: Role) -> str:
    mark = "" if role.confidence >= SURE else "CHECK "
    return f"  # {mark}{role.role} {role.confidence:.2f}: {_on_a_line(role.reason)}"


def _on_a_line(text: str) -> str:
    return " ".join(text.split())


def _name(own: str) -> str:
    """Return a plain name as yaml; some, such as *no* and *null*, are no texts there without quotes."""
    return own if yaml.safe_load(own) == own else _plain(own)


def _plain(value: Any) -> str:
    """Return a value as yaml; texts in JSON's quotes, which are yaml's too."""
    return json.dumps(value, ensure_ascii=False)


def as_text(adapted: Adapted, target: Path) -> str:
    """Return the proposal as a table, and what to do next."""
    peeked, proposal = adapted.peeked, adapted.proposal
    rows = f"{peeked.rows_read:,} rows" if peeked.is_whole else f"the first {peeked.rows_read:,} rows"
    lines = [
        f"{adapted.path}: {peeked.source.format}, {rows}, one {'an event' if proposal.is_log else 'a customer'}",
        "",
    ]
    width = min(max(len(role.column) for role in proposal.roles), 32)
    lines += [
        f"  {role.column:<{width}}  {role.role:<12}{role.confidence:.2f} {' ' if role.confidence >= SURE else '?'} {role.reason}"
        for role in proposal.roles
    ]
    if leaks := proposal.of("leak"):
        lines += ["", f"  Left out as they may know the outcome: {', '.join(leaks)}. Use one all the same with --keep."]
    if suspects := [role.column for role in proposal.roles if role.auc and role.role in _FEATURES]:
        lines += ["", f"  Used, though each nearly ranks the outcome alone: {', '.join(suspects)}. Known beforehand?"]
    return "\n".join(
        [*lines, "", f"  Wrote {target}; ? is less sure, marked CHECK there. Next:", "", f"  {_next(adapted, target)}"]
    )


def _next(adapted: Adapted, target: Path) -> str:
    return f"python -m churn run --config {quote(str(target))} --source {quote(adapted.path)}"


@click.command("adapt")
@click.argument("file")
@click.option("--to", "target", default="conf/local.yaml", show_default=True, help="Where the settings are written.")
@click.option("--label", default="", help="Column that says who has left.")
@click.option("--positive", default="", help="Value of the label that means left.")
@click.option("--id", "identity", default="", help="Column that names the customer.")
@click.option("--time", default="", help="Column with the time of an event; makes the source an event log.")
@click.option("--quantity", default="", help="Column of an event log: units.")
@click.option("--amount", default="", help="Column of an event log: money.")
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="Use a column that looks like a leak, an id or a constant."
)
@click.option("--force", is_flag=True, help="Replace the settings that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, help="Show stack traces.")
def adapt(**given: Any) -> None:
    """Look at your own table or event log FILE and write the settings to run on it."""
    sys.exit(guarded({**given, "run_id": None}, lambda _: _adapt(given)))


def _adapt(given: Mapping[str, Any]) -> None:
    target = Path(given["target"])
    if target.exists() and not given["force"]:
        raise ConfigError("CONFIG_EXISTS", f"{target} is there already.", "", "Say --force, or another file with --to.")
    said = {name: given[name] for name in ("label", "time", "quantity", "amount", "positive", "keep")}
    adapted = look(given["file"], Told(id=given["identity"], **said))
    text = as_yaml(adapted)
    ChurnConfig.load(text, overrides=[f"source={json.dumps(adapted.path)}"], origin=str(target))  # it must be one
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    click.echo(as_json(adapted, target) if given["as_json"] else as_text(adapted, target))


def as_json(adapted: Adapted, target: Path) -> str:
    """Return the proposal as one JSON object."""
    label = adapted.proposal.label
    found = {
        "source": adapted.path,
        "rows_read": adapted.peeked.rows_read,
        "shape": "purchases" if adapted.proposal.is_log else "customers",
        "roles": [asdict(role) for role in adapted.proposal.roles],
        "label": None if label is None else asdict(label),
        "config": str(target),
        "next": _next(adapted, target),
    }
    return json.dumps(found, ensure_ascii=False)
