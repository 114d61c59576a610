"""A design without rows: what was learned of them, and how a block of them becomes numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bayesglm import frames
from bayesglm.arithmetic import evaluate
from bayesglm.design import Design
from bayesglm.encoding import Encoding
from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.formulas import Formula
from bayesglm.outcome import respond
from bayesglm.priors import Baseline
from bayesglm.rows import offsets, refuse_infinite
from bayesglm.spec import Spec
from bayesglm.streaming.reader import Reader, is_number, numbers_of
from bayesglm.streaming.source import Block, in_order, located

__all__ = ["Numbers", "Outcomes", "StreamedDesign", "Totals", "block_rows", "is_plain", "known"]

# Rows of a block, at most and at least.
MOST, LEAST, ROUND = 131_072, 256, 2_048
# Copies of a block's numbers that may lie in memory at once: read, encoded, laid out, by thread.
COPIES = 24


class Numbers(NamedTuple):
    """A block of rows as numbers.

    ``matrix`` (rows, p), or the p ``columns`` where these are columns of the file.
    """

    matrix: Any
    columns: Sequence[Any] | None
    y: np.ndarray
    trials: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    block: Block

    @property
    def rows(self) -> int:
        """Rows."""
        return len(self.y)

    def dense(self) -> np.ndarray:
        """Return the matrix, shape (rows, p)."""
        if self.columns is not None:
            values = np.empty((self.rows, len(self.columns)), order="F")
            for j, column in enumerate(self.columns):
                values[:, j] = column.to_numpy()
            return values
        return self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.toarray()

    def codes(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """Return whole numbers for the values of a column, -1 where missing; and the values."""
        import pandas as pd

        codes, values = pd.factorize(self.block.table.column(name).to_pandas())
        return codes, list(values)


@dataclass(frozen=True)
class Totals:
    """Sums over all rows.

    Attributes
    ----------
    rows : int
        Rows of positive weight.
    events, effective : float
        Sums of weights times y, and of weights times trials.
    saturated, log_coefficient : float
        Sums of weights times the saturated log likelihood, and the log binomial coefficient.
    """

    rows: int
    events: float
    effective: float
    saturated: float = 0.0
    log_coefficient: float = 0.0


@dataclass(frozen=True)
class Outcomes:
    """How the left side becomes y, for any rows.

    Attributes
    ----------
    left, text : str
        The left side, and the whole formula.
    columns : tuple of str
        Of the left side.
    counted : bool
        Whether y are counts, or numbers as they are.
    known : tuple
        Else the values that occur, at most two.
    event : object
        The one that counts as 1; None where it does not occur.
    """

    left: str
    text: str
    columns: tuple[str, ...]
    counted: bool
    known: tuple[Any, ...] = ()
    event: Any = None

    def read(self, block: Block, spec: Spec) -> tuple[np.ndarray, np.ndarray]:
        """Return y and trials of a block.

        Raises
        ------
        DataError
            For a value that was not there when the outcome was learned.
        """
        table = block.table
        if self.counted:
            frame = frames.select(table, self.columns)
            trials = None if spec.trials is None else numbers_of(
                table.column(spec.trials), spec.trials, block
            )  # fmt: skip
            y, counted, _ = respond(self.left, self.text, frame, spec, trials)
            return y, counted
        values = self.values(block)
        hits = [np.asarray(values == value, dtype=bool) for value in self.known]
        strange = ~np.logical_or.reduce(hits)
        if strange.any():
            row = int(np.argmax(strange))
            with located(block.place(row)):
                raise DataError(
                    explain(
                        f"the outcome {self.left!r} has a value that was not there before",
                        value=str(np.asarray(values)[row]),
                        known=[str(value) for value in self.known],
                    )
                )
        # The event may be a value that never occurs.
        y = np.zeros(block.rows)
        for hit, value in zip(hits, self.known, strict=True):
            if value is self.event:
                y = hit.astype(float)
        return y, np.ones(block.rows)

    def values(self, block: Block) -> Any:
        """Return the values of the left side, shape (rows,)."""
        plain = self.left.strip("`")
        if self.columns == (plain,):
            column = block.table.column(plain)
            if is_number(column.type):
                return column.to_numpy()
            series = frames.select(block.table, [plain])[plain]
            return series.to_numpy() if series.dtype.kind == "b" else series
        frame = frames.select(block.table, self.columns)
        values = evaluate(self.left, self.text, {str(n): frame[n] for n in frame.columns})
        if np.ndim(values) != 1:
            raise DataError(
                explain("the left side of the formula has no column", formula=self.text)
            )
        return values


def is_plain(encoding: Encoding) -> bool:
    """Whether every term is a column of numbers as it is, so that nothing need be encoded."""
    kinds = encoding.columns
    return not encoding.transforms and all(
        term in kinds and kinds[term].kind == "number" for term in encoding.terms
    )


@dataclass(frozen=True)
class StreamedDesign(Design):
    """A design whose rows stay on disk.

    Attributes
    ----------
    spec : Spec
    totals : Totals
    reader : Reader or None
        None for a fit that was loaded from a file.
    sample : Design or None
        Some rows, on which knots were learned and where fits start.
    outcomes : Outcomes or None
    baseline : Baseline or None
        What priors need to know of all rows.
    """

    spec: Any = None
    totals: Totals = field(default_factory=lambda: Totals(0, 0.0, 0.0))
    reader: Reader | None = None
    sample: Design | None = None
    outcomes: Outcomes | None = None
    baseline: Baseline | None = None

    @property
    def n(self) -> int:
        """Rows of positive weight."""
        return self.totals.rows

    @property
    def nobs(self) -> int:
        """Rows of positive weight."""
        return self.totals.rows

    @property
    def different(self) -> int:
        """All rows."""
        return self.totals.rows

    @property
    def effective(self) -> float:
        """Sum of weights times trials."""
        return self.totals.effective

    @property
    def events(self) -> float:
        """Sum of weights times y."""
        return self.totals.events

    @property
    def saturated(self) -> float:
        """Sum of weights times the log likelihood of a model that fits each row (log)."""
        return self.totals.saturated

    @property
    def index(self) -> Any:
        """There is none."""
        return None

    @property
    def length(self) -> int:
        """Rows of a block."""
        width = len(self.terms) + 4 + (0 if self.reader is None else len(self.reader.columns))
        memory = 0 if self.reader is None else self.reader.source.memory
        return block_rows(memory, width)

    def no_rows(self) -> DataError:
        """Return the error for a question about each of the rows."""
        if self.reader is None:
            return super().no_rows()
        return DataError(
            explain(
                "the rows stay on disk and are read by blocks",
                rows=self.totals.rows,
                advice="ask for an average, such as predictions(fit, by=True), or give newdata",
            )
        )

    def without(self, names: Collection[str]) -> StreamedDesign:
        """Return the design without some columns of its matrix."""
        kept = [j for j, term in enumerate(self.terms) if term not in names]
        return replace(
            self,
            terms=tuple(self.terms[j] for j in kept),
            columns=tuple(self.columns[j] for j in kept),
            encoding=None if self.encoding is None else self.encoding.without(names),
            given=self.given or self.terms,
            sample=None if self.sample is None else self.sample.without(names),
        )

    def cluster(self, name: str) -> np.ndarray:
        """Refuse: codes of all rows would not fit."""
        raise SpecificationError(explain("the rows are read by blocks", column=name))

    def reading(self) -> Reader:
        """Return the reader.

        Raises
        ------
        DataError
            For a fit that was loaded from a file.
        """
        return replace(known(self.reader), rows=self.length)

    def numbers(self, block: Block) -> Numbers:
        """Return a block as numbers."""
        spec: Spec = self.spec
        with located(block.where):
            y, trials = self._outcomes().read(block, spec)
            weights = np.ones(block.rows)
            if spec.weights is not None:
                weights = numbers_of(block.table.column(spec.weights), spec.weights, block)
            offset = self._offset(block)
            matrix, columns = None, None
            if is_plain(self._encoding()):
                columns = [block.table.column(term) for term in self.terms]
            else:
                matrix = self.matrix_of(block)
        return Numbers(matrix, columns, y, trials, weights, offset, block)

    def matrix_of(self, block: Block) -> Any:
        """Return the matrix of a block, encoded as was learned, shape (rows, p)."""
        frame = frames.select(block.table, self._formula().right_columns)
        matrix = self._encoding().apply(frame, self.context)
        refuse_infinite(matrix, self.terms)
        return matrix

    def _offset(self, block: Block) -> np.ndarray:
        spec: Spec = self.spec
        formula = self._formula()
        if spec.offset is None and not formula.offsets:
            return np.zeros(block.rows)
        names = [*formula.right_columns, *([] if spec.offset is None else [spec.offset])]
        return offsets(formula, spec, frames.select(block.table, dict.fromkeys(names)))

    def all_numbers(
        self, extra: Sequence[str] = (), *, report: Callable[[int], None] | None = None
    ) -> Iterator[Numbers]:
        """Yield all rows as numbers, block by block, the next block read meanwhile."""
        blocks = self.reading().blocks(extra, report=report)
        return in_order(self.numbers, blocks)

    def frames(
        self, extra: Sequence[str] = (), *, report: Callable[[int], None] | None = None
    ) -> Iterator[tuple[Any, Numbers]]:
        """Yield all rows as tables of pandas with their numbers, block by block."""
        names = dict.fromkeys((*self.reading().columns, *extra))

        def both(block: Block) -> tuple[Any, Numbers]:
            return frames.select(block.table, names), self.numbers(block)

        return in_order(both, self.reading().blocks(extra, report=report))

    def _formula(self) -> Formula:
        return known(self.formula)

    def _encoding(self) -> Encoding:
        return known(self.encoding)

    def _outcomes(self) -> Outcomes:
        return known(self.outcomes)


def known[T](part: T | None) -> T:
    """Return a part of a streamed design.

    Raises
    ------
    DataError
        For a fit that was loaded from a file, which has none.
    """
    if part is None:
        raise DataError(explain("the fit was saved without its data", advice="give newdata"))
    return part


def block_rows(memory: int, width: int) -> int:
    """Return how many rows of so many numbers a block has.

    Examples
    --------
    >>> block_rows(2_000_000_000, 15), block_rows(1_000_000, 15)
    (131072, 347)
    """
    rows = int(min(max(memory // (8 * COPIES * max(width, 1)), LEAST), MOST))
    return rows // ROUND * ROUND or rows
