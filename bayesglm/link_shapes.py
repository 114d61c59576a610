"""The shape of a fit's link: F at its values, by draw, and a table of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to

from bayesglm import tables
from bayesglm.precision import in_double
from bayesglm.shaped import SUPPORTS, BoundLink, ShapedLink

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit
    from bayesglm.link import Link

__all__ = ["bound_link", "by_shape", "link_shape_table", "shape_values"]


def shape_values(fit: Fit) -> dict[str, np.ndarray]:
    """Return what is learned of the shape, by name: (s,) draws, or (1,) at the estimate."""
    known: Mapping[str, np.ndarray] = fit.result.draws or fit.result.shape
    return {name: np.ravel(known[name]) for name in fit.spec.shape}


def bound_link(link: Link, shape: Mapping[str, np.ndarray]) -> Link | BoundLink:
    """Return F at values (s,) of its shape, for eta of shape (s, n), or of any if s = 1."""
    if not isinstance(link, ShapedLink):
        return link
    values = {n: v[0] if len(v) == 1 else v[:, None] for n, v in shape.items()}
    return link.at(**values)


@in_double
def by_shape(
    link: BoundLink, eta: np.ndarray, names: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the slopes of log p and of log(1-p) in parts of the shape, by name, as eta's shape."""
    log_p, log_q = {}, {}
    for name in names:
        tangent = BoundLink(link.base, **{n: _like(link, n, n == name) for n in ("df", "lapse")})
        at = jnp.asarray(eta)
        moved = jax.jvp(lambda bound, at=at: bound.pair(at), (_floats(link),), (tangent,))[1]
        log_p[name], log_q[name] = (np.asarray(part) for part in moved)
    return log_p, log_q


def _floats(link: BoundLink) -> BoundLink:
    return jax.tree.map(lambda value: jnp.asarray(value, float), link)


def _like(link: BoundLink, name: str, one: bool) -> jax.Array | None:
    value = getattr(link, name)
    return None if value is None else jnp.full(np.shape(value), float(one))


def link_shape_table(fit: Fit, level: float) -> pd.DataFrame | None:
    """Return df and lapse as they were learned, each on its own scale; None without.

    Intervals of a point estimate are normal for log df and for the log odds of a lapse.
    """
    import pandas as pd

    names = fit.spec.shape
    if not names:
        return None
    if fit.result.draws:
        values = np.stack([fit.result.draws[name] for name in names], axis=-1)
        return tables.draws_table(names, values, level=level, exponentiate=False)
    rows = [_interval(name, fit.result.shape, level) for name in names]
    columns = ["estimate", "std_error", "lower", "upper"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(names, name="term"))


@in_double
def _interval(
    name: str, shape: Mapping[str, np.ndarray], level: float
) -> tuple[float, float, float, float]:
    from scipy.special import ndtri

    value, error = float(shape[name]), float(shape[f"{name}_std_error"])
    if not np.isfinite(error):
        return value, np.nan, np.nan, np.nan
    bijection = biject_to(SUPPORTS[name])
    middle = bijection.inv(jnp.asarray(value))
    reach = ndtri(0.5 + level / 2) * error / jax.grad(bijection)(middle)
    return value, error, float(bijection(middle - reach)), float(bijection(middle + reach))
