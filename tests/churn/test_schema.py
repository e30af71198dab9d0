"""The declarations agree with the publishers' files and with Spark."""

import csv
import gzip
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn import schema
from shared.core.columns import Table

OWN = (
    schema.own_customers({"select": "string", "since": "date", "is_vip": "boolean"}),
    schema.own_purchases({"quantity": "double", "amount": "double"}),
)
TABLES = (*schema.EVENT_LOG, schema.PURCHASES, schema.TELCO, *OWN)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.description[:20])
def test_every_declaration_is_a_table_spark_accepts(spark: SparkSession, table: Table) -> None:
    rows = spark.createDataFrame([], table.ddl())
    checks = [f"({column.check})" for column in table.columns if column.check]

    passing = rows.where(" AND ".join(checks))  # a check naming another column fails to resolve

    assert passing.columns == list(table.names)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.description[:20])
def test_every_table_is_keyed_by_or_points_to_a_customer_tagged_as_personal(table: Table) -> None:
    customer = table.column(schema.CUSTOMER_ID)

    assert (customer.pii, customer.nullable, customer.type) == (True, False, "string")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.description[:20])
def test_a_value_that_may_be_null_passes_its_check_when_it_is(spark: SparkSession, table: Table) -> None:
    checks = [column.check for column in table.columns if column.check and column.nullable]
    nulls = spark.range(1).selectExpr(*[f"CAST(NULL AS {column.type}) AS {column.name}" for column in table.columns])

    assert [nulls.selectExpr(check).first()[0] for check in checks] == [True] * len(checks)


def test_no_quantity_lacks_its_unit() -> None:
    quantities = {"monthly_price", "minutes", "amount", "quantity", "tenure_months", "monthly_charges", "total_charges"}
    without = [
        (t.name, c.name) for t in TABLES if t not in OWN for c in t.columns if c.name in quantities and not c.unit
    ]

    assert without == []


def test_the_telco_mapping_names_every_declared_column_once_and_in_order() -> None:
    assert tuple(schema.TELCO_COLUMNS.values()) == schema.TELCO.names
    assert tuple(schema.CDNOW_COLUMNS.values()) == schema.PURCHASES.names


@pytest.mark.realdata
def test_the_mappings_are_the_headers_of_the_publishers_files(real_data: Path) -> None:
    with (real_data / "churn/telco_ibm/Telco-Customer-Churn.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(schema.TELCO_COLUMNS)
    with gzip.open(real_data / "churn/cdnow/CDNOW_master.txt.gz", "rt") as file:
        assert file.readline().split() == list(schema.CDNOW_COLUMNS)
