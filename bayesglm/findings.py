"""Everything that is wrong, or nearly so, with a model on its data, or with a fit.

The same findings feed the warning of a fit, the foot of its table, the command line and reports.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import Finding, SeparationError, explain
from bayesglm.fit import Fit
from bayesglm.implied import target_of, with_data
from bayesglm.inference.aliasing import aliases
from bayesglm.sensitivity import influential_rows, sensitive_priors
from bayesglm.separation import Separation, separation

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.inference.result import Result
    from bayesglm.model import Model
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["diagnose", "given_up", "left_out", "of_data", "without_end"]

SEVERITIES = ("error", "warning", "note")
# Aliased columns that a finding names.
NAMED = 5


def _free(priors: Priors, method: str) -> np.ndarray:
    """Return which coefficients have no proper prior, the intercept first, shape (k,)."""
    chosen = ([priors.intercept] if priors.has_intercept else []) + list(priors.beta)
    return np.array([method == "mle" or prior is None for prior in chosen], dtype=bool)


def diagnose(model_or_fit: Model | Fit) -> list[Finding]:
    """Return everything that a reader of a model, or of a fit, should know.

    Of a model: what its data carry, aliased columns, separation. Of a fit: its findings (what
    `Model.fit` looks at), and for draws what takes longer: rows that decide much by themselves
    (Pareto k of leave-one-out) and where the prior pulls against the data, or speaks in their
    place (power scaling).

    Parameters
    ----------
    model_or_fit : Model or Fit

    Returns
    -------
    list of Finding
        The most severe first.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = {"y": [0, 0, 0, 1, 1], "dose": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> for finding in bg.diagnose(bg.Model("y ~ dose", data)):
    ...     print(finding.code, finding.where)
    separation dose
    """
    spec, design = model_or_fit.spec, model_or_fit.design
    if isinstance(model_or_fit, Fit):
        found = [
            *model_or_fit.findings,
            *influential_rows(model_or_fit),
            *sensitive_priors(model_or_fit),
        ]
    else:
        priors = model_or_fit.priors
        found = [*design.findings, *spec.link.findings()]
        if design.matrix is not None:
            found += [*_aliased(spec, design, priors), *_separated(spec, design)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def left_out(
    spec: Spec, design: Design, priors: Priors
) -> tuple[Design, Priors, tuple[Finding, ...]]:
    """Return the model without the columns that are combinations of columns before them."""
    found = aliases(target_of(spec, design, priors))
    if not found:
        return design, priors, ()
    names = tuple(alias.name for alias in found)
    rest = design.without(names)
    told = "; ".join(str(alias) for alias in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    note = Finding(
        "aliased-dropped",
        "warning",
        f"Left out, being linear combinations of columns before them: {told}{more}.",
        value=float(len(found)),
        where=names[0],
        advice="What the others say includes them.",
    )
    return rest, with_data(priors.without(names), spec, rest), (note,)


def of_data(spec: Spec, design: Design, priors: Priors, result: Result) -> tuple[Finding, ...]:
    """Return what a prior has to make up for: separation, and aliased columns.

    Parameters
    ----------
    spec, design, priors : Spec, Design, Priors
        The model.
    result : Result
        Of a fit that has ended well; a maximum-likelihood estimate without bias reduction then
        has neither.
    """
    if result.method == "mle" and "bias_reduction" not in result.options:
        return ()
    return (*_aliased(spec, design, priors), *_separated(spec, design, result))


def _aliased(spec: Spec, design: Design, priors: Priors) -> tuple[Finding, ...]:
    """Return a note of columns that are combinations of others, under proper priors."""
    found = aliases(target_of(spec, design, priors))
    if not found:
        return ()
    told = "; ".join(str(alias) for alias in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return (
        Finding(
            "aliased",
            "note",
            f"Some columns are linear combinations of others: {told}{more}. The data speak of "
            "their joint effect alone; how it is shared out rests on the prior.",
            value=float(len(found)),
            where=found[0].name,
            advice='aliased="drop" leaves them out.',
        ),
    )


def _separated(spec: Spec, design: Design, result: Result | None = None) -> tuple[Finding, ...]:
    """Return a note that an outcome is separated, where a prior or penalty gives an answer."""
    if spec.family.has_sigma or spec.add:
        return ()
    found = separation(design, spec.link)
    if found is None:
        return ()
    penalised = result is not None and result.method == "mle"
    return (
        Finding(
            "separation",
            "note",
            f"{_sentence(found)}. How far {_listed(found.terms)} "
            f"{'lie' if len(found.terms) > 1 else 'lies'} from 0 rests on the "
            f"{'penalty' if penalised else 'prior'}.",
            value=float(found.rows),
            threshold=0.0,
            where=found.guilty[0] if found.guilty else found.terms[0],
            advice="" if penalised else "Report the prior, and try another.",
        ),
    )


def without_end(
    spec: Spec, design: Design, priors: Priors, method: str, error: SeparationError
) -> SeparationError:
    """Return the error that says what separates the outcome.

    Parameters
    ----------
    spec, design, priors : Spec, Design, Priors
        The model.
    method : str
    error : SeparationError
        What inference said, returned where nothing better is known.
    """
    events = float(np.sum(design.weights * design.y))
    if spec.family.has_sigma or spec.add or events in (0.0, design.effective):
        return error
    center = None if method == "mle" else np.asarray(priors.center)
    found = separation(design, spec.link, _free(priors, method), center)
    if found is None:
        return error
    reducible = method == "mle" and not design.varying and not spec.shape
    missing = "maximum-likelihood estimate" if method == "mle" else "proper posterior"
    return SeparationError(
        explain(
            f"{found}; so no {missing} exists",
            no_finite_estimate=list(found.terms),
            advice=_way_out(found, reducible=reducible),
        )
    )


def _way_out(found: Separation, *, reducible: bool) -> str:
    ways = 'use prior="weak" with fit("map") or fit("nuts")'
    # Bias reduction has no form with group-level effects, or a link whose shape is learned.
    if reducible:
        ways += ', or bias_reduction="jeffreys"'
    if found.guilty and not found.complete:
        ways += f", or leave {_listed(found.guilty)} out"
    return ways


def given_up(spec: Spec, design: Design, result: Result) -> Result:
    """Return the result of a fit to separated data without errors of what has no estimate.

    Parameters
    ----------
    spec, design : Spec, Design
    result : Result
        With status ``separated``.
    """
    found = separation(design, spec.link)
    names = (("Intercept",) if design.intercept else ()) + tuple(design.terms)
    terms = names if found is None else found.terms
    gone = np.isin(names, terms)
    cov = result.cov.copy()
    cov[gone, :] = cov[:, gone] = np.nan
    where = found.guilty[0] if found is not None and found.guilty else terms[0]
    note = Finding(
        "separation",
        "error",
        f"{_sentence(found)}, so no maximum-likelihood estimate exists: the numbers of "
        f"{_listed(terms)} are where the optimiser stopped on its way to infinity.",
        value=None if found is None else float(found.rows),
        threshold=0.0,
        where=where,
        advice='Use prior="weak" with fit("map") or fit("nuts"), or bias_reduction="jeffreys".',
    )
    return replace(result, cov=cov, findings=(*result.findings, note))


def _sentence(found: Separation | None) -> str:
    text = "the likelihood rises for ever" if found is None else str(found)
    return text[0].upper() + text[1:]


def _listed(names: tuple[str, ...]) -> str:
    some = list(names[:NAMED]) + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return " and ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some)
