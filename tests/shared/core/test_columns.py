import subprocess
import sys

import pytest

from shared.core.columns import Column, Table, identifier, quoted
from shared.core.errors import ConfigError

PAYMENTS = Table("silver_x_payments", (Column("id", "string", nullable=False), Column("amount", "double")), key=("id",))


def test_ddl_quotes_names_and_fences_nulls_only_on_request() -> None:
    assert PAYMENTS.ddl() == "`id` string, `amount` double"
    assert PAYMENTS.ddl(nullable=False) == "`id` string NOT NULL, `amount` double"


@pytest.mark.parametrize("name", ["a b", "a`; DROP", "1a", "", "a\n", "naïve"])
def test_a_name_that_could_break_sql_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="NAME_INVALID"):
        identifier(name)
    with pytest.raises(ConfigError, match="NAME_INVALID"):
        quoted([name])


def test_a_key_that_is_no_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="no column 'key'"):
        Table("t", (Column("a", "int"),), key=("key",))


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="names a column twice"):
        Table("t", (Column("a", "int"), Column("a", "string")))


def test_declarations_do_not_load_spark() -> None:
    code = "import sys, shared.core.columns, churn.schema; sys.exit('pyspark' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
