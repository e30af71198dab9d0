"""The table of the vertical: columns, types, units, key and checks, in plain Python."""

from shared.core.columns import Column, Table

ROW_ID = "row_id"
LABEL = "label"
PLANS = ("basic", "standard", "premium")

ROWS = Table(
    "silver_template_rows",
    (
        Column(ROW_ID, "string", "the row", nullable=False, check="length(trim(row_id)) > 0"),
        Column("amount", "double", "money spent so far", False, "USD", "amount >= 0"),
        Column("visits", "int", "visits of the last month", nullable=False, check="visits >= 0"),
        Column("plan", "string", "tariff; missing where nobody wrote it down"),
        Column("happened", "boolean", "whether it happened in the month after; the label", nullable=False),
    ),
    key=(ROW_ID,),
    change_feed=True,
    description="One row each, with what was known before and what happened after.",
)
