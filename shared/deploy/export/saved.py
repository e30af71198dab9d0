"""The files of a saved pipeline, read without Spark: the stages in order, their parameters and what they learned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from shared.core.errors import ModelError
from shared.registry.stages import document

_PIPELINE: Final = "PipelineModel"


@dataclass(frozen=True)
class Stage:
    """A fitted stage on disk.

    Args:
        kind: Spark's class, without its package.
        params: its parameters, those left at their default included.
        folder: where it lies.
    """

    kind: str
    params: Mapping[str, Any]
    folder: Path

    def table(self, part: str = "data") -> pa.Table:
        """Return what the stage learned.

        Raises:
            ModelError: MODEL_UNREADABLE.
        """
        try:
            table: pa.Table = ds.dataset(self.folder / part, format="parquet").to_table()
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.folder / part, str(error)) from error
        return table

    def row(self) -> dict[str, Any]:
        """Return what a stage learned whose data are one row.

        Raises:
            ModelError: MODEL_UNREADABLE.
        """
        rows: list[dict[str, Any]] = self.table().to_pylist()
        if len(rows) != 1:
            raise _unreadable(self.folder, f"{len(rows)} rows of data")
        return rows[0]

    def columns(self, what: str) -> list[str]:
        """Return the columns of ``inputCols`` or ``inputCol`` (``what`` is ``input``), or of the outputs."""
        many, one = self.params.get(f"{what}Cols"), self.params.get(f"{what}Col")
        return list(many) if many else [str(one)]


def stages(folder: Path) -> Iterator[Stage]:
    """Give the stages of the pipeline saved in ``folder``, those of nested pipelines in their place.

    Raises:
        ModelError: MODEL_UNREADABLE.
    """
    metadata = _metadata(folder)
    kind = str(metadata["class"]).rpartition(".")[2]
    if kind != _PIPELINE:
        yield Stage(kind, {**metadata.get("defaultParamMap", {}), **metadata["paramMap"]}, folder)
        return
    uids = metadata["paramMap"]["stageUids"]
    width = len(str(len(uids)))
    for place, uid in enumerate(uids):
        yield from stages(folder / "stages" / f"{place:0{width}d}_{uid}")


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        found = document(folder / "metadata")
        return {"class": found["class"], "paramMap": found["paramMap"], **found}
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, str(error)) from error


def _unreadable(place: Path, reason: str) -> ModelError:
    return ModelError("MODEL_UNREADABLE", f"{place} holds no saved stage: {reason}.", "", "Train again.")
