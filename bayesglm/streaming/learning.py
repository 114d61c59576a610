"""What the first pass over the files gathers, block by block.

Levels of factors, the values of the outcome, means, sds and ranges; a random sample of the rows, in
which every level occurs; the table of different rows, where it stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesglm import frames
from bayesglm.encoding import factored
from bayesglm.errors import DataError, explain
from bayesglm.formulas import Formula
from bayesglm.rows import offsets
from bayesglm.spec import Spec
from bayesglm.streaming.compress import Distinct
from bayesglm.streaming.moments import Moments
from bayesglm.streaming.reader import Reader, numbers_of
from bayesglm.streaming.sampling import Sample
from bayesglm.streaming.source import Block, located
from bayesglm.streaming.states import Powers
from bayesglm.streaming.streamed import Outcomes

__all__ = ["FirstPass"]

# Levels beyond which a column is no factor, and different values beyond which numbers inside C()
# are learned from the sample.
MOST_LEVELS, MOST_VALUES = 100_000, 10_000


@dataclass
class _Sums:
    """Sums over rows that the outcome, weights and offset give."""

    events: float = 0.0
    effective: float = 0.0
    saturated: float = 0.0
    log_coefficient: float = 0.0
    offset: float = 0.0
    fractional_weights: bool = False
    fractional_counts: bool = False


class FirstPass:
    """What the first pass gathers, block by block."""

    def __init__(self, spec: Spec, formula: Formula, reader: Reader, merging: bool) -> None:
        self.spec, self.formula, self.reader = spec, formula, reader
        source = reader.source
        schema = source.dataset.schema
        self.kinds = {name: _kind(schema.field(name).type) for name in reader.columns}
        right = [name for name in formula.right_columns if name in self.kinds]
        self.numeric = [name for name in right if self.kinds[name] == "number"]
        inside = factored(formula.right)
        self.levels: dict[str, dict[Any, None] | None] = {
            name: {}
            for name in reader.columns
            if self.kinds[name] in ("text", "bool") or (name in inside and name in self.numeric)
        }
        self.moments = Moments(len(self.numeric))
        self.powers = Powers.of(formula.right, self.numeric)
        self.counted = _counted(spec, formula)
        self.outcome = Outcomes(formula.left, formula.text, formula.left_columns, self.counted)
        # Of two values of an outcome: sum of weights, and rows.
        self.values: dict[Any, np.ndarray] = {}
        self.share = Moments(1)
        self.sums = _Sums()
        self.rows = 0
        self.sample = Sample.make(source.memory, len(reader.columns))
        sampling = spec.weights_kind == "sampling"
        keys = [n for n in reader.columns if sampling or n != spec.weights]
        self.distinct = Distinct(
            keys, None if sampling else spec.weights, source.rows, source.memory
        )
        self.distinct.alive &= merging

    def add(self, block: Block) -> None:
        """Learn from a block of rows."""
        with located(block.where):
            table = block.table
            weights = self._weights(block)
            mass = self._outcome(block, weights)
            whole = None if self.spec.weights is None and self.spec.trials is None else mass
            columns = [
                np.asarray(table.column(name).to_numpy(), dtype=float) for name in self.numeric
            ]
            wanted = self._extremes(columns)
            self.moments.add(columns, whole)
            self.powers.add(dict(zip(self.numeric, columns, strict=True)))
            wanted += self._levels(block)
            self.sample.add(table, wanted)
            self.distinct.add(table)
            self.rows += block.rows

    def _weights(self, block: Block) -> np.ndarray:
        name = self.spec.weights
        if name is None:
            return np.ones(block.rows)
        weights = numbers_of(block.table.column(name), name, block)
        self.sums.fractional_weights |= bool((weights != np.round(weights)).any())
        return weights

    def _outcome(self, block: Block, weights: np.ndarray) -> np.ndarray:
        """Add up the outcome; return weights times trials."""
        spec, sums = self.spec, self.sums
        mass = weights
        if self.counted:
            y, trials = self.outcome.read(block, spec)
            mass = weights * trials
            self.share.add([y / trials], mass)
            sums.events += float(weights @ y)
            if not spec.family.has_sigma:
                sums.fractional_counts |= bool(
                    (y != np.round(y)).any() or (trials != np.round(trials)).any()
                )
                sums.saturated += float(weights @ _saturated(y, trials))
                if self._aggregated:
                    sums.log_coefficient += float(weights @ spec.family.log_coefficient(y, trials))
        else:
            self._values(block, weights)
        sums.effective += float(mass.sum())
        formula = self.formula
        if spec.offset is not None or formula.offsets:
            names = [*formula.right_columns, *([] if spec.offset is None else [spec.offset])]
            frame = frames.select(block.table, dict.fromkeys(names))
            sums.offset += float(mass @ offsets(formula, spec, frame))
        return mass

    @property
    def _aggregated(self) -> bool:
        return self.spec.trials is not None or self.formula.left.startswith("cbind(")

    def _values(self, block: Block, weights: np.ndarray) -> None:
        import pandas as pd

        codes, found = pd.factorize(self.outcome.values(block))
        found = [value.item() if isinstance(value, np.generic) else value for value in found]
        mass = np.bincount(codes, weights=weights, minlength=len(found))
        rows = np.bincount(codes, minlength=len(found))
        for k, value in enumerate(found):
            if value not in self.values and len(self.values) == 2:
                raise DataError(
                    explain(
                        f"the outcome {self.formula.left!r} has more than two values",
                        values=[str(each) for each in (*self.values, value)],
                        advice="use a condition on the left, or trials= for counts",
                    )
                )
            if value not in self.values:
                self.sample.keep(block.table.slice(int(np.argmax(codes == k)), 1))
                self.values[value] = np.zeros(2)
            self.values[value] += (mass[k], rows[k])

    def _extremes(self, columns: list[np.ndarray]) -> list[int]:
        """Return the rows that hold a new smallest or largest value of a column."""
        found = []
        for j, values in enumerate(columns):
            if values.min() < self.moments.low[j]:
                found.append(int(values.argmin()))
            if values.max() > self.moments.high[j]:
                found.append(int(values.argmax()))
        return found

    def _levels(self, block: Block) -> list[int]:
        """Take note of new levels; return the first row of each."""
        import pyarrow.compute as pc

        found: list[int] = []
        for name, known in self.levels.items():
            if known is None:
                continue
            column = block.table.column(name)
            if hasattr(column.type, "value_type"):
                column = column.cast(column.type.value_type)
            fresh = [value for value in pc.unique(column).to_pylist() if value not in known]
            if not fresh:
                continue
            known |= dict.fromkeys(fresh)
            number = self.kinds[name] == "number"
            if len(known) > (MOST_VALUES if number else MOST_LEVELS):
                if not number and name in self.formula.right_columns:
                    raise DataError(
                        explain(
                            f"the column {name!r} has more than {MOST_LEVELS:,} levels",
                            advice="leave it out, or make fewer of them",
                        )
                    )
                self.levels[name] = None
                continue
            first = pc.index_in(_array(fresh, column.type), _one(column))
            found += first.to_pylist()
        return found


def _one(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def _array(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa

    return pa.array(values, type=kind)


def _kind(kind: Any) -> str:
    """Return what a type of pyarrow is in a formula: number, bool, text, or other."""
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(inner) or pa.types.is_large_string(inner) or inner != kind:
        return "text"
    if pa.types.is_boolean(kind):
        return "bool"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "other"


def _counted(spec: Spec, formula: Formula) -> bool:
    """Whether y are counts, or numbers as they are, so that no value is the event."""
    numbers = spec.family.has_sigma and spec.event is None
    return spec.trials is not None or formula.left.startswith("cbind(") or numbers


def _saturated(y: np.ndarray, trials: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    return np.asarray(xlogy(y, y / trials) + xlogy(trials - y, (trials - y) / trials))
