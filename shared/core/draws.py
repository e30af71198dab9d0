"""Random numbers as columns, made of hashes: the same rows draw the same numbers, however they lie on a cluster."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F


def uniform(hashed: Column) -> Column:
    """Return a number in [0, 1): the upper 53 bits of a 64-bit hash."""
    return F.shiftrightunsigned(hashed, 11).cast("double") * F.lit(2.0**-53)


@dataclass(frozen=True)
class Draw:
    """Random numbers as columns: a pure function of seed, purpose and keys, so order and partitions play no part."""

    seed: int

    def uniform(self, purpose: str, *keys: Column | str) -> Column:
        """Return a uniform number in [0, 1)."""
        salt = hashlib.blake2b(f"{self.seed}/{purpose}".encode(), digest_size=8).digest()
        return uniform(F.xxhash64(F.lit(int.from_bytes(salt, "big", signed=True)).cast("long"), *keys))

    def normal(self, purpose: str, *keys: Column | str) -> Column:
        """Return a standard normal number (Box and Muller 1958)."""
        radius = F.sqrt(-2 * F.log(1 - self.uniform(purpose + ".radius", *keys)))
        return radius * F.cos(2 * math.pi * self.uniform(purpose + ".angle", *keys))

    def whole(self, below: int, purpose: str, *keys: Column | str) -> Column:
        """Return a whole number from 0 to ``below - 1``, each as likely."""
        return F.floor(below * self.uniform(purpose, *keys)).cast("int")

    def pick(self, values: Sequence[str], purpose: str, *keys: Column | str) -> Column:
        """Return one of ``values``, each as likely."""
        return F.element_at(F.array(*[F.lit(value) for value in values]), self.whole(len(values), purpose, *keys) + 1)
