"""Roles of columns: what is found, with how much confidence, and what is asked for instead of guessed."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from shared.core.errors import AcceleratorError
from shared.core.kinds import Sampled, kind_of, numbers_of
from shared.features.roles import SURE, Proposal, Role, Told, Vocabulary, propose

ROWS = 200
WORDS = Vocabulary(
    entity=("customer", "account", "user"),
    label=("churn", "churned", "exited", "attrition", "left", "retained"),
    positive=("churn", "left", "attrited"),
    negative=("stay", "existing", "active", "renew"),
    opposite=("retain", "active", "renew"),
    after=("cancellation",),
)


def column(name: str, texts: Sequence[str | None]) -> Sampled:
    kind = kind_of(name, texts)
    return Sampled(name, kind, texts, numbers_of(texts, kind))


def table(**columns: Sequence[Any]) -> list[Sampled]:
    whole: Mapping[str, Sequence[Any]] = {"customer_id": [f"C{row}" for row in range(ROWS)], **columns}
    return [
        column(name.replace("__", " "), [None if value is None else str(value) for value in values])
        for name, values in whole.items()
    ]


def proposed(columns: Sequence[Sampled], *, repeated: Sequence[str] = (), **told: Any) -> Proposal:
    return propose(columns, Told(**told), WORDS, max_levels=100, max_auc=0.995, repeated=repeated)


def roles(proposal: Proposal) -> dict[str, Role]:
    return {role.column: role for role in proposal.roles}


LEFT = random.Random(4).sample([1] * 50 + [0] * 150, ROWS)
TENURE = [(row * 37) % 60 for row in range(ROWS)]


def test_every_kind_of_column_gets_its_role_and_a_reason() -> None:
    found = proposed(
        table(
            RowNumber=range(1, ROWS + 1),
            tenure=TENURE,
            plan=[("basic", "pro")[row % 3 == 0] for row in range(ROWS)],
            since=[f"2024-01-{row % 28 + 1:02d}" for row in range(ROWS)],
            note=[f"he said the {row} words again" for row in range(ROWS)],
            why=[f"he said on day {row} that he goes" if left else None for row, left in enumerate(LEFT)],
            goodbye=[f"{row} he said that he goes" if left and row % 3 else None for row, left in enumerate(LEFT)],
            zip_code=[10_000 + row % 20 for row in range(ROWS)],
            country=["DE"] * ROWS,
            fax=[None] * ROWS,
            churned=LEFT,
        )
    )

    assert {name: role.role for name, role in roles(found).items()} == {
        "customer_id": "id",
        "RowNumber": "ignored",
        "tenure": "numeric",
        "plan": "categorical",
        "since": "time",
        "note": "text",
        "why": "leak",
        "goodbye": "leak",
        "zip_code": "categorical",
        "country": "constant",
        "fax": "ignored",
        "churned": "label",
    }
    assert all(role.reason and 0 < role.confidence <= 1 for role in found.roles)
    assert roles(found)["zip_code"].confidence < SURE <= roles(found)["tenure"].confidence


@pytest.mark.parametrize(
    ("name", "values", "positive"),
    [
        ("churned", ("1", "0"), "1"),
        ("Exited", ("1.0", "0.0"), "1.0"),
        ("Churn", ("Yes", "No"), "Yes"),
        ("Attrition_Flag", ("Attrited Customer", "Existing Customer"), "Attrited Customer"),
        ("churn_status", ("True.", "False."), "True."),
        ("is_retained", ("0", "1"), "0"),
        ("status_left", ("Left", "Stayed"), "Left"),
        ("Churn", ("churned", "not churned"), "churned"),
        ("inactive", ("1", "0"), "1"),
        ("is_inactive", ("yes", "no"), "yes"),
        ("IsInActive", ("1", "0"), "1"),
        ("is_active", ("0", "1"), "0"),
        ("not_renewed", ("1", "0"), "1"),
        ("renewed", ("0", "1"), "0"),
        ("non_retained", ("1", "0"), "1"),
        ("not_churned", ("0", "1"), "0"),
        ("status", ("Inactive", "Active"), "Inactive"),
        ("status", ("not renewed", "renewed"), "not renewed"),
    ],
)
def test_the_positive_value_is_the_one_that_says_it_happened(name: str, values: tuple[str, str], positive: str) -> None:
    columns = table(tenure=TENURE, **{name: [values[0] if left else values[1] for left in LEFT]})
    found = proposed(columns, label=name)

    assert found.label
    assert found.label.confidence >= SURE
    assert (found.label.column, found.label.positive, found.label.share) == (name, positive, 0.25)


@pytest.mark.parametrize(
    "values",
    [
        [10 + row % 37 for row in range(ROWS)],
        ["sent"] * ROWS,
        ["ABC"[row % 3] for row in range(ROWS)],
    ],
)
def test_a_column_filled_in_for_leavers_only_is_a_leak(values: list[Any]) -> None:
    half = [value if left and row % 2 else None for row, (value, left) in enumerate(zip(values, LEFT, strict=True))]
    found = roles(proposed(table(tenure=TENURE, winback=half, churned=LEFT)))["winback"]

    assert (found.role, found.auc) == ("leak", None)
    assert "rows with a value have the positive label" in found.reason


def test_a_column_missing_here_and_there_is_no_leak() -> None:
    some = [value if row % 4 else None for row, value in enumerate(TENURE)]

    assert roles(proposed(table(tenure=some, churned=LEFT)))["tenure"].role == "numeric"


def test_a_kept_column_says_how_well_it_ranks_the_label_alone() -> None:
    columns = table(tenure=TENURE, copy=[2 * left for left in LEFT], churned=LEFT)

    left_out, kept = roles(proposed(columns))["copy"], roles(proposed(columns, keep=("copy",)))["copy"]

    assert (left_out.role, left_out.auc) == ("leak", 1.0)
    assert (kept.role, kept.confidence, kept.auc) == ("numeric", 1.0, 1.0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("revenue", "amount"), {"revenue": "ignored", "amount": "amount"}),
        (("items", "Quantity"), {"items": "ignored", "Quantity": "quantity"}),
    ],
)
def test_of_the_values_of_a_log_the_one_called_like_the_role_is_preferred(
    names: tuple[str, str], expected: Mapping[str, str]
) -> None:
    whole = {
        "user_id": [row % 40 for row in range(ROWS)],
        "order_date": [f"2024-01-{row % 28 + 1:02d}" for row in range(ROWS)],
        **{name: [row % 17 + 0.5 for row in range(ROWS)] for name in names},
    }
    columns = [column(name, [str(value) for value in values]) for name, values in whole.items()]

    found = roles(proposed(columns))

    assert {name: found[name].role for name in names} == expected
    assert all(role.confidence >= SURE for role in found.values())


def test_of_two_values_that_say_nothing_the_rarer_is_proposed_with_doubt() -> None:
    found = proposed(table(tenure=TENURE, churned=["B" if left else "A" for left in LEFT])).label

    assert found
    assert found.positive == "B"
    assert found.confidence < SURE
    assert "check it" in found.reason


def test_the_only_column_with_two_values_is_proposed_with_doubt() -> None:
    found = proposed(table(tenure=TENURE, gone=LEFT)).label

    assert found
    assert (found.column, found.confidence) == ("gone", 0.5)


def test_a_copy_of_the_label_is_a_leak_and_no_rival() -> None:
    found = proposed(table(tenure=TENURE, Churn__Label=["Yes" if left else "No" for left in LEFT], Churn__Value=LEFT))

    assert {role.column: role.role for role in found.roles[2:]} == {"Churn Label": "label", "Churn Value": "leak"}


LEAKS = {
    "Churn Score": [50 + row % 7 for row in range(ROWS)],
    "Churn Reason": ["price" if left else None for left in LEFT],
    "cancellation_date": ["2024-01-31" if left else None for left in LEFT],
    "closed_on": ["2024-01-31" if left else None for left in LEFT],
    "refund": [100 + row if left else 0 for row, left in enumerate(LEFT)],
    "complained": [int(left and row % 2 == 0) for row, left in enumerate(LEFT)],
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_knows_the_outcome_is_named_and_left_out_unless_told_otherwise(name: str) -> None:
    columns = [*table(tenure=TENURE, churned=LEFT), column(name, [None if v is None else str(v) for v in LEAKS[name]])]

    left_out, kept = roles(proposed(columns))[name], roles(proposed(columns, keep=(name,)))[name]

    assert (left_out.role, left_out.confidence >= SURE) == ("leak", True)
    assert kept.role not in ("leak", "ignored")
    assert "you said" in kept.reason


def test_a_strong_feature_is_no_leak() -> None:
    products = [4 if left and row % 2 == 0 else row % 3 for row, left in enumerate(LEFT)]
    found = roles(
        proposed(
            table(products=products, months=[(row + left * 20) % 60 for row, left in enumerate(LEFT)], churned=LEFT)
        )
    )

    assert (found["products"].role, found["months"].role) == ("numeric", "numeric")


def events(**columns: Sequence[Any]) -> list[Sampled]:
    ids = [f"C{row % 40}" for row in range(ROWS)]
    days = [f"2024-0{row % 6 + 1}-15 10:00:00" for row in range(ROWS)]
    return table(order_id=range(ROWS), CustomerID=ids, order_date=days, **columns)[1:]


def test_a_log_has_a_customer_a_time_and_what_an_event_is_worth() -> None:
    found = proposed(
        events(Quantity=[row % 5 for row in range(ROWS)], UnitPrice=[row / 4 for row in range(ROWS)], sku=LEFT)
    )

    assert found.is_log
    assert {role.column: role.role for role in found.roles} == {
        "order_id": "ignored",
        "CustomerID": "id",
        "order_date": "time",
        "Quantity": "quantity",
        "UnitPrice": "price",
        "sku": "ignored",
    }


def test_columns_of_a_log_without_names_are_as_the_user_says() -> None:
    columns = [column(f"c{place}", one.texts) for place, one in enumerate(events(qty=TENURE, money=TENURE))]

    found = proposed(columns, id="c1", time="c2", quantity="c3", amount="c4")

    assert [role.role for role in found.roles] == ["ignored", "id", "time", "quantity", "amount"]


def test_a_number_that_only_looks_like_an_account_makes_no_log() -> None:
    found = proposed(table(account_length=TENURE, since=["2024-01-31"] * 100 + ["2024-02-01"] * 100, churned=LEFT))

    assert not found.is_log


def unknown(**told: Any) -> Proposal:
    return proposed(table(tenure=TENURE, churned=LEFT), **told)


REFUSED: dict[str, tuple[Any, int, str]] = {
    "no label": (lambda: proposed(table(tenure=TENURE)), 2, "LABEL_UNKNOWN"),
    "two labels": (lambda: proposed(table(churned=LEFT, exited=[*LEFT[1:], LEFT[0]])), 2, "LABEL_UNCLEAR"),
    "many columns with two values": (lambda: proposed(table(a=LEFT, b=[*LEFT[1:], LEFT[0]])), 2, "LABEL_UNKNOWN"),
    "one class": (lambda: proposed(table(tenure=TENURE, churned=[0] * ROWS)), 3, "LABEL_ONE_CLASS"),
    "three classes": (
        lambda: proposed(table(tenure=TENURE, churned=[row % 3 for row in range(ROWS)])),
        3,
        "LABEL_NOT_BINARY",
    ),
    "label with gaps": (lambda: proposed(table(tenure=TENURE, churned=[None, *LEFT[1:]])), 3, "LABEL_NULL"),
    "half and half": (lambda: proposed(table(tenure=TENURE, churned=["A", "B"] * 100)), 2, "POSITIVE_UNKNOWN"),
    "a value that is not there": (lambda: unknown(positive="maybe"), 2, "POSITIVE_UNKNOWN"),
    "a column that is not there": (lambda: unknown(label="churnd"), 2, "COLUMN_UNKNOWN"),
    "label and id the same": (lambda: unknown(label="customer_id", id="customer_id"), 2, "LABEL_INVALID"),
    "no id": (lambda: proposed(table(tenure=TENURE, churned=LEFT)[1:]), 2, "ID_UNKNOWN"),
    "an id twice": (
        lambda: proposed(
            [
                column("customer_id", [f"C{row // 2 if row < 9 else row}" for row in range(ROWS)]),
                *table(churned=LEFT)[1:],
            ]
        ),
        3,
        "ID_NOT_UNIQUE",
    ),
    "an id twice beyond the sample": (
        lambda: unknown(repeated=["customer_id"], id="customer_id", label="churned"),
        3,
        "ID_NOT_UNIQUE",
    ),
    "two times": (
        lambda: proposed(events(invoice_date=["2024-01-31 10:00:00"] * 100 + ["2024-02-01 10:00:00"] * 100)),
        2,
        "TIME_UNCLEAR",
    ),
    "time and no id": (lambda: proposed(table(at=["2024-01-31"] * ROWS)[1:], time="at"), 2, "ID_UNKNOWN"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_told_is_asked_for(kind: str) -> None:
    call, exit_code, code = REFUSED[kind]

    with pytest.raises(AcceleratorError) as raised:
        call()

    assert (raised.value.code, raised.value.exit_code) == (code, exit_code)
    assert raised.value.next_step


def test_what_the_user_says_is_not_doubted() -> None:
    found = proposed(table(a=LEFT, b=[LEFT[-1], *LEFT[:-1]]), label="b", positive="0")

    assert found.label
    assert (found.label.column, found.label.positive, found.label.confidence) == ("b", "0", 1.0)
