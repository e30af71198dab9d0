"""What Spark's errors about a source mean for the reader of the message.

Spark reports a broken file from deep inside a job; here the file and what to do are put into one sentence.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from shared.core.errors import AcceleratorError, ConfigError, DataError, EnvironmentProblem

_FILE = re.compile(r"(?:file|hdfs|s3a|abfss?|gs)\:[^\s,'\"\]]+")
_JARS = {"s3a": "hadoop-aws", "abfss": "hadoop-azure", "abfs": "hadoop-azure", "gs": "gcs-connector"}


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
        problem = _problem(str(error), what)
        if problem is None:
            raise
        raise problem from error


def _problem(text: str, what: str) -> AcceleratorError | None:
    file = next(iter(_FILE.findall(text)), what)
    for scheme, jar in _JARS.items():
        if what.startswith(f"{scheme}://") and ("ClassNotFoundException" in text or "No FileSystem for scheme" in text):
            next_step = f"Give Spark the jar {jar} of its Hadoop version (spark.jars or --packages)."
            return EnvironmentProblem("FILESYSTEM_MISSING", f"Spark cannot open {scheme}:// paths.", "", next_step)
    if "PATH_NOT_FOUND" in text or "FileNotFoundException" in text:
        return ConfigError("SOURCE_MISSING", f"Nothing at {what}.", "A file or folder.", "Check --source.")
    if "password authentication failed" in text or "no password was provided" in text:
        return ConfigError("LOGIN_REFUSED", f"The database refused the login for {what}.", "", "Check user and password.")
    if re.search(r'relation ".*" does not exist', text):
        return ConfigError("SOURCE_MISSING", f"The database has no table {what}.", "", "Check database.table.")
    if re.search(r"Connection to .* refused|UnknownHostException|connection attempt failed|No suitable driver", text):
        return EnvironmentProblem("DATABASE_DOWN", f"No database answers for {what}.", "", "Start it, or check the url.")
    if any(sign in text for sign in ("EOFException", "Unexpected end of", "ZipException", "not in gzip format")):
        return DataError("FILE_TRUNCATED", f"{file} ends too early or is not what its name says.", "", "Copy it again.")
    if any(sign in text for sign in ("CANNOT_READ_FILE_FOOTER", "is not a Parquet file", "FAILED_READ_FILE")):
        return DataError("FILE_UNREADABLE", f"{file} cannot be read.", "A whole file of its format.", "Copy it again.")
    return None
