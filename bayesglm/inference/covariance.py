"""Covariance of an optimum: inverse information, sandwich, clustered sandwich.

A row with frequency weight w and t trials, y of them successes, stands for w y copies with score
s_1 = d log p / d eta and w (t - y) copies with score s_0 = d log(1-p) / d eta. So the sandwich's
meat is sum w (y s_1² + (t - y) s_0²) x x', the same for aggregated and expanded data. With
sampling weights a row is one observation, and its whole score is squared: sum (w s)² x x'.

References
----------
White (1980), Econometrica 48; MacKinnon & White (1985), J. Econometrics 29 (HC1 to HC3);
Liang & Zeger (1986), Biometrika 73 (clusters).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.generative import Data, Structure, eta_at, log_density, log_prior
from bayesglm.inference.newton import curvature
from bayesglm.inference.sharding import largest, total, totals
from bayesglm.precision import scope
from bayesglm.shards import on_rows

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = [
    "Covariance",
    "Information",
    "check_words",
    "covariance",
    "gauss_newton_at",
    "gradient_at",
    "hessian_at",
    "invert",
    "row_scores",
]

type Covariance = Literal["nonrobust", "HC0", "HC1", "HC2", "HC3"]
type Information = Literal["expected", "observed"]


def check_words(cov: str, information: str) -> None:
    """Refuse unknown names of covariances.

    Raises
    ------
    SpecificationError
        Naming the known ones.
    """
    for name, word, alias in (("cov", cov, Covariance), ("information", information, Information)):
        known = get_args(alias.__value__)
        if word not in known:
            raise SpecificationError(
                explain(
                    f"unknown {name}{suggest(word, known)}",
                    advice="use one of " + ", ".join(known),
                    **{name: word},
                )
            )


def invert(hessian: np.ndarray) -> np.ndarray:
    """Invert a symmetric positive definite matrix, scaled to a unit diagonal; NaN if it is not.

    Examples
    --------
    >>> invert(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    diagonal = np.diagonal(hessian)
    if not (np.isfinite(hessian).all() and (diagonal > 0).all()):
        return np.full_like(hessian, np.nan)
    scale = np.sqrt(diagonal)
    try:
        factor = np.linalg.cholesky(hessian / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return np.full_like(hessian, np.nan)
    half = np.linalg.inv(factor)
    return np.asarray(half.T @ half / np.outer(scale, scale))


@partial(jax.jit, static_argnames=("structure", "linear", "expected", "jacobian"))
def _curvature(
    structure: Structure, data: Data, flat: Array, *, linear: bool, expected: bool, jacobian: bool
) -> Array:
    return curvature(structure, data, flat, linear=linear, expected=expected, jacobian=jacobian)


def hessian_at(target: Target, flat: np.ndarray, *, information: str, jacobian: bool) -> np.ndarray:
    """Return the negative Hessian or the expected information of the flat density."""
    with scope(target.precision):
        return np.asarray(
            _curvature(
                target.structure,
                target.arrays,
                jnp.asarray(flat, target.data.y.dtype),
                linear=target.rowwise,
                expected=information == "expected",
                jacobian=jacobian,
            ),
            float,
        )


@partial(jax.jit, static_argnames=("structure",))
def _gauss_newton(structure: Structure, data: Data, flat: Array) -> Array:
    eta = eta_at(structure, data, flat)
    slopes = jax.jacfwd(lambda f: eta_at(structure, data, f))(flat)
    if structure.family.has_sigma:
        rows = data.weights * jnp.exp(-2 * flat[-1])
    else:
        rows = data.weights * structure.family.information(eta, data.trials, structure.link)
    rows = jnp.where(data.weights > 0, rows, 0.0)
    prior = jax.hessian(lambda f: log_prior(structure, data, f, jacobian=False))(flat)
    total = slopes.T @ (rows[:, None] * slopes) - prior
    if structure.family.has_sigma:
        total = total.at[-1, -1].add(2 * jnp.sum(data.weights))
    return total


def gauss_newton_at(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the generalised Gauss-Newton matrix J'WJ of the density, plus the prior's Hessian.

    J is the Jacobian of eta, W the expected information in eta. Unlike minus the Hessian of a
    network it is positive definite under proper priors, away from the exact mode too.

    References
    ----------
    Martens (2020), JMLR 21(146), section 8; Immer, Korzepa & Bauer (2021), AISTATS.
    """
    with scope(target.precision):
        data = target.arrays
        point = jnp.asarray(flat, target.data.y.dtype)
        return np.asarray(_gauss_newton(target.structure, data, point), float)


@partial(jax.jit, static_argnames=("structure",))
def _gradient(structure: Structure, data: Data, flat: Array) -> Array:
    return jax.grad(lambda f: log_density(structure, data, f, jacobian=True))(flat)


def gradient_at(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the gradient of the unconstrained log density, shape (size,)."""
    with scope(target.precision):
        data = target.arrays
        point = jnp.asarray(flat, target.data.y.dtype)
        return np.asarray(_gradient(target.structure, data, point), float)


@partial(jax.jit, static_argnames=("structure", "sampling"))
def row_scores(
    structure: Structure,
    data: Data,
    flat: Array,
    sigma: Array,
    bread: Array,
    copies: Array | None,
    *,
    sampling: bool,
) -> tuple[Array, Array, Array]:
    """Return the squared scores and the signed scores by row, and the leverage of one copy.

    With sampling weights a row may stand for ``copies`` equal ones, whose weights it has the sum of.
    """
    matrix = data.parts[0].matrix
    theta = flat[: matrix.shape[0]]
    eta = data.offset + matrix.dot(theta)
    w, y, t = data.weights, data.y, data.trials
    family, link = structure.family, structure.link
    if family.has_sigma:
        total = (y - eta) / sigma**2
        square = w * total**2
        information = jnp.ones_like(eta) / sigma**2
    else:
        up, down = family.outcome_scores(eta, link)
        hit = jnp.where(y > 0, y * up, 0.0)
        miss = jnp.where(t - y > 0, (t - y) * down, 0.0)
        total = hit + miss
        square = w * (
            jnp.where(y > 0, y * up**2, 0.0) + jnp.where(t - y > 0, (t - y) * down**2, 0.0)
        )
        information = family.information(eta, t, link) / t
    if sampling:
        number = 1.0 if copies is None else copies
        square = (w * total) ** 2 / number
        information = information * w / number
    live = w > 0
    leverage = information * matrix.quadratic(bread)
    return (
        jnp.where(live, square, 0.0),
        jnp.where(live, w * total, 0.0),
        jnp.where(live, leverage, 0.0),
    )


@jax.jit
def _meat(data: Data, rows: Array) -> Array:
    return data.parts[0].matrix.gram(rows)


@partial(jax.jit, static_argnames=("groups",))
def _cluster_meat(data: Data, rows: Array, codes: Array, *, groups: int) -> Array:
    sums = data.parts[0].matrix.group_sums(rows, codes, groups)
    return sums.T @ sums


def covariance(
    target: Target,
    flat: np.ndarray,
    *,
    cov: str = "nonrobust",
    information: str = "expected",
    weights_kind: str = "frequency",
    sigma: float | None = None,
) -> np.ndarray:
    """Return the covariance of the reported coefficients at an optimum (link scale).

    With clusters in the target it is the CR1 sandwich with the factor
    G / (G - 1) * (n - 1) / (n - k), as R's ``sandwich::vcovCL(type="HC1")``.

    Parameters
    ----------
    target : Target
        The model on its data.
    flat : ndarray, shape (size,)
        The optimum.
    cov : {"nonrobust", "HC0", "HC1", "HC2", "HC3"}
        Inverse information, or the sandwich with that small-sample factor: HC1 is n / (n - k) with
        n = sum of weights times trials (rows, with sampling weights); HC2 and HC3 divide each
        copy's squared score by 1 - h and (1 - h)², h the leverage of one copy.
    information : {"expected", "observed"}
        Which information is inverted: Fisher's (as R's glm) or minus the Hessian (as Stata).
    weights_kind : {"frequency", "sampling"}
        What a weight means.
    sigma : float, optional
        Residual standard deviation of the ``gaussian`` family.

    Returns
    -------
    ndarray, shape (k, k)
        NaN where the information is not positive definite.
    """
    size = target.data.parts[0].matrix.shape[0]
    places = target.places
    if target.structure.family.has_sigma:
        with scope(target.precision):
            data = target.arrays
            gram = np.asarray(_meat(data, data.weights), float)
        hessian = gram / float(sigma or 1.0) ** 2
    else:
        hessian = hessian_at(target, flat, information=information, jacobian=False)[:size, :size]
    bread = np.zeros((size, size))
    bread[np.ix_(places, places)] = invert(hessian[np.ix_(places, places)])
    middle = bread
    if cov != "nonrobust" or target.cluster is not None:
        middle = bread @ _sandwich_meat(target, flat, bread, cov, weights_kind, sigma) @ bread
    jacobian = target.to_reported()[:, :size]
    return np.asarray(jacobian @ middle @ jacobian.T)


def _sandwich_meat(
    target: Target,
    flat: np.ndarray,
    bread: np.ndarray,
    cov: str,
    weights_kind: str,
    sigma: float | None,
) -> np.ndarray:
    k = len(target.places)
    sampling = weights_kind == "sampling"
    live = np.asarray(target.data.weights) > 0
    rows = live if target.copies is None else live * target.copies
    n = total(target, rows) if sampling else target.effective
    with scope(target.precision):
        data = target.arrays
        number = data.y.dtype
        square, signed, leverage = row_scores(
            target.structure,
            data,
            jnp.asarray(flat, number),
            jnp.asarray(1.0 if sigma is None else sigma, number),
            jnp.asarray(bread, number),
            None if target.copies is None else on_rows(target.copies.astype(number), target.mesh),
            sampling=sampling,
        )
        if target.cluster is not None:
            groups = largest(target, int(target.cluster.max())) + 1
            codes = np.zeros(len(live), np.int32)
            codes[: target.n] = target.cluster
            present = int((totals(target, np.bincount(codes[live], minlength=groups)) > 0).sum())
            if present < 2:
                raise SpecificationError(
                    explain("clustered errors need two clusters at least", clusters=present)
                )
            meat = _cluster_meat(data, signed, on_rows(codes, target.mesh), groups=groups)
            # Clusters are counted in rows with sampling weights, else in copies.
            return np.asarray(meat, float) * present / (present - 1) * (n - 1) / (n - k)
        power = {"HC2": 1, "HC3": 2}.get(cov, 0)
        scores = square / jnp.maximum(1 - leverage, 1e-12) ** power
        meat = np.asarray(_meat(data, scores), float)
    if cov != "HC1":
        return meat
    # Where there are no more rows than coefficients there is no such factor, and no error.
    return meat * (n / (n - k) if n > k else np.nan)
