"""From files to a design: the first pass, then the encoding, as `design.build` learns it in memory.

It is learned on a random sample in which every level and both ends of every column occur. Where the
different rows are few, an ordinary design of these with their counts comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np

from bayesglm import design as designs
from bayesglm import frames
from bayesglm.design import Design
from bayesglm.errors import DataError, Finding, SpecificationError, explain
from bayesglm.formulas import split
from bayesglm.grouping import split_groups
from bayesglm.inputs import split_inputs
from bayesglm.outcome import word
from bayesglm.priors import Baseline
from bayesglm.rows import far_columns, odd_outcomes, refuse_reserved
from bayesglm.spec import Spec
from bayesglm.streaming.compress import COUNT
from bayesglm.streaming.learning import FirstPass
from bayesglm.streaming.moments import Moments
from bayesglm.streaming.reader import Reader, Tally
from bayesglm.streaming.source import Source, in_order
from bayesglm.streaming.states import exact
from bayesglm.streaming.streamed import (
    Numbers,
    Outcomes,
    StreamedDesign,
    Totals,
    block_rows,
    is_plain,
    known,
)

__all__ = ["learn_design", "refuse_arrays"]


def refuse_arrays(arrays: Mapping[str, Any]) -> None:
    """Refuse trials, weights or offset that are no columns of the files."""
    for name in arrays:
        given = name.strip("_")
        raise SpecificationError(
            explain(
                f"{given} must name a column of the files, as these are read by blocks",
                advice=f"write it into them, or read them into a DataFrame to give {given} as an array",
            )
        )


def learn_design(
    spec: Spec,
    source: Source,
    *,
    context: Mapping[str, Any] | None = None,
    bar: Callable[[str, int], Any] | None = None,
) -> tuple[Spec, Design]:
    """Read all files once or twice, and return the words and the design of the model.

    Parameters
    ----------
    spec : Spec
        The words of the model.
    source : Source
    context : mapping of str to callable, optional
        The user's own functions.
    bar : callable, optional
        A context manager that shows progress, from a label and a number of rows.

    Returns
    -------
    spec : Spec
        As given; where equal rows were counted, with their counts as weights.
    design : Design
        An ordinary one of the different rows where these are few, else a `StreamedDesign`.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        With what is wrong, where, and what to do.
    """
    names = source.names
    refuse_reserved(names)
    context = dict(context or {})
    named = [name for name in (spec.trials, spec.weights, spec.offset) if name is not None]
    formula = split(spec.formula or "", names, context=context, taken=set(named))
    added = [split_inputs(n.formula, formula, names, context, set(named)) for n in spec.add]
    grouped = split_groups(formula, names, context, set(named))
    parts: tuple[Any, ...] = (formula, *added, *grouped)
    columns = dict.fromkeys(name for part in parts for name in part.columns)
    wanted = tuple(dict.fromkeys((*columns, *named)))
    for name in wanted:
        if name not in names:
            frames.select({n: [0] for n in names}, [name])
    if not wanted:
        raise DataError(explain("the formula names no column", formula=formula.text))
    source.check(wanted)
    reader = Reader(
        source, wanted, spec.missing, spec.weights, block_rows(source.memory, len(wanted) + 4)
    )
    bar = bar or _quiet
    # Functions of the user's own may look at all rows.
    found, tally = FirstPass(spec, formula, reader, merging=not context), Tally()
    with bar("reading", source.rows) as report:
        for _ in in_order(found.add, reader.blocks(tally=tally, report=report)):
            pass
    if not found.rows:
        raise DataError(
            explain("no rows are left", read=tally.rows, dropped=tally.dropped,
                    weight_0=tally.weightless)
        )  # fmt: skip
    found.reader = replace(reader, clean=not (tally.dropped or tally.weightless))
    table = found.distinct.table() if found.distinct.alive else None
    if table is not None:
        return _compressed(spec, found, tally, table, context)
    if spec.add or grouped or formula.curves:
        what = "networks" if spec.add else "group-level effects and smooth terms"
        raise SpecificationError(
            explain(
                f"{what} need their rows in memory, and these differ too much to be counted",
                rows=found.rows,
                advice="raise memory=, or fit a sample read into a DataFrame",
            )
        )
    return spec, _streamed(spec, found, tally, context, bar)


@contextmanager
def _quiet(label: str, total: int) -> Iterator[None]:
    del label, total
    yield None


def _teacher(spec: Spec, found: FirstPass, context: Mapping[str, Any]) -> Design:
    """Return the design of the sample, in which every level and both ends of a column occur."""
    frame = frames.select(found.sample.table(), found.reader.columns)
    return designs.build(spec, frame, context=context, states=_states(found))


def _states(found: FirstPass) -> Any:
    """Return what corrects the states of a sample to those of all rows; None where it holds all."""
    if found.sample.whole:
        return None
    return partial(exact, moments=found.moments, numeric=found.numeric, powers=found.powers)


def _compressed(
    spec: Spec, found: FirstPass, tally: Tally, table: Any, context: Mapping[str, Any]
) -> tuple[Spec, Design]:
    """Return the design of the different rows, weighted by their counts."""
    names = found.distinct.columns
    frame = frames.select(table, names)
    copies = table.column(COUNT).to_numpy().astype(float)
    weights = copies
    if spec.weights is not None:
        sampling = spec.weights_kind == "sampling"
        weights = (
            copies * frame[spec.weights].to_numpy(dtype=float)
            if sampling
            else table.column("__weights").to_numpy().astype(float)
        )
    spec = replace(spec, weights="__weights")
    design = designs.build(
        spec,
        frame,
        arrays={"__weights": weights},
        context=context,
        copies=copies,
        teacher=lambda: frames.select(found.sample.table(), found.reader.columns),
        states=_states(found),
    )
    note = Finding(
        "compressed",
        "note",
        f"{found.rows:,} rows were read from {len(found.reader.source.parts)} files; {len(frame):,} "
        "of them differ and were kept, each with its count.",
        value=float(len(frame)),
    )
    more = _sampled(design, found)
    return spec, replace(
        design,
        findings=(*tally.findings(found.reader.columns), note, *design.findings, *more),
        source=None,
    )


def _sampled(design: Design, found: FirstPass) -> tuple[Finding, ...]:
    """Return a note of what was learned on a sample of the rows."""
    learned = () if design.encoding is None else tuple(design.encoding.transforms)
    learned = tuple(name for name in learned if not found.powers.knows(name))
    if not learned or found.sample.whole:
        return ()
    return (
        Finding(
            "learned-on-sample",
            "note",
            f"What {', '.join(learned)} needs to know of the data (knots, centres) was learned on "
            f"a random sample of {found.sample.size:,} of {found.rows:,} rows.",
            value=float(found.sample.size),
            where=learned[0],
        ),
    )


def _streamed(
    spec: Spec, found: FirstPass, tally: Tally, context: Mapping[str, Any], bar: Callable[..., Any]
) -> StreamedDesign:
    sample = _teacher(spec, found, context)
    outcomes = _outcomes(found, sample)
    baseline, totals = _totals(spec, found, outcomes)
    inherited = {f.name: getattr(sample, f.name) for f in fields(Design)}
    empty = np.empty(0)
    inherited |= {"matrix": None, "frame": None, "kept": None, "source": None}
    inherited |= dict.fromkeys(("y", "trials", "weights", "offset"), empty)
    inherited["findings"] = ()
    design = StreamedDesign(
        **inherited,
        spec=spec,
        totals=totals,
        reader=found.reader,
        sample=sample,
        outcomes=outcomes,
        baseline=baseline,
    )
    columns = _facts(design, found, bar)
    few = replace(sample, columns=columns)
    y = np.array([totals.events, totals.effective - totals.events])
    one = np.array([float(totals.events > 0), float(totals.events < totals.effective)])
    odd = odd_outcomes(one * 0 + [1.0, 0.0], np.ones(2), y, spec)
    if found.sums.fractional_counts:
        odd = (*odd_outcomes(np.array([0.5]), np.ones(1), np.ones(1), spec), *odd)
    fractional = (
        tuple(f for f in sample.findings if f.code == "non-integer-weights")
        if found.sums.fractional_weights
        else ()
    )
    findings = (
        *tally.findings(found.reader.columns),
        *fractional,
        *known(sample.encoding).single_levels(),
        *far_columns(columns),
        *odd,
        *_sampled(sample, found),
    )
    return replace(design, columns=columns, sample=few, findings=findings)


def _outcomes(found: FirstPass, sample: Design) -> Outcomes:
    """Return how the left side becomes y, as the sample has it."""
    if found.counted:
        return found.outcome
    values = tuple(found.values)
    event = next((value for value in values if word(value) == sample.outcome.event), None)
    return replace(found.outcome, known=values, event=event)


def _totals(spec: Spec, found: FirstPass, outcomes: Outcomes) -> tuple[Baseline, Totals]:
    sums, share = found.sums, found.share
    events = sums.events
    if not found.counted:
        mass = np.array([found.values[value][0] for value in outcomes.known])
        rows = np.array([found.values[value][1] for value in outcomes.known])
        hit = np.array([float(value is outcomes.event) for value in outcomes.known])
        events = float(mass @ hit)
        p, q = events / mass.sum(), float(rows @ hit) / rows.sum()
        sd, mean_rows = np.sqrt(p * (1 - p)), q
        sd_rows = np.sqrt(q * (1 - q) * rows.sum() / max(rows.sum() - 1, 1))
    else:
        sd, mean_rows = np.sqrt(share.square[0] / share.mass), share.mean_rows[0]
        sd_rows = np.sqrt(share.square_rows[0] / max(share.rows - 1, 1))
    baseline = Baseline(
        rows=found.rows,
        offset_mean=sums.offset / sums.effective,
        y_sd=float(sd),
        y_mean_rows=float(mean_rows),
        y_sd_rows=float(sd_rows),
    )
    totals = Totals(found.rows, events, sums.effective, sums.saturated, sums.log_coefficient)
    return baseline, totals


def _facts(design: StreamedDesign, found: FirstPass, bar: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the facts about the columns of the matrix, of all rows."""
    sample = known(design.sample)
    if found.sample.whole:
        return sample.columns
    words = {c.term: (c.variables, c.categorical) for c in sample.columns}
    if design.encoding is not None and is_plain(design.encoding):
        facts = found.moments.facts(found.numeric, {n: ((n,), False) for n in found.numeric})
        place = {fact.term: fact for fact in facts}
        return tuple(replace(place[t], variables=words[t][0]) for t in design.terms)
    moments = Moments(len(design.terms))
    alike = design.spec.weights is None and design.spec.trials is None

    def add(some: Numbers) -> None:
        columns = [np.ascontiguousarray(column) for column in some.dense().T]
        moments.add(columns, None if alike else some.weights * some.trials)

    with bar("encoding", design.reading().source.rows) as report:
        for some in design.all_numbers(report=report):
            add(some)
    return moments.facts(design.terms, words)
