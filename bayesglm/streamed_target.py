"""A streamed design as inference sees it: a target of a few rows, and passes over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bayesglm.errors import SpecificationError, explain
from bayesglm.implied import target_of
from bayesglm.inference.passes import Passes
from bayesglm.inference.result import Result
from bayesglm.inference.streamed import coefficients
from bayesglm.inference.streamed_errors import covariance_of
from bayesglm.inference.target import Target
from bayesglm.priors import Priors
from bayesglm.progress import rows_bar
from bayesglm.spec import Spec
from bayesglm.streaming.source import in_order
from bayesglm.streaming.streamed import StreamedDesign, known

__all__ = ["errors_of", "other_errors", "passes_of", "reach_of", "template_of"]

# Rows of the target that stands for all: it has structure, priors and coordinates.
FEW = 64


def template_of(spec: Spec, design: StreamedDesign, priors: Priors, *, flat: bool) -> Target:
    """Return a target of a few rows with the totals of all."""
    sample = known(design.sample)
    few = min(FEW, sample.n)
    whole = replace(
        sample,
        matrix=sample.matrix[:few],
        columns=design.columns,
        **{name: getattr(sample, name)[:few] for name in ("y", "trials", "weights", "offset")},
    )
    target = target_of(spec, whole, priors, flat=flat, merged=False)
    totals = design.totals
    coefficient = totals.log_coefficient if design.aggregated else 0.0
    return replace(
        target,
        n=totals.rows,
        effective=totals.effective,
        log_coefficient=coefficient,
        left_out=coefficient,
    )


def passes_of(target: Target, design: StreamedDesign, progress: bool | None) -> Passes:
    """Return the passes over the rows of a design."""

    def read(extra: tuple[str, ...], label: str) -> Any:
        reader = design.reading()
        with rows_bar(label, reader.source.rows, progress=progress) as report:
            yield from reader.blocks(extra, report=report)

    def work(function: Callable[[Any], Any], blocks: Any, workers: int) -> Any:
        return in_order(partial(_numbered, design, function), blocks, workers)

    return Passes(target, read, design.length, work)


def _numbered(design: StreamedDesign, function: Callable[[Any], Any], block: Any) -> Any:
    return function(design.numbers(block))


def reach_of(target: Target, design: StreamedDesign) -> np.ndarray:
    """Return how far each centred column reaches, the constant first, shape (k,)."""
    ends = np.array([[c.minimum, c.maximum] for c in design.columns]).reshape(-1, 2)
    far = np.abs(ends - target.center[:, None]).max(axis=1)
    return np.concatenate([np.ones(int(target.intercept)), far])


def errors_of(
    spec: Spec,
    design: StreamedDesign,
    passes: Passes,
    flat: np.ndarray,
    information: np.ndarray,
    sigma: float | None,
    errors: Mapping[str, Any],
) -> np.ndarray:
    """Return the covariance of the reported coefficients, in the words of ``errors``."""
    target = passes.target
    k = len(target.places)
    if sigma is not None:
        n = target.effective
        sigma = sigma * float(np.sqrt(n / max(n - k, 1)))
    cluster = errors.get("cluster")
    if cluster is not None and cluster not in design.reading().source.names:
        raise SpecificationError(explain("no such column in the files", cluster=cluster))
    return covariance_of(
        passes,
        flat,
        information,
        cov=str(errors.get("cov")),
        sampling=spec.weights_kind == "sampling",
        rows=design.nobs,
        sigma=sigma,
        cluster=cluster,
        most=design.reading().source.memory // (64 * (k + 8)),
    )


def other_errors(
    spec: Spec, design: StreamedDesign, priors: Priors, result: Result, errors: Mapping[str, Any]
) -> np.ndarray:
    """Return other standard errors of a maximum-likelihood estimate, by passes over its rows."""
    target = template_of(spec, design, priors, flat=True)
    passes = passes_of(target, design, None)
    if result.sigma is not None:
        gram = passes.normal_equations("information")[0]
        return errors_of(spec, design, passes, result.flat, gram, result.sigma, errors)
    expected = errors["information"] == "expected"
    c = coefficients(target, result.flat[None])[0]
    found = passes.expand(c, "information", expected=expected)
    return errors_of(spec, design, passes, result.flat, found.information, None, errors)
