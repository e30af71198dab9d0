"""What Spark's errors about a source mean for the reader of the message.

Spark reports a broken file from deep inside a job; here the file and what to do are put into one sentence.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from shared.core.errors import AcceleratorError, ConfigError, DataError, EnvironmentProblem

_FILE = re.compile(r"(?:while reading file|Path does not exist:) (?P<file>\S+?)\.?(?:\s|$)")
_JARS = {"s3a": "hadoop-aws", "abfss": "hadoop-azure", "abfs": "hadoop-azure", "gs": "gcs-connector"}
_TRUNCATED = ("EOFException", "Unexpected end of", "ZipException", "not in gzip format", "not a gzip file")
_UNREADABLE = ("FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "is not a Parquet file")
_DATABASE_DOWN = r"FAILED_JDBC.CONNECTION|Connection to \S+ refused|UnknownHostException|connection attempt failed|I/O error occurred"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn Spark's errors in the block into errors about ``what``, a path or a table.

    Raises:
        ConfigError: the path or database table does not exist, or the login is refused.
        DataError: a file cannot be read.
        EnvironmentProblem: a file system or a database cannot be reached.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        # Spark's own sentence says only that the connection failed; what the server said is among the causes.
        causes = getattr(error, "_stackTrace", "")
        problem = _problem(f"{error} {causes}", what)
        if problem is None:
            raise
        raise problem from error


def _problem(text: str, what: str) -> AcceleratorError | None:
    return _of_file_system(text, what) or _of_database(text, what) or _of_file(text, what)


def _of_file_system(text: str, what: str) -> AcceleratorError | None:
    scheme = what.partition("://")[0] if "://" in what else ""
    if scheme and re.search(r"No FileSystem for scheme|Class org\.apache\.hadoop\.fs\.\S+ not found", text):
        jar = _JARS.get(scheme, "of its file system")
        next_step = f"Give Spark the jar {jar} that fits its Hadoop version (spark.jars or --packages)."
        return EnvironmentProblem("FILESYSTEM_MISSING", f"Spark cannot open {scheme}:// paths.", "", next_step)
    if scheme and re.search(r"ConnectException|UnknownHostException|NoRouteToHost|SocketTimeout", text):
        found = f"The file system of {what} does not answer."
        return EnvironmentProblem("FILESYSTEM_DOWN", found, "", "Check its address and the network.")
    if "PATH_NOT_FOUND" in text or "FileNotFoundException" in text or "FILE_NOT_EXIST" in text:
        return ConfigError("SOURCE_MISSING", f"Nothing at {what}.", "A file or folder.", "Check --source.")
    if "AccessControlException" in text or "Permission denied" in text:
        return EnvironmentProblem("SOURCE_FORBIDDEN", f"{what} may not be read.", "", "Ask for the right to read it.")
    return None


def _of_database(text: str, what: str) -> AcceleratorError | None:
    if "password authentication failed" in text or "no password was provided" in text or "SQLState: 28" in text:
        found = f"The database refused the login for {what}."
        return ConfigError("LOGIN_REFUSED", found, "", "Check database.user and what database.password refers to.")
    if re.search(r'relation ".*" does not exist|database ".*" does not exist', text):
        return ConfigError(
            "SOURCE_MISSING", f"The database has no {what}.", "", "Check database.url and database.table."
        )
    if "permission denied for" in text:
        return ConfigError("LOGIN_REFUSED", f"The user may not read {what}.", "", "Grant SELECT, or use another user.")
    if "No suitable driver" in text or "ClassNotFoundException: org.postgresql.Driver" in text:
        found = "Spark has no driver for the database."
        return EnvironmentProblem("DRIVER_MISSING", found, "", "Add the jar set: session.jar_sets=[delta, jdbc].")
    if re.search(_DATABASE_DOWN, text):
        return EnvironmentProblem(
            "DATABASE_DOWN", f"No database answers for {what}.", "", "Start it, or check the url."
        )
    return None


def _of_file(text: str, what: str) -> AcceleratorError | None:
    named = _FILE.search(text)
    file = named["file"] if named else what
    if any(sign in text for sign in _TRUNCATED):
        return DataError("FILE_TRUNCATED", f"{file} ends too early or is not what its name says.", "", "Copy it again.")
    if any(sign in text for sign in _UNREADABLE):
        return DataError("FILE_UNREADABLE", f"{file} cannot be read.", "A whole file of its format.", "Copy it again.")
    if "UNABLE_TO_INFER_SCHEMA" in text:
        return ConfigError("SOURCE_MISSING", f"No file in {what}.", "At least one.", "Check --source.")
    if "DELTA_TABLE_NOT_FOUND" in text or "not a Delta table" in text:
        return ConfigError("SOURCE_MISSING", f"{what} is not a Delta table.", "", "Check the path, or the format.")
    if "CANNOT_MERGE_SCHEMAS" in text:
        next_step = "Write the files with one schema."
        return DataError("SCHEMA_MISMATCH", f"The files of {what} have a column with two types.", "", next_step)
    return None
