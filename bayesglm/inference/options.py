"""The options of each method: their names and types, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import optax

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.inference.bias_reduction import check_reduction
from bayesglm.inference.covariance import check_words
from bayesglm.inference.importance import FACTOR
from bayesglm.inference.local import TRAINING
from bayesglm.inference.nuts import FIRST, LONG_WARMUP, WARMUP, Settings
from bayesglm.inference.optimize import DEFAULTS
from bayesglm.inference.training import Plan
from bayesglm.inference.variational import GUIDES, STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from jax.sharding import Mesh
    from numpy.typing import ArrayLike

__all__ = [
    "METHODS",
    "OPTIONS",
    "AutoOptions",
    "LaplaceOptions",
    "MapOptions",
    "MleOptions",
    "NutsOptions",
    "SviOptions",
    "check_options",
    "steps_of",
]


class SharedOptions(TypedDict, total=False):
    """Options of every method; None is an option left out."""

    aliased: Literal["error", "drop"] | None
    mesh: Mesh | int | Literal["auto"] | None


class MapOptions(SharedOptions, total=False):
    """Options of an optimiser."""

    separation: Literal["error", "warn"] | None
    optimizer: Literal["newton", "lbfgs", "adam", "gd"] | optax.GradientTransformation | None
    steps: int | None
    learning_rate: float | None
    memory: int | None
    tolerance: float | None
    init: ArrayLike | None
    batch_size: int | None
    validation: float | None
    patience: int | None
    starts: int | None
    ensemble: int | None


class MleOptions(MapOptions, total=False):
    """Options of maximum likelihood."""

    cov: Literal["nonrobust", "HC0", "HC1", "HC2", "HC3"] | None
    information: Literal["expected", "observed"] | None
    cluster: str | None
    bias_reduction: Literal["jeffreys", "firth"] | None
    ci: Literal["wald", "profile"] | None


class AutoOptions(SharedOptions, total=False):
    """Options of whichever does: of the sampler, should it come to that."""

    draws: int | Literal["auto"] | None
    warmup: int | None
    chains: int | None
    target_accept: float | None
    max_tree_depth: int | None
    ess: int | None
    max_draws: int | None


class NutsOptions(AutoOptions, total=False):
    """Options of the sampler."""

    checkpoint: str | Path | None


class LaplaceOptions(SharedOptions, total=False):
    """Options of the Laplace approximation."""

    draws: int | None
    chains: int | None


class SviOptions(SharedOptions, total=False):
    """Options of stochastic variational inference."""

    guide: Literal["full", "low_rank", "mean_field"] | None
    steps: int | None
    learning_rate: float | None
    particles: int | None
    draws: int | None
    chains: int | None


OPTIONS: dict[str, tuple[str, ...]] = {
    method: tuple(options.__annotations__)
    for method, options in (
        ("mle", MleOptions),
        ("map", MapOptions),
        ("laplace", LaplaceOptions),
        ("svi", SviOptions),
        ("nuts", NutsOptions),
        ("auto", AutoOptions),
    )
}
METHODS = tuple(OPTIONS)
# Positive whole numbers.
WHOLE = (
    *("steps", "memory", "batch_size", "patience", "starts", "ensemble"),
    *("draws", "chains", "max_tree_depth", "particles", "ess", "max_draws"),
)


def steps_of(method: str, options: Mapping[str, Any], *, networks: bool) -> int:
    """Return how many steps a progress bar has to show; 0 where one compiled call does it all.

    Examples
    --------
    >>> steps_of("nuts", {"chains": 2, "draws": 500}, networks=False)
    1600
    """
    if method in ("nuts", "laplace", "auto"):
        settings = Settings()
        warmup = options.get("warmup", LONG_WARMUP if networks else WARMUP)
        chains = options.get("chains", settings.chains)
        draws = options.get("draws", settings.draws)
        draws = FIRST if draws == "auto" else draws
        return int(chains * (FACTOR * draws if method == "laplace" else draws + warmup))
    if method == "svi":
        return int(options.get("steps", STEPS))
    trained = networks or any(options.get(name) is not None for name in TRAINING)
    if not trained or options.get("optimizer") in ("lbfgs", "newton"):
        return 0
    return int(options.get("steps", Plan().steps))


CHOICES = {"separation": ("error", "warn"), "aliased": ("error", "drop")}


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown method or option, and values that make no sense.

    Raises
    ------
    SpecificationError
        Naming the known ones.
    """
    if method not in OPTIONS:
        raise SpecificationError(
            explain(
                f"unknown method{suggest(method, METHODS)}",
                method=method,
                advice="use one of " + ", ".join(METHODS),
            )
        )
    for name in options:
        if name not in OPTIONS[method]:
            raise SpecificationError(
                explain(
                    f'method "{method}" has no option "{name}"{suggest(name, OPTIONS[method])}',
                    advice="its options are " + ", ".join(sorted(OPTIONS[method])),
                )
            )
    # None is an option left out.
    options = {name: value for name, value in options.items() if value is not None}
    optimizer = options.get("optimizer", "newton")
    known = ("newton", *DEFAULTS)
    if isinstance(optimizer, str):
        if optimizer not in known:
            raise SpecificationError(
                explain(
                    f"unknown optimizer{suggest(optimizer, known)}",
                    optimizer=optimizer,
                    advice=f"use one of {', '.join(known)}, or an optax.GradientTransformation",
                )
            )
    elif not isinstance(optimizer, optax.GradientTransformation):
        raise SpecificationError(
            explain(
                "optimizer must be a name or an optax.GradientTransformation",
                optimizer=type(optimizer).__name__,
            )
        )
    automatic = method in ("nuts", "auto") and options.get("draws") == "auto"
    needless = [name for name in ("ess", "max_draws") if name in options and not automatic]
    if needless:
        raise SpecificationError(
            explain(
                f'{needless[0]} says when draws="auto" ends',
                draws=options.get("draws", Settings().draws),
                advice='use draws="auto", or leave it out',
            )
        )
    guide = options.get("guide", "full")
    if not isinstance(guide, str) or guide not in GUIDES:
        raise SpecificationError(
            explain(
                f"unknown guide{suggest(str(guide), tuple(GUIDES))}",
                guide=guide,
                advice="use one of " + ", ".join(GUIDES),
            )
        )
    for name, words in CHOICES.items():
        word = options.get(name)
        if word is not None and word not in words:
            raise SpecificationError(
                explain(
                    f"unknown {name}{suggest(word, words)}",
                    advice="use one of " + ", ".join(words),
                    **{name: word},
                )
            )
    for name in WHOLE:
        value = options.get(name)
        if name == "draws" and automatic:
            continue
        if value is not None and not (isinstance(value, (int, np.integer)) and value >= 1):
            raise SpecificationError(explain(f"{name} must be a positive integer", **{name: value}))
    warmup = options.get("warmup", 0)
    if not (isinstance(warmup, (int, np.integer)) and warmup >= 0):
        raise SpecificationError(explain("warmup must be an integer, 0 or more", warmup=warmup))
    infinity = np.inf
    limits = {"learning_rate": infinity, "tolerance": infinity, "target_accept": 1, "validation": 1}
    for name, upper in limits.items():
        value = options.get(name)
        real = isinstance(value, (int, float, np.number))
        if value is not None and not (real and 0 < value < upper):
            raise SpecificationError(
                explain(f"{name} must be a number between 0 and {upper}", **{name: value})
            )
    check_words(options.get("cov", "nonrobust"), options.get("information", "expected"))
    check_reduction(options)
