"""Numeric columns on one scale, as one vector, by Spark's own scalers.

Trees do not need it, and Spark's linear models scale inside: it is for distances, penalties of one's own, and clustering.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pyspark.ml import Estimator, Pipeline
from pyspark.ml.feature import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler, VectorAssembler

Method = Literal["standard", "robust", "minmax", "maxabs"]


def scaler(columns: Sequence[str], output: str, method: Method = "standard") -> Pipeline:
    """Return the estimator that makes the vector ``output`` from numeric columns; ``<output>_unscaled`` is the vector before.

    A constant column becomes 0; with ``minmax`` 0.5, with ``maxabs`` 1 or -1 unless it is 0.

    Args:
        columns: numeric columns without nulls or NaN, which stop the run: impute before.
        output: name of the vector.
        method: ``standard`` (mean 0, sample sd 1), ``robust`` (median 0, interquartile range 1), ``minmax`` (0 to 1) or
            ``maxabs`` (-1 to 1, zero stays zero).
    """
    unscaled = f"{output}_unscaled"
    scalers: dict[Method, Estimator[Any]] = {
        "standard": StandardScaler(inputCol=unscaled, outputCol=output, withMean=True, withStd=True),
        "robust": RobustScaler(inputCol=unscaled, outputCol=output, withCentering=True, withScaling=True),
        "minmax": MinMaxScaler(inputCol=unscaled, outputCol=output),
        "maxabs": MaxAbsScaler(inputCol=unscaled, outputCol=output),
    }
    return Pipeline(stages=[VectorAssembler(inputCols=list(columns), outputCol=unscaled), scalers[method]])
