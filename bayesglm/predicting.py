"""Predictions of a fit: eta, probabilities and outcomes for old and new rows.

Draws are worked off in blocks, so that memory stays bounded whatever their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from bayesglm import design as designs
from bayesglm.errors import BayesGLMWarning, DataError, SpecificationError, explain
from bayesglm.precision import in_double

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["interval", "predict"]

KINDS = ("response", "link", "outcome")
# Bytes that a block of draws may take.
MEMORY = 64 * 2**20


def predict(fit: Fit, newdata: Any, *, kind: str, draws: bool, seed: int) -> np.ndarray:
    """Predict for rows; see `Fit.predict`."""
    if kind not in KINDS:
        raise SpecificationError(
            explain(
                "unknown kind of prediction", kind=kind, advice="use one of " + ", ".join(KINDS)
            )
        )
    matrix, offset, trials = _rows(fit, newdata)
    theta = _theta(fit)
    sigma = fit.result.draws.get("sigma", np.asarray(fit.result.sigma)).ravel()
    out = np.empty((len(theta), len(offset))) if draws else np.zeros(len(offset))
    generator = np.random.default_rng(seed)
    length = max(1, MEMORY // (8 * max(len(offset), 1)))
    for begin in range(0, len(theta), length):
        part = slice(begin, begin + length)
        values = linear(fit, theta[part], matrix, offset)
        if kind != "link":
            values = response(fit, values)
        if kind == "outcome":
            simulated = draws
            values = (
                _simulate(fit, generator, values, trials, sigma[part])
                if simulated
                else values * trials
            )
        if draws:
            out[part] = values
        else:
            out += values.sum(axis=0) / len(theta)
    return out


def interval(fit: Fit, newdata: Any, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities with their intervals; see `Fit.predict_interval`."""
    tails = (1 - level) / 2, (1 + level) / 2
    matrix, offset, _ = _rows(fit, newdata)
    if not isinstance(matrix, np.ndarray):
        matrix = matrix.tocsr()
    theta = _theta(fit)
    found = np.empty((3, len(offset)))
    width = max(len(theta), fit.design.p + 1)
    length = max(1, MEMORY // (8 * width))
    for begin in range(0, len(offset), length):
        part = slice(begin, begin + length)
        eta = linear(fit, theta, matrix[part], offset[part])
        if fit.result.draws:
            p = response(fit, eta)
            found[0, part], found[1:, part] = p.mean(axis=0), np.quantile(p, tails, axis=0)
        else:
            found[:, part] = _delta(fit, eta[0], matrix[part], tails[1])
    return found[0], found[1], found[2]


def _delta(fit: Fit, eta: np.ndarray, matrix: Any, tail: float) -> np.ndarray:
    """Return the response at eta and at the ends of its normal interval, shape (3, n)."""
    from scipy.stats import norm

    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    rows = np.column_stack([np.ones(len(eta)), dense]) if fit.design.intercept else dense
    reach = norm.ppf(tail) * np.sqrt(np.sum((rows @ fit.result.cov) * rows, axis=1))
    ends = np.stack([eta, eta - reach, eta + reach])
    if not fit.spec.family.has_sigma:
        ends = np.clip(ends, *fit.spec.link.domain)
    return response(fit, ends)


def _rows(fit: Fit, newdata: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    if newdata is None:
        design = fit.design
        if design.frame is None:
            raise DataError(explain("the fit was saved without its data", advice="give newdata"))
        return design.matrix, design.offset, design.trials
    rows = designs.encode(fit.design, newdata)
    if rows.findings:
        import warnings

        told = "\n".join(str(finding) for finding in rows.findings)
        warnings.warn(told, BayesGLMWarning, stacklevel=5)
    return rows.matrix, rows.offset, np.ones(rows.n)


def _theta(fit: Fit) -> np.ndarray:
    """Return the coefficients, shape (draws, k), or (1, k) for a point fit."""
    if not fit.result.draws:
        return fit.result.theta[None, :]
    draws = fit.theta_draws()
    return draws.reshape(-1, draws.shape[-1])


def linear(fit: Fit, theta: np.ndarray, matrix: Any, offset: np.ndarray) -> np.ndarray:
    """Return eta, shape (draws, n), of coefficients (draws, k)."""
    first = int(fit.design.intercept)
    eta = np.asarray((matrix @ theta[:, first:].T).T) + offset
    return eta + theta[:, :1] if first else eta


@in_double
def response(fit: Fit, eta: np.ndarray) -> np.ndarray:
    """Return the probability (the mean, for ``gaussian``) of each eta."""
    if fit.spec.family.has_sigma:
        return eta
    return np.asarray(fit.spec.link.inverse(jnp.asarray(eta)))


def _simulate(
    fit: Fit,
    generator: np.random.Generator,
    mean: np.ndarray,
    trials: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    if fit.spec.family.has_sigma:
        return generator.normal(mean, sigma[:, None].astype(float))
    if (trials != np.round(trials)).any():
        raise DataError(explain("outcomes can be simulated for whole numbers of trials only"))
    return generator.binomial(trials.astype(np.int64), np.clip(mean, 0, 1)).astype(float)
