"""One encoding for all processes: each has read rows of its own, and all must mean the same.

What was learned from the rows held here (levels of factors, means and standard deviations, the
range of numbers, the event) is told to all others; each then encodes its rows by what holds for all
of them together. Means and variances are put together exactly (Chan, Golub & LeVeque 1983).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import design as designs
from bayesglm import processes
from bayesglm.columns import facts
from bayesglm.encoding import Column, Encoding, used
from bayesglm.errors import BayesGLMError, DataError, SpecificationError, explain
from bayesglm.implied import baseline_of, priors_of
from bayesglm.materials import materialize
from bayesglm.merging import Repeated
from bayesglm.priors import Baseline, ColumnFacts

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["agree", "agreed_codes"]


def agree(spec: Spec, design: Design, options: Mapping[str, Any]) -> tuple[Design, Priors]:
    """Return the design of the rows held here as all processes mean it, and the priors of all.

    Parameters
    ----------
    spec, design : Spec, Design
        The model of the rows held here.
    options : mapping
        Those of the fit.

    Raises
    ------
    BayesGLMError
        Where the processes differ, in every one of them; or one of them cannot take part.
    """
    told = _meet(lambda: _words(spec, design, options))
    _same(told, "formula", "link", "family", "prior", "options", "aggregated", "intercept")
    design = replace(design, outcome=_outcome(design, told))
    if design.encoding is not None:
        design = _encoded(design, told)
    elif not isinstance(design.matrix, (np.ndarray, Repeated)):
        design = replace(design, matrix=design.matrix.toarray())
    _same(_meet(lambda: {"terms": design.terms}), "terms")
    numbers = _meet(lambda: _numbers(design))
    columns = tuple(
        _facts_of([each["columns"][j] for each in numbers], numbers) for j in range(design.p)
    )
    here = numbers[processes.index()]
    design = replace(
        design,
        columns=columns,
        elsewhere=(
            sum(each["nobs"] for each in numbers) - here["nobs"],
            float(sum(each["effective"] for each in numbers)) - here["effective"],
        ),
    )
    return design, priors_of(spec, design, _baseline(numbers))


def _meet(work: Any) -> list[Any]:
    """Return what each process has to say; where one fails, all fail by its error."""
    failed: BayesGLMError | None = None
    try:
        value = {"value": work()}
    except BayesGLMError as error:
        failed, value = error, {"error": str(error)}
    told = processes.gather(value)
    if failed is not None:
        raise failed
    for process, each in enumerate(told):
        if "error" in each:
            raise DataError(explain(f"process {process} cannot take part: {each['error']}"))
    return [each["value"] for each in told]


def _same(told: Sequence[Mapping[str, Any]], *names: str) -> None:
    """Refuse words that the processes do not share."""
    for name in names:
        for process, each in enumerate(told):
            if each[name] != told[0][name]:
                raise SpecificationError(
                    explain(
                        f"the models of process 0 and process {process} differ in their {name}",
                        process_0=told[0][name],
                        **{f"process_{process}": each[name]},
                    )
                )


def _words(spec: Spec, design: Design, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a model and what was learned of its columns, as plain data."""
    _refuse(spec, design, options)
    found: dict[str, Any] = {
        "formula": None if design.formula is None else design.formula.text,
        "link": spec.link.label,
        "family": spec.family.name,
        "prior": _plain(spec.prior),
        "options": {name: _plain(value) for name, value in sorted(options.items())},
        "aggregated": design.aggregated,
        "intercept": design.intercept,
        "outcome": asdict(design.outcome),
        "columns": {},
        "factors": {},
    }
    if design.encoding is not None:
        found["factors"] = design.encoding.categories
        for name, column in design.encoding.columns.items():
            dtype = design.frame[name].dtype
            order = list(getattr(dtype, "categories", ()))
            found["columns"][name] = asdict(column) | {"order": [_json(v) for v in order]}
    return found


def _plain(value: Any) -> str:
    """Return what a word of the user's is, in words that are the same in every process."""
    if isinstance(value, Mapping):
        return str({str(key): _plain(each) for key, each in value.items()})
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    parameters = getattr(value, "arg_constraints", None)
    if parameters is not None:
        return (
            f"{type(value).__name__} {[(n, _plain(getattr(value, n, None))) for n in parameters]}"
        )
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _refuse(spec: Spec, design: Design, options: Mapping[str, Any]) -> None:
    """Refuse what must see the rows of all processes at once."""
    wrong, advice = "", "fit it in one process, over the devices of that"
    if spec.add:
        wrong = "networks"
    elif design.varying:
        wrong = "group-level effects and smooth terms"
    elif design.encoding is not None and design.encoding.transforms:
        wrong = f"{next(iter(design.encoding.transforms))}, which is learned from all rows,"
        advice = "make a column of it first, with knots, centre and scale that all processes know"
    elif design.context:
        wrong = "functions of your own in the formula"
        advice = "make columns of them first"
    elif options.get("aliased") == "drop":
        wrong, advice = 'aliased="drop"', "leave the columns out yourself"
    elif options.get("separation") == "warn":
        wrong, advice = 'separation="warn"', 'use prior="weak" and fit("map")'
    elif options.get("ci") == "profile":
        wrong, advice = 'ci="profile"', "use the Wald interval"
    known = {} if design.encoding is None else design.encoding.columns
    for name, column in known.items():
        if not all(isinstance(_json(level), (str, int, float)) for level in column.levels):
            wrong, advice = f"categories of {name!r} that are no text or numbers", "make them text"
    if wrong:
        raise SpecificationError(
            explain(f"{wrong} cannot be spread over several processes yet", advice=advice)
        )


def _outcome(design: Design, told: Sequence[Mapping[str, Any]]) -> Any:
    """Return what y means, where all processes say the same."""
    known = [each["outcome"] for each in told if each["outcome"]["other"]]
    if known:
        for word in ("event", "other"):
            values = sorted({each[word] for each in known})
            if len(values) > 1:
                raise DataError(
                    explain(
                        f"the outcome {design.outcome.name!r} has other values in other processes",
                        values=values,
                        advice="say which is the event, as event=...",
                    )
                )
        return replace(design.outcome, **known[0])
    return design.outcome


def _encoded(design: Design, told: Sequence[Mapping[str, Any]]) -> Design:
    """Encode the rows held here by the levels of all."""
    own, formula = design.encoding, design.formula
    if own is None or formula is None:
        return design
    columns = {
        name: _column(name, [each["columns"][name] for each in told]) for name in own.columns
    }
    categories = {
        factor: _levels(factor, columns, [each["factors"][factor] for each in told])
        for factor in own.categories
    }
    bare = Encoding(own.right, (), columns)
    prepared = bare.prepare(design.frame.iloc[:1])
    _, spec = materialize(own.right, prepared, {}, sparse=False, categories=categories)
    encoding = replace(
        own,
        names=tuple(str(name) for name in spec.column_names),
        columns=columns,
        categories=categories,
        sparse=False,
    )
    structure = tuple(
        (str(name), tuple(str(factor.expr) for factor in row.term.factors))
        for row in spec.structure
        for name in row.columns
        if str(name) != "Intercept"
    )
    words = used(structure, encoding, formula, {})
    matrix = designs.encode(encoding, formula, design.frame, {})
    live, mass = design.weights > 0, design.weights * design.trials
    given: tuple[Any, ...] = (matrix, encoding.terms, mass, live, words, None)
    if isinstance(matrix, Repeated):
        copies = np.bincount(matrix.rows, weights=live, minlength=len(matrix.values))
        sums = np.bincount(matrix.rows, weights=mass, minlength=len(matrix.values))
        given = (matrix.values, encoding.terms, sums, copies > 0, words, copies)
    return replace(
        design,
        matrix=matrix,
        terms=encoding.terms,
        columns=facts(*given),
        encoding=encoding,
        findings=(
            *(each for each in design.findings if each.code != "one-level"),
            *encoding.single_levels(),
        ),
    )


def _column(name: str, told: Sequence[Mapping[str, Any]]) -> Column:
    """Return what is known of a column from all processes."""
    kinds = sorted({each["kind"] for each in told})
    if len(kinds) > 1:
        raise DataError(
            explain(
                f"column {name!r} is of another kind in another process",
                kinds=kinds,
                advice="convert it to one type in all of them",
            )
        )
    if kinds[0] != "category":
        lower, upper = min(each["lower"] for each in told), max(each["upper"] for each in told)
        return Column(kinds[0], (), lower, upper)
    seen = {level for each in told for level in each["levels"]}
    order = told[0]["order"]
    if any(each["order"] != order for each in told):
        raise DataError(
            explain(
                f"the categories of column {name!r} differ between processes",
                advice="give it the same categories, in the same order, in all; or make it text",
            )
        )
    return Column("category", tuple([v for v in order if v in seen] if order else sorted(seen)))


def _levels(factor: str, columns: Mapping[str, Column], told: Sequence[list[Any]]) -> list[Any]:
    """Return the levels of a factor, in the order of its column where it is one."""
    seen = {level for each in told for level in each}
    for column in columns.values():
        # C(g, ...) has the levels of g.
        if column.kind == "category" and seen <= set(column.levels):
            return [level for level in column.levels if level in seen]
    return sorted(seen)


def _numbers(design: Design) -> dict[str, Any]:
    """Return moments of columns, outcome and offset over the rows held here."""
    live, mass = design.weights > 0, design.weights * design.trials
    if not live.any():
        raise DataError(explain("no row has a positive weight", rows=design.n))
    return {
        "columns": [asdict(column) for column in design.columns],
        "mass": float(mass.sum()),
        "nobs": int(live.sum()),
        "effective": float(mass.sum()),
        "baseline": asdict(baseline_of(design)),
        "share": float(np.average(design.y / design.trials, weights=mass)),
    }


def _pooled(
    counts: Sequence[float], means: Sequence[float], variances: Sequence[float]
) -> tuple[float, float]:
    """Return mean and variance (divisor n) of parts taken together.

    Examples
    --------
    >>> _pooled([2, 2], [0.0, 4.0], [1.0, 1.0])
    (2.0, 5.0)
    """
    n = np.asarray(counts, float)
    mean = float(n @ np.asarray(means) / n.sum())
    spread = np.asarray(variances) + (np.asarray(means) - mean) ** 2
    return mean, float(n @ spread / n.sum())


def _sample_sd(rows: Sequence[float], means: Sequence[float], sds: Sequence[float]) -> float:
    """Return the standard deviation (divisor n - 1) of parts taken together."""
    n = float(sum(rows))
    within = [sd**2 * max(k - 1, 0) / k for k, sd in zip(rows, sds, strict=True)]
    return float(np.sqrt(_pooled(rows, means, within)[1] * n / max(n - 1, 1)))


def _facts_of(parts: Sequence[Mapping[str, Any]], numbers: Sequence[Mapping[str, Any]]) -> Any:
    """Return the facts of a column over the rows of all processes."""
    mass, rows = [each["mass"] for each in numbers], [each["nobs"] for each in numbers]
    mean, variance = _pooled(mass, [p["mean"] for p in parts], [p["sd"] ** 2 for p in parts])
    means = [p["mean_rows"] for p in parts]
    lower, upper = min(p["minimum"] for p in parts), max(p["maximum"] for p in parts)
    values = {v for p in parts for v in (p["minimum"], p["maximum"])}
    kind = "numeric"
    if all(p["kind"] != "numeric" for p in parts) and len(values) <= 2:
        kind = "constant" if lower == upper else "binary"
    return ColumnFacts(
        term=parts[0]["term"],
        variables=tuple(parts[0]["variables"]),
        kind=kind,
        categorical=parts[0]["categorical"],
        mean=mean,
        sd=float(np.sqrt(variance)),
        minimum=lower,
        maximum=upper,
        mean_rows=_pooled(rows, means, [0.0] * len(rows))[0],
        sd_rows=_sample_sd(rows, means, [p["sd_rows"] for p in parts]),
    )


def _baseline(numbers: Sequence[Mapping[str, Any]]) -> Baseline:
    """Return what priors need to know of the rows of all processes."""
    mass, rows = [each["mass"] for each in numbers], [each["nobs"] for each in numbers]
    parts = [each["baseline"] for each in numbers]
    shares = [each["share"] for each in numbers]
    means = [p["y_mean_rows"] for p in parts]
    nothing = [0.0] * len(parts)
    return Baseline(
        rows=sum(rows),
        offset_mean=_pooled(mass, [p["offset_mean"] for p in parts], nothing)[0],
        y_sd=float(np.sqrt(_pooled(mass, shares, [p["y_sd"] ** 2 for p in parts])[1])),
        y_mean_rows=_pooled(rows, means, nothing)[0],
        y_sd_rows=_sample_sd(rows, means, [p["y_sd_rows"] for p in parts]),
    )


def agreed_codes(design: Design, name: str) -> np.ndarray:
    """Return the values of a column as codes that mean the same in all processes, shape (n,)."""
    found: list[Any] = []

    def labels() -> list[str]:
        codes, values = design.clusters(name)
        found.append(codes)
        return [str(_json(value)) for value in values]

    told = _meet(labels)
    place = {label: code for code, label in enumerate(sorted({v for each in told for v in each}))}
    own = np.array([place[label] for label in told[processes.index()]], dtype=np.int32)
    return own[found[0]]
