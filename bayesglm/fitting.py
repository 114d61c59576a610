"""From a model and a method to a `Fit`: options checked, progress shown, findings gathered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import processes
from bayesglm.agreeing import agree, agreed_codes
from bayesglm.convergence import diagnose_draws
from bayesglm.errors import Finding, SeparationError, SpecificationError, Status, explain
from bayesglm.findings import given_up, left_out, of_data, without_end
from bayesglm.fit import Fit
from bayesglm.fitting_streamed import fit_streamed
from bayesglm.implied import target_of
from bayesglm.inference.checkpoint import Checkpoint
from bayesglm.inference.options import check_options, steps_of
from bayesglm.inference.run import run
from bayesglm.inference.sharding import mesh_of, over
from bayesglm.intervals import check_interval, profiled
from bayesglm.packing import pack
from bayesglm.progress import bar
from bayesglm.standard_errors import NETWORK_ERRORS
from bayesglm.streaming.streamed import StreamedDesign

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["fit_model", "seed_of", "versions"]

# Of the interval that a printed fit shows.
LEVEL = 0.95
# What the draws of a run depend on beside its seed and options.
PACKAGES = ("bayesglm", "jax", "jaxlib", "numpyro", "numpy")


def fit_model(
    spec: Spec,
    design: Design,
    priors: Priors,
    method: str,
    options: Mapping[str, Any],
    *,
    seed: int,
    progress: bool | None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Fit a model; see `bayesglm.Model.fit`.

    Parameters
    ----------
    spec, design, priors : Spec, Design, Priors
        The model.
    method : str
    options : mapping
        Of the method; None is an option left out.
    seed : int
    progress : bool or None
    checkpoint : Checkpoint, optional
        Where a run goes on from.
    """
    check_options(method, options)
    begin = time.perf_counter()
    chosen = {name: value for name, value in options.items() if value is not None}
    _refuse_errors_of_networks(spec, chosen)
    errors = _errors(spec, chosen) if method == "mle" else {}
    if method == "mle":
        check_interval(errors["ci"], spec, method, errors, chosen.get("bias_reduction"))
    chosen |= errors
    if isinstance(design, StreamedDesign):
        return fit_streamed(
            spec, design, priors, method, chosen, errors, seed=seed, progress=progress
        )
    path = chosen.pop("checkpoint", None)
    mesh = mesh_of(chosen)
    dropped: tuple[Finding, ...] = ()
    several = processes.several(mesh)
    if several:
        with processes.meeting(mesh):
            design, priors = agree(spec, design, chosen | {"method": method, "seed": seed})
        progress = progress if processes.index() == 0 else False
    if chosen.pop("aliased", "error") == "drop":
        design, priors, dropped = left_out(spec, design, priors)
    if path is not None and checkpoint is None:
        own = processes.own_path(path) if several else Path(path)
        checkpoint = _new_checkpoint(own, spec, design, priors, seed, chosen)
    if several and checkpoint is not None and checkpoint.saved is not None:
        with processes.meeting(mesh):
            # The processes were not stopped at the same step.
            checkpoint.saved = processes.first(*checkpoint.saved)
    # Mini-batches and held-out rows are of the rows as they came.
    words: dict[str, Any] = {"merged": not {"batch_size", "validation"} & set(chosen)}
    if errors.get("cluster") is not None:
        name = errors["cluster"]
        words["cluster"] = agreed_codes(design, name) if several else design.cluster(name)
    steps = steps_of(method, chosen, networks=bool(spec.add))
    # What one compiled call finishes needs no bar.
    try:
        with (
            processes.meeting(mesh),
            bar(method, steps, progress=progress if steps else False) as report,
        ):
            build = partial(target_of, spec, design, priors, flat=method == "mle")
            result = run(
                over(build, words, mesh),
                method,
                chosen,
                seed=seed,
                weights_kind=spec.weights_kind,
                report=report,
                checkpoint=checkpoint,
            )
    except SeparationError as error:
        if several:
            # What separates the outcome cannot be told from the rows held here.
            raise
        raise without_end(spec, design, priors, method, error) from None
    if result.status == Status.SEPARATED:
        result = given_up(spec, design, result)
    fit = Fit(
        spec=spec,
        design=design,
        priors=priors,
        result=result,
        seconds=time.perf_counter() - begin,
        errors=errors,
    )
    profile: tuple[Finding, ...] = ()
    if errors.get("ci") == "profile":
        result.profile[LEVEL], profile = profiled(fit, LEVEL)
        fit = replace(fit, seconds=time.perf_counter() - begin)
    found = (
        *dropped,
        *result.findings,
        *profile,
        *diagnose_draws(fit),
        *_pseudo_likelihood(spec, design, method),
        *(() if several else of_data(spec, design, priors, result)),
    )
    options = result.options
    if result.draws or spec.add:
        options = {**options, "seed": seed}
    return replace(fit, result=replace(result, findings=found, options=options))


def versions() -> dict[str, str]:
    """Return the versions that draws depend on."""
    return {name: version(name) for name in PACKAGES}


def _new_checkpoint(
    path: Path, spec: Spec, design: Design, priors: Priors, seed: int, chosen: Mapping[str, Any]
) -> Checkpoint:
    if path.exists():
        raise SpecificationError(
            explain(
                "the checkpoint exists already, and would be lost",
                checkpoint=str(path),
                advice=f"bayesglm.resume({str(path)!r}) goes on with it; or take another name",
            )
        )
    if not path.parent.is_dir():
        raise SpecificationError(
            explain("there is no such folder for the checkpoint", checkpoint=str(path))
        )
    plain = {n: v.item() if isinstance(v, np.generic) else v for n, v in chosen.items()}
    told = {"seed": seed, "options": plain, "versions": versions()}
    return Checkpoint(path, {"model": pack(spec, design, priors)}, told)


def _refuse_errors_of_networks(spec: Spec, chosen: Mapping[str, Any]) -> None:
    asked = sorted({"cov", "information", "cluster"} & set(chosen))
    if spec.add and asked:
        raise SpecificationError(
            explain(
                "a network's likelihood gives no standard errors",
                advice=NETWORK_ERRORS,
                **{asked[0]: chosen[asked[0]]},
            )
        )


def _errors(spec: Spec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the covariance, and the interval, as they will be computed, in words."""
    robust = spec.family.has_sigma or spec.weights_kind == "sampling"
    return {
        "cov": options.get("cov", "HC1" if robust else "nonrobust"),
        "information": options.get("information", "expected"),
        "cluster": options.get("cluster"),
        "ci": options.get("ci", "wald"),
    }


def _pseudo_likelihood(spec: Spec, design: Design, method: str) -> tuple[Finding, ...]:
    if method == "mle" or spec.weights_kind != "sampling":
        return ()
    return (
        Finding(
            "pseudo-likelihood",
            "warning",
            "With sampling weights the posterior is that of a pseudo-likelihood: its spread "
            "takes the sum of the weights for the number of rows.",
            value=design.effective,
            advice='Use fit("mle"), whose errors are robust, or scale the weights.',
        ),
    )


def seed_of(seed: int | np.random.Generator | None) -> int:
    """Return a seed as a whole number below 2**31."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**31))
    if seed is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed >= 0:
        return int(seed)
    raise SpecificationError(
        explain("seed must be a whole number, a numpy Generator or None", seed=seed)
    )
