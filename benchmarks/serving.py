"""Speed of serving: the online service against MLflow's own scoring server, the export against onnxmltools.

`python -m benchmarks.serving` trains churn on its embedded data, then asks both servers for the same rows of the same
model, one after the other: the server on one core, the client on another. Batch scoring is that of `benchmarks.batch_scoring`,
on one core, with the model of this run.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from churn.config import MODEL, ChurnConfig
from shared.registry import files, tracking, versions

SERVER_CORE, CLIENT_CORE = 0, 1
START_SECONDS = 300


def main() -> None:
    """Run the benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of batch scoring")
    parser.add_argument("--seconds", type=int, default=20, help="of each load")
    parser.add_argument("--rate", type=int, default=200, help="requests per second of the steady load")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    tempfile.tempdir = str(folder)  # onnxmltools leaves folders behind
    try:
        warehouse = folder / "warehouse"
        size = f"sample.customers={options.customers}"
        command = [sys.executable, "-m", "churn", "run", "--json", "--warehouse", str(warehouse), "--set", size]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        rows = _prepare(warehouse, folder / "mlflow-model")
        batch = [sys.executable, "-m", "benchmarks.batch_scoring", "--trained", str(warehouse)]
        subprocess.run([*batch, "--rows", str(options.rows)], check=True)
        _online(warehouse, folder / "mlflow-model", rows, options.seconds, options.rate)
    finally:
        shutil.rmtree(folder)


def _prepare(warehouse: Path, peer: Path) -> list[dict[str, Any]]:
    """Write the model for MLflow's server, which wants a column `prediction`; compare the exports; return rows to ask for."""
    import mlflow.spark
    from pyspark.ml import PipelineModel

    from shared.core.session import get_session, stop
    from shared.core.session_config import SessionConfig
    from shared.features.sql_steps import adding

    config = ChurnConfig(warehouse=str(warehouse))
    champion = versions.find(tracking.connect(config, MODEL), MODEL, versions.CHAMPION)
    saved = files.fetch(champion)
    names = list(json.loads((saved / "online" / "contract.json").read_text())["inputs"])
    spark = get_session(SessionConfig(master="local[2]"), "benchmark")
    try:
        model = PipelineModel([PipelineModel.load(str(saved / "sparkml")), adding(["probability AS prediction"])])
        mlflow.spark.save_model(model, str(peer), pip_requirements=["pyspark"], dfs_tmpdir=str(peer.parent / "dfs"))
        features = spark.read.format("delta").load(str(warehouse / "gold_churn_features")).where("split = 'test'")
        # The peer cannot take a column without a value, nor an empty text.
        known = features.select(*names).dropna().where("size(messages_90) > 0")
        rows = [row.asDict() for row in known.limit(500).collect()]
        _exports(spark)
    finally:
        stop(spark)
    return rows


def _exports(spark: Any) -> None:
    """Time the export of a forest of 100 trees of depth 8 on ten columns, ours and that of onnxmltools."""
    from onnxmltools import convert_sparkml
    from onnxmltools.convert.common.data_types import FloatTensorType
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import RandomForestClassifier
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import functions as F

    from shared.deploy.export.pipeline import to_onnx
    from shared.features.sql_steps import adding

    columns = [f"x{place}" for place in range(10)]
    drawn = {name: F.rand(place) for place, name in enumerate(columns)}
    noisy = sum((F.col(name) for name in columns[:4]), F.lit(0.0)) + F.rand(99)
    rows = spark.range(20_000).withColumns(drawn).withColumn("label", (noisy > 2.5).cast("double")).cache()
    forest = RandomForestClassifier(numTrees=100, maxDepth=8, seed=1, probabilityCol="v")
    text = "split(CAST(`v` AS STRING), '[\\\\[,\\\\]]')[2]"
    probability = adding([f"CAST({text} AS DOUBLE) AS p"])
    model = Pipeline(stages=[VectorAssembler(inputCols=columns, outputCol="features"), forest, probability]).fit(rows)
    with tempfile.TemporaryDirectory() as folder:
        model.write().save(f"{folder}/model")
        ours = _median(lambda: to_onnx(Path(folder, "model"), numeric=columns, categorical=[], output="p"), 5)
    # The peer gets what it can convert: the forest alone, from a vector.
    inputs = [("features", FloatTensorType([None, 10]))]
    with contextlib.redirect_stdout(io.StringIO()):
        peer = _median(lambda: convert_sparkml(model.stages[1], "forest", inputs, spark_session=spark), 3)
    print(
        f"export        100 trees of depth 8: onnxmltools {peer:.2f} s, ours {ours:.3f} s: {peer / ours:.0f}x faster (bar 20)"
    )


def _median(work: Any, repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):  # the first warms up
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def _online(warehouse: Path, peer: Path, rows: Sequence[dict[str, Any]], seconds: int, rate: int) -> None:
    names = list(rows[0])
    own_rows = [
        {name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows
    ]
    own_requests = [json.dumps({"features": row}).encode() for row in own_rows]
    peer_requests = [
        json.dumps({"dataframe_split": {"columns": names, "data": [[row[name] for name in names]]}}).encode()
        for row in rows
    ]
    os.sched_setaffinity(0, {CLIENT_CORE})
    serve = [sys.executable, "-m", "churn.serve", "--warehouse", str(warehouse)]
    serve += ["--set=serving.insecure_local=true", "--set=serving.port=0"]
    with _running(serve, peer.parent / "own.log") as process:
        port = int(_address(process, peer.parent / "own.log").rpartition(":")[2])
        own = _one_after_another(port, "/score", own_requests, 3_000)
        own_rate = asyncio.run(_as_fast_as_possible(port, "/score", own_requests, seconds))
        steady = asyncio.run(_steadily(port, "/score", own_requests, rate, seconds))
    free = _free_port()
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(peer), "-h", "127.0.0.1", "-p", str(free)]
    with _running([*mlflow, "--env-manager", "local", "--workers", "1"], peer.parent / "peer.log"):
        _wait(f"http://127.0.0.1:{free}/ping")
        theirs = _one_after_another(free, "/invocations", peer_requests, 60)
        their_rate = asyncio.run(_as_fast_as_possible(free, "/invocations", peer_requests, seconds))
    print("online        one row a request, with three reasons; MLflow's scoring server gives the probability alone")
    for name, times, per_second in (("ours", own, own_rate), ("MLflow", theirs, their_rate)):
        p50, p99 = _at(times, 0.5), _at(times, 0.99)
        print(f"  {name:<8} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   {per_second:8.1f} requests/s with 8 clients")
    print(f"  p50 {_at(theirs, 0.5) / _at(own, 0.5):.0f}x lower (bar 20)")
    print(f"  at {rate} requests/s: p50 {_at(steady, 0.5):.2f} ms, p99 {_at(steady, 0.99):.2f} ms (bar 10)")


def _at(times: Sequence[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)] * 1000


class _Client:
    """One connection that asks one thing at a time; small, so that it costs little beside what it measures."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path

    async def open(self) -> "_Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, body: bytes) -> float:
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        started = time.perf_counter()
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        headers = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(headers.split("content-length:")[1].split("\r\n")[0])
        answer = await self._reader.readexactly(length)
        if not headers.startswith("http/1.1 200"):
            sys.exit(f"{headers}{answer!r}")
        return time.perf_counter() - started


def _one_after_another(port: int, path: str, requests: Sequence[bytes], count: int) -> list[float]:
    async def ask() -> list[float]:
        client = await _Client(port, path).open()
        warm = max(count // 10, 5)
        times = [await client.ask(requests[place % len(requests)]) for place in range(warm + count)]
        return times[warm:]

    return asyncio.run(ask())


async def _as_fast_as_possible(port: int, path: str, requests: Sequence[bytes], seconds: int) -> float:
    until = time.perf_counter() + seconds

    async def ask() -> int:
        client, count = await _Client(port, path).open(), 0
        while time.perf_counter() < until:
            await client.ask(requests[count % len(requests)])
            count += 1
        return count

    started = time.perf_counter()
    total = sum(await asyncio.gather(*(ask() for _ in range(8))))
    return total / (time.perf_counter() - started)


async def _steadily(port: int, path: str, requests: Sequence[bytes], rate: int, seconds: int) -> list[float]:
    """Send at fixed times whatever the answers do; a request's time counts from when it was due."""
    free: asyncio.Queue[_Client] = asyncio.Queue()
    for _ in range(64):
        free.put_nowait(await _Client(port, path).open())
    times: list[float] = []

    async def ask(due: float, body: bytes) -> None:
        client = await free.get()
        await client.ask(body)
        times.append(time.perf_counter() - due)
        free.put_nowait(client)

    begin, asked = time.perf_counter() + 0.1, []
    for place in range(rate * seconds):
        due = begin + place / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        asked.append(asyncio.create_task(ask(due, requests[place % len(requests)])))
    await asyncio.gather(*asked)
    return times


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=60)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        sys.exit(log.read_text())
    return line.strip()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.exit(f"{address} does not answer.")


if __name__ == "__main__":
    main()
