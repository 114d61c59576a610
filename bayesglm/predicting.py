"""Predictions of a fit: eta, probabilities and outcomes for old and new rows.

Draws are worked off in blocks, so that memory stays bounded whatever their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from bayesglm.errors import BayesGLMWarning, DataError, SpecificationError, explain
from bayesglm.group_effects import GroupPoints, Which, chosen, group_points, known_groups
from bayesglm.grouping import NewGroups
from bayesglm.inference.evaluation import named_draws
from bayesglm.inference.predictive import networks_eta
from bayesglm.inference.target import against
from bayesglm.link_shapes import bound_link, by_shape, shape_values
from bayesglm.newdata import NewRows, encode
from bayesglm.precision import in_double

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["eta", "interval", "joint_rows", "points_of", "predict", "response"]

KINDS = ("response", "link", "outcome")
# Of the quadrature over new groups.
NODES = 32
# Bytes that a block of draws may take.
MEMORY = 64 * 2**20


@dataclass(frozen=True)
class _Points:
    """What predictions are made from: coefficients (s, k), and for networks flat vectors (s, size).

    ``groups`` are the effects of each factor, ``shape`` is what was learned of the link's (s,). The s are posterior draws, members of an ensemble, or the one estimate.
    """

    theta: np.ndarray
    flat: np.ndarray | None
    projections: Mapping[str, np.ndarray]
    groups: tuple[GroupPoints, ...] = ()
    shape: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, part: slice | np.ndarray) -> _Points:
        flat = None if self.flat is None else self.flat[part]
        chosen = {name: values[part] for name, values in self.projections.items()}
        groups = tuple(each[part] for each in self.groups)
        shape = {name: values[part] for name, values in self.shape.items()}
        return _Points(self.theta[part], flat, chosen, groups, shape)

    def __len__(self) -> int:
        return len(self.theta)


def predict(
    fit: Fit,
    newdata: Any,
    *,
    kind: str,
    draws: bool,
    seed: int,
    groups: Which = "all",
    new_groups: str = "error",
) -> np.ndarray:
    """Predict for rows; see `Fit.predict`."""
    if kind not in KINDS:
        raise SpecificationError(
            explain(
                "unknown kind of prediction", kind=kind, advice="use one of " + ", ".join(KINDS)
            )
        )
    rows, trials = _rows(fit, newdata, groups, NewGroups.make(new_groups, seed))
    points = points_of(fit)
    extra = added_variance(points, rows)
    sigma = fit.result.draws.get("sigma", np.asarray(fit.result.sigma)).ravel()
    out = np.empty((len(points), rows.n)) if draws else np.zeros(rows.n)
    generator = np.random.default_rng(seed)
    length = max(1, MEMORY // (8 * max(rows.n, 1)))
    for begin in range(0, len(points), length):
        part = slice(begin, begin + length)
        values = eta(fit, points[part], rows)
        if kind != "link":
            some = points[part]
            values = (
                response(fit, values, some) if extra is None else averaged(fit, values, some, extra)
            )
        if kind == "outcome":
            spread = sigma if len(sigma) == 1 else sigma[part]
            simulated = draws
            values = (
                _simulate(fit, generator, values, trials, spread) if simulated else values * trials
            )
        if draws:
            out[part] = values
        else:
            out += values.sum(axis=0) / len(points)
    return out


def interval(
    fit: Fit,
    newdata: Any,
    level: float,
    *,
    groups: Which = "all",
    new_groups: str = "error",
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities with their intervals; see `Fit.predict_interval`."""
    tails = (1 - level) / 2, (1 + level) / 2
    rows, _ = _rows(fit, newdata, groups, NewGroups.make(new_groups, seed))
    points = points_of(fit)
    found = np.empty((3, rows.n))
    width = max(len(points), fit.design.p + 1, *(v.shape[-1] for v in fit.result.joint.values()), 0)
    length = max(1, MEMORY // (8 * width))
    for begin in range(0, rows.n, length):
        part = slice(begin, begin + length)
        some = rows[part]
        values = eta(fit, points, some)
        if len(points) > 1:
            p = response(fit, values, points)
            found[0, part], found[1:, part] = p.mean(axis=0), np.quantile(p, tails, axis=0)
        elif fit.design.inputs:
            # The estimate of a network comes without a covariance.
            found[0, part], found[1:, part] = response(fit, values[0], points), np.nan
        else:
            found[:, part] = _delta(fit, values[0], some, points, tails[1])
    return found[0], found[1], found[2]


def _delta(fit: Fit, eta: np.ndarray, some: NewRows, points: _Points, tail: float) -> np.ndarray:
    """Return the response at eta and at the ends of its normal interval, shape (3, n)."""
    from scipy.special import ndtri

    matrix, extra = some.matrix, added_variance(points, some)
    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    rows = np.column_stack([np.ones(len(eta)), dense]) if fit.design.intercept else dense
    if fit.spec.shape:
        return _shaped(fit, eta, rows, points, tail)
    variance = (
        _joint_variance(fit, rows, points, some)
        if some.groups
        else np.sum((rows @ fit.result.cov) * rows, axis=1)
    )
    # A sandwich knows no error where a row is alone in its cell: 0, but for rounding.
    scale = 1.0 if fit.result.sigma is None else float(fit.result.sigma) ** 2
    variance[np.abs(variance) < 1e-12 * scale] = 0.0
    # Far from 0 the terms cancel, and what is left may be below 0: that has no root.
    with np.errstate(invalid="ignore"):
        reach = ndtri(tail) * np.sqrt(variance)
    ends = np.stack([eta, eta - reach, eta + reach])
    if not fit.spec.family.has_sigma:
        ends = np.clip(ends, *fit.spec.link.domain)
    found = response(fit, ends, points).copy()
    if extra is not None:
        found[0] = averaged(fit, eta, points, extra)
    return found


def _shaped(
    fit: Fit, eta: np.ndarray, rows: np.ndarray, points: _Points, tail: float
) -> np.ndarray:
    """Return p and the ends of its interval, normal for its log odds, where F is uncertain too."""
    from scipy.special import expit, logit, ndtri

    p = response(fit, eta, points)
    sd = np.sqrt(np.sum(odds_slopes(fit, eta, rows, points) ** 2, axis=1))
    with np.errstate(divide="ignore"):
        middle = logit(p)
    reach = ndtri(tail) * sd
    return np.stack([p, expit(middle - reach), expit(middle + reach)])


@in_double
def odds_slopes(fit: Fit, eta: np.ndarray, rows: np.ndarray, points: _Points) -> np.ndarray:
    """Return how log(p / (1 - p)) varies with the numbers behind `Result.joint`, shape (n, d)."""
    joint = fit.result.joint
    if not joint:
        return np.full((len(eta), 1), np.nan)
    link: Any = bound_link(fit.spec.link, points.shape)
    _, _, a, b = link.parts(jnp.asarray(eta))
    found = np.asarray(a - b)[:, None] * (rows @ joint["theta"])
    # What lies at the end of its range does not vary.
    names = [name for name in fit.spec.shape if joint[name].any()]
    log_p, log_q = by_shape(link, eta, names)
    for name in names:
        found += (log_p[name] - log_q[name])[:, None] * joint[name]
    return found


def joint_rows(
    fit: Fit, some: NewRows, rows: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return how eta of rows varies around a point estimate, effects together with coefficients.

    Parameters
    ----------
    fit : Fit
        With ``result.joint``.
    some : NewRows
    rows : ndarray, shape (n, k)
        Its matrix, the constant first.

    Returns
    -------
    along : ndarray, shape (n, d)
        Times d standard normal numbers.
    own : dict of str to ndarray, shape (n, q)
        By the factor whose effects vary besides, times q numbers of each row's own group.
    """
    joint = fit.result.joint
    along, own = rows @ joint["theta"], {}
    for name, group in some.groups.items():
        known = group.codes >= 0
        columns, codes = group.matrix[known], group.codes[known]
        parts = joint[name].reshape(-1, group.matrix.shape[1], along.shape[1])
        along[known] += np.einsum("nq,nqd->nd", columns, parts[codes])
        if f"{name}_inner" in joint:
            own[name] = np.zeros(group.matrix.shape)
            own[name][known] = np.einsum("nq,nqr->nr", columns, joint[f"{name}_inner"][codes])
    return along, own


def _joint_variance(fit: Fit, rows: np.ndarray, points: _Points, some: NewRows) -> np.ndarray:
    """Return the variance of eta by coefficients and group effects together, shape (n,)."""
    if not fit.result.joint:
        return np.full(len(rows), np.nan)
    along, own = joint_rows(fit, some, rows)
    total = np.sum(along**2, axis=1)
    for part in own.values():
        total += np.sum(part**2, axis=1)
    for each in points.groups:
        if each.name in some.groups:
            total += each.variance(some.groups[each.name])
    return total


def added_variance(points: _Points, rows: NewRows) -> np.ndarray | None:
    """Return the variance of eta that new groups add to a point estimate, or None."""
    parts = [
        each.variance(rows.groups[each.name]) for each in points.groups if each.name in rows.groups
    ]
    total = np.sum(parts, axis=0) if parts else np.zeros(1)
    return total if total.any() else None


def averaged(fit: Fit, eta: np.ndarray, points: _Points, variance: np.ndarray) -> np.ndarray:
    """Return the mean response over normal eta, by Gauss-Hermite quadrature along the last axis."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    total = np.zeros_like(eta)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * response(fit, eta + node * np.sqrt(variance), points)
    return total


def _rows(fit: Fit, newdata: Any, groups: Which, new: NewGroups) -> tuple[NewRows, np.ndarray]:
    if newdata is None:
        design = fit.design
        if design.frame is None:
            raise design.no_rows()
        inputs = tuple(part.matrix for part in design.inputs)
        rows = NewRows(
            design.matrix, design.offset, design.index, (), inputs, known_groups(design, groups)
        )
        return rows, design.trials
    rows = encode(fit.design, newdata, chosen(fit.design, groups), new)
    if rows.findings:
        import warnings

        told = "\n".join(str(finding) for finding in rows.findings)
        warnings.warn(told, BayesGLMWarning, stacklevel=5)
    return rows, np.ones(rows.n)


def points_of(fit: Fit) -> _Points:
    """Return the draws, members or estimate of a fit that predictions are made from."""
    result = fit.result
    if not fit.design.inputs:
        own = group_points(fit), shape_values(fit)
        if not result.draws:
            return _Points(result.theta[None, :], None, {}, *own)
        draws = fit.theta_draws()
        return _Points(draws.reshape(-1, draws.shape[-1]), None, {}, *own)
    if result.flat_draws is not None:
        flat, named = result.flat_draws, result.draws
    else:
        flat = (result.flat[None] if result.members is None else result.members)[None]
        named = named_draws(fit.target, flat)
    head = [named["Intercept"][..., None]] if fit.design.intercept else []
    theta = np.concatenate([*head, named["beta"]], axis=-1)
    names = [network.projection for network, _ in fit.target.networks]
    together = flat.shape[0] * flat.shape[1]
    return _Points(
        theta.reshape(together, -1) if theta.size else np.empty((together, 0)),
        flat.reshape(together, -1),
        {n: named[n].reshape(together, -1) for n in names if n in named},
    )


def averaged_points(points: _Points) -> _Points:
    """Return the posterior mean of coefficients, group effects and shape, as one point."""
    groups = tuple(
        GroupPoints(each.name, each.effects.mean(axis=0, keepdims=True), each.roots[:1])
        for each in points.groups
    )
    shape = {name: values.mean(keepdims=True) for name, values in points.shape.items()}
    return _Points(points.theta.mean(axis=0, keepdims=True), points.flat, {}, groups, shape)


def eta(fit: Fit, points: _Points, rows: NewRows) -> np.ndarray:
    """Return eta (link scale), shape (s, n)."""
    first = int(fit.design.intercept)
    theta = points.theta
    # Draws by rows as they lie in memory: what comes next runs along the rows.
    dense = isinstance(rows.matrix, np.ndarray)
    values = theta[:, first:] @ rows.matrix.T if dense else (rows.matrix @ theta[:, first:].T).T
    values = np.asarray(values) + rows.offset
    if first:
        values += theta[:, :1]
    for each in points.groups:
        if each.name in rows.groups:
            values += each.eta(rows.groups[each.name])
    if points.flat is None:
        return values
    columns = [
        against(network, inputs, rows.matrix, fit.design.intercept, fit.priors.center)
        for network, inputs in zip(fit.spec.add, fit.design.inputs, strict=True)
    ]
    return values + networks_eta(fit.target, points.flat, points.projections, rows.inputs, columns)


@in_double
def response(fit: Fit, eta: np.ndarray, points: _Points) -> np.ndarray:
    """Return the probability (the mean, for ``gaussian``) of each eta, (s, n) at s points."""
    if fit.spec.family.has_sigma:
        return eta
    return np.asarray(bound_link(fit.spec.link, points.shape).inverse(jnp.asarray(eta)))


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
