"""Fits of rows that stay on disk: Newton over row blocks, its errors, Laplace with its certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import (
    BayesGLMError,
    Finding,
    SeparationError,
    SpecificationError,
    Status,
    explain,
)
from bayesglm.fit import Fit
from bayesglm.implied import priors_of, target_of
from bayesglm.inference.aliasing import aliases_of
from bayesglm.inference.evaluation import evaluate
from bayesglm.inference.mode import find_mode
from bayesglm.inference.passes import Expansion
from bayesglm.inference.result import Result
from bayesglm.inference.streamed import (
    Summit,
    climb,
    least_squares,
    local,
    log_prior_at,
    to_reported,
)
from bayesglm.inference.streamed_laplace import approximate
from bayesglm.streamed_target import errors_of, passes_of, reach_of, template_of
from bayesglm.streaming.streamed import StreamedDesign, known

if TYPE_CHECKING:
    from bayesglm.inference.passes import Passes
    from bayesglm.inference.target import Target
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["fit_streamed"]

OFFERED = ("mle", "map", "laplace", "auto")
# Options that need the rows in memory.
REFUSED = (
    *("mesh", "bias_reduction", "steps", "learning_rate", "memory", "tolerance", "batch_size"),
    *("validation", "patience", "starts", "ensemble"),
)
CHOICES = {"optimizer": "newton", "ci": "wald", "separation": "error"}


def refuse(spec: Spec, method: str, options: Mapping[str, Any]) -> None:
    """Refuse methods and options that need the rows in memory.

    Raises
    ------
    SpecificationError
        With what to do.
    """
    if method not in OFFERED:
        raise SpecificationError(
            explain(
                f"{method} needs its rows in memory, and these are read by blocks",
                method=method,
                advice='use fit("laplace"), whose certificate says whether it is as good; or fit a '
                "sample read into a DataFrame",
            )
        )
    if spec.shape:
        raise SpecificationError(
            explain(
                "a link with a learned shape needs the rows in memory, and these are read by blocks",
                link=spec.link.label,
                advice='use link="student_t(4)"; or fit a sample read into a DataFrame',
            )
        )
    if spec.family.has_sigma and method != "mle":
        raise SpecificationError(
            explain(
                "the gaussian family is fitted by maximum likelihood, where rows are read by blocks",
                method=method,
                advice='use fit("mle")',
            )
        )
    for name in REFUSED:
        if options.get(name) is not None:
            raise SpecificationError(
                explain(
                    f"{name} needs the rows in memory, and these are read by blocks",
                    advice="leave it out",
                    **{name: options[name]},
                )
            )
    for name, only in CHOICES.items():
        if options.get(name) not in (None, only):
            raise SpecificationError(
                explain(
                    f"{name} must be {only!r}, where rows are read by blocks",
                    **{name: options[name]},
                )
            )


def fit_streamed(
    spec: Spec,
    design: StreamedDesign,
    priors: Priors,
    method: str,
    options: Mapping[str, Any],
    errors: dict[str, Any],
    *,
    seed: int,
    progress: bool | None,
) -> Fit:
    """Fit a streamed design; see `bayesglm.Model.fit`.

    Parameters
    ----------
    spec, design, priors : Spec, StreamedDesign, Priors
        The model.
    method : str
    options : mapping
        Those given.
    errors : dict
        The covariance in words, of an MLE.
    seed : int
    progress : bool or None
    """
    begin = time.perf_counter()
    refuse(spec, method, options)
    dropped: tuple[Finding, ...] = ()
    if options.get("aliased") == "drop":
        design, priors, dropped = _left_out(spec, design, priors, progress)
    target = template_of(spec, design, priors, flat=method == "mle")
    passes = passes_of(target, design, progress)
    if method == "mle":
        _refuse_one_outcome(target, design)
        result = _mle(spec, design, passes, options, errors)
    elif method == "map":
        result = _map(spec, design, passes, options)
    else:
        result = _laplace(spec, design, passes, method, options, seed)
    found = (*dropped, *result.findings)
    words = {**result.options, "seed": seed} if result.draws else result.options
    return Fit(
        spec=spec,
        design=design,
        priors=priors,
        result=replace(result, findings=found, options=words),
        seconds=time.perf_counter() - begin,
        errors=errors,
    )


def _refuse_one_outcome(target: Target, design: StreamedDesign) -> None:
    if target.structure.family.has_sigma or 0 < design.events < target.effective:
        return
    which = "no events" if design.events <= 0 else "events only"
    raise SeparationError(
        explain(
            f"the outcome has {which}, so its maximum-likelihood estimate is at infinity",
            events=design.events,
            trials=target.effective,
            advice='use fit("map") with a proper prior such as prior="weak"',
        )
    )


def _summit(
    spec: Spec,
    design: StreamedDesign,
    passes: Passes,
    options: Mapping[str, Any],
    *,
    jacobian: bool,
    expected: bool,
) -> Summit:
    target = passes.target
    base = _base(target, design)
    init = options.get("init")
    start = _start(spec, design, target, base) if init is None else target.locate(init)
    return climb(
        passes, start, base, reach_of(target, design), jacobian=jacobian, expected=expected
    )


def _base(target: Target, design: StreamedDesign) -> np.ndarray:
    """Return slopes of 0, the intercept at the observed share of events."""
    flat = np.zeros(target.size)
    if target.intercept:
        flat[0] = float(target.structure.link.eta((design.events + 0.5) / (target.effective + 1)))
    return flat


def _start(spec: Spec, design: StreamedDesign, target: Target, base: np.ndarray) -> np.ndarray:
    """Return the mode of a sample under weak priors, which always exists; else the base."""
    weak = replace(spec, prior="weak")
    sample = known(design.sample)
    try:
        few = target_of(weak, sample, priors_of(weak, design))
        mode = find_mode(few, {}, jacobian=False)
        if not np.isfinite(mode.flat).all():
            return base
        return target.locate(evaluate(few, mode.flat)["theta"])
    except BayesGLMError:
        # Of some links a sample has no feasible point, or one on the edge.
        return base


def _numbers(target: Target, summit: Summit) -> dict[str, Any]:
    """Return the fields of a result that an optimum gives."""
    theta = evaluate(target, summit.flat)["theta"]
    prior = log_prior_at(target, summit.flat[None], jacobian=False)[0]
    loglik = summit.value + target.log_coefficient
    loss = -summit.value / target.effective
    if summit.sigma is not None:
        loss = float(summit.history[-1])
    return {
        "theta": theta,
        "flat": summit.flat,
        "status": summit.status,
        "loglik": loglik,
        "loss": loss,
        "log_posterior": loglik + float(prior),
        "gradient_norm": summit.gradient_norm,
        "steps": summit.steps,
        "history": summit.history,
        "sigma": summit.sigma,
    }


def _mle(
    spec: Spec,
    design: StreamedDesign,
    passes: Passes,
    options: Mapping[str, Any],
    errors: Mapping[str, Any],
) -> Result:
    target = passes.target
    gaussian = spec.family.has_sigma
    if gaussian:
        summit = least_squares(passes)
    else:
        expected = errors["information"] == "expected"
        summit = _summit(spec, design, passes, options, jacobian=False, expected=expected)
    cov = errors_of(spec, design, passes, summit.flat, summit.information, summit.sigma, errors)
    numbers = _numbers(target, summit)
    if not np.isfinite(cov).all():
        numbers["findings"] = (_no_covariance(),)
    return Result(method="mle", cov=cov, **numbers)


def _map(spec: Spec, design: StreamedDesign, passes: Passes, options: Mapping[str, Any]) -> Result:
    target = passes.target
    summit = _summit(spec, design, passes, options, jacobian=False, expected=False)
    hessian, edge = _hessian(target, summit, jacobian=False), target.at_edge(summit.flat)
    numbers = _numbers(target, summit)
    jacobian = to_reported(target, summit.flat)
    inverse = np.linalg.inv(hessian) if np.isfinite(hessian).all() else hessian
    cov = jacobian @ inverse @ jacobian.T
    findings = list(_aliased(summit))
    if edge:
        cov = np.full_like(cov, np.nan)
        numbers["status"] = Status.BOUNDARY
        findings.append(
            Finding(
                "boundary",
                "warning",
                f"The mode lies on the edge of the prior's support for {', '.join(edge)}, so there "
                "are no standard errors.",
                where=edge[0],
                advice="Use a prior that allows more.",
            )
        )
    return Result(method="map", cov=np.asarray(cov), findings=tuple(findings), **numbers)


def _hessian(target: Target, summit: Summit, *, jacobian: bool) -> np.ndarray:
    found = Expansion(summit.value, summit.gradient, summit.information, 0.0)
    return local(target, summit.flat, found, jacobian=jacobian)[2]


def _aliased(summit: Summit) -> tuple[Finding, ...]:
    if not summit.aliased:
        return ()
    told = "; ".join(str(alias) for alias in summit.aliased[:5])
    return (
        Finding(
            "aliased",
            "note",
            f"Some columns are linear combinations of others: {told}. The data speak of their "
            "joint effect alone; how it is shared out rests on the prior.",
            value=float(len(summit.aliased)),
            where=summit.aliased[0].name,
            advice='aliased="drop" leaves them out.',
        ),
    )


def _no_covariance() -> Finding:
    return Finding(
        "no-covariance",
        "warning",
        "The information matrix is not positive definite, so there are no standard errors.",
        advice="Use a proper prior, or drop predictors.",
    )


def _left_out(
    spec: Spec, design: StreamedDesign, priors: Priors, progress: bool | None
) -> tuple[StreamedDesign, Priors, tuple[Finding, ...]]:
    """Return the model without the columns that are combinations of columns before them."""
    target = template_of(spec, design, priors, flat=False)
    gram = passes_of(target, design, progress).normal_equations("columns")
    k = len(target.places)
    found = aliases_of(target, gram[0][:k, :k], gram[3])
    if not found:
        return design, priors, ()
    names = tuple(alias.name for alias in found)
    told = "; ".join(str(alias) for alias in found[:5])
    note = Finding(
        "aliased-dropped",
        "warning",
        f"Left out, being linear combinations of columns before them: {told}.",
        value=float(len(found)),
        where=names[0],
        advice="What the others say includes them.",
    )
    rest = design.without(names)
    return rest, priors.without(names), (note,)


def _laplace(
    spec: Spec,
    design: StreamedDesign,
    passes: Passes,
    method: str,
    options: Mapping[str, Any],
    seed: int,
) -> Result:
    target = passes.target
    summit = _summit(spec, design, passes, {}, jacobian=True, expected=False)
    hessian = _hessian(target, summit, jacobian=True)
    named = {name: options[name] for name in ("draws", "chains") if name in options}
    if isinstance(named.get("draws"), str):
        del named["draws"]
    result = approximate(passes, summit.flat, hessian, named, seed)
    return replace(
        result,
        gradient_norm=summit.gradient_norm,
        findings=(*_aliased(summit), *result.findings),
    )
