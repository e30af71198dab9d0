"""Features and label of one's own table of customers, whose columns only the settings know.

Row-wise only: what learns, such as medians and levels, is fitted in `churn.train` like that of any other shape.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn.config import OwnDataConfig
from churn.schema import CUSTOMER_ID, LABEL
from shared.core.errors import DataError
from shared.features.point_in_time import utc_date
from shared.features.tf_idf import words_of
from shared.features.words import WordsConfig


def features_of(customers: DataFrame, data: OwnDataConfig, words: WordsConfig) -> DataFrame:
    """Return ``customer_id`` and a feature for each column but the label.

    Numbers and levels are as they are, truth is 0 or 1, a date or time is the days from its UTC day to ``data.as_of``, and
    what people wrote is its words.

    Args:
        customers: one row a customer.
        data: its columns besides ``customer_id``, and which of them is the label.
        words: how a text becomes words.
    """
    kept = {name: _feature(customers, name, data, words) for name in data.columns if name != data.label}
    return customers.select(CUSTOMER_ID, *(value.alias(name) for name, value in kept.items()))


def _feature(customers: DataFrame, name: str, data: OwnDataConfig, words: WordsConfig) -> Column:
    match data.columns[name]:
        case "date" | "timestamp":
            return F.date_diff(F.lit(data.as_of), utc_date(customers, name))
        case "boolean":
            return F.col(name).cast("int")
    return words_of(name, words) if name in data.texts else F.col(name)


def label_of(customers: DataFrame, column: str, positive: Sequence[str], negative: Sequence[str]) -> DataFrame:
    """Return ``customer_id, label`` with 1 for the positive and 0 for the negative values of a string column.

    Raises:
        DataError: the label is null somewhere, has other values, or only one of the two.
    """
    counts = {row[0]: row[1] for row in customers.groupBy(column).count().limit(20).collect()}
    expected = f"{' or '.join([*positive, *negative])}."
    if None in counts:
        raise DataError("LABEL_NULL", f"{counts[None]} rows have no label in '{column}'.", expected, "Leave them out.")
    others = sorted(set(counts) - {*positive, *negative})
    if others:
        raise DataError("LABEL_NOT_BINARY", f"The label '{column}' also holds {others}.", expected, "Map or drop them.")
    if not set(counts) & set(positive) or not set(counts) & set(negative):
        found = f"Every label is {' or '.join(map(repr, counts))}." if counts else "There are no labels."
        raise DataError("LABEL_ONE_CLASS", found, expected.replace(" or ", " and "), "Check it.")
    return customers.select(CUSTOMER_ID, F.col(column).isin(*positive).cast("int").alias(LABEL))
