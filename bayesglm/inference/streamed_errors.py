"""The covariance of an optimum by passes over row blocks: information, sandwich, clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import SpecificationError, explain
from bayesglm.inference.covariance import invert

if TYPE_CHECKING:
    from bayesglm.inference.passes import Passes

__all__ = ["covariance_of"]


def covariance_of(
    passes: Passes,
    flat: np.ndarray,
    information: np.ndarray,
    *,
    cov: str,
    sampling: bool,
    rows: int,
    sigma: float | None = None,
    cluster: str | None = None,
    most: int = 0,
) -> np.ndarray:
    """Return the covariance of the reported coefficients; see `covariance.covariance`.

    Parameters
    ----------
    passes : Passes
    flat : ndarray, shape (size,)
        The optimum.
    information : ndarray, shape (k, k)
        Of the likelihood there.
    cov : {"nonrobust", "HC0", "HC1", "HC2", "HC3"}
    sampling : bool
        What a weight means.
    rows : int
        Of positive weight.
    sigma : float, optional
        Residual standard deviation of the ``gaussian`` family.
    cluster : str, optional
        Column of the clusters (CR1).
    most : int
        Clusters at most.

    Raises
    ------
    SpecificationError
        For fewer than two clusters, or too many.
    """
    target = passes.target
    places, size = target.places, len(information)
    k = len(places)
    bread = np.zeros((size, size))
    scaled = information if sigma is None else information / sigma**2
    bread[np.ix_(places, places)] = invert(scaled[np.ix_(places, places)])
    n = float(rows) if sampling else target.effective
    middle = bread
    if cluster is not None:
        sums = _clusters(passes, flat, cluster, sigma, most)
        g = len(sums)
        meat = sums.T @ sums * g / (g - 1) * (n - 1) / (n - k)
        middle = bread @ meat @ bread
    elif cov != "nonrobust":
        power = {"HC2": 1, "HC3": 2}.get(cov, 0)
        meat = passes.meat(
            flat, bread, power, sampling=sampling, sigma=sigma, label=f"{cov} errors"
        )
        if cov == "HC1":
            meat = meat * (n / (n - k) if n > k else np.nan)
        middle = bread @ meat @ bread
    jacobian = target.to_reported()[:, :size]
    return np.asarray(jacobian @ middle @ jacobian.T)


def _clusters(
    passes: Passes, flat: np.ndarray, name: str, sigma: float | None, most: int
) -> np.ndarray:
    try:
        sums = passes.cluster_sums(flat, name, sigma=sigma, most=most, label="clusters")
    except OverflowError:
        raise SpecificationError(
            explain(
                "there are more clusters than memory holds",
                cluster=name,
                limit=most,
                advice="raise memory=",
            )
        ) from None
    except LookupError:
        raise SpecificationError(explain(f"the column {name!r} has missing values")) from None
    if len(sums) < 2:
        raise SpecificationError(
            explain("clustered errors need two clusters at least", clusters=len(sums))
        )
    return np.stack(list(sums.values()))
