"""The data of all contestants: one function, one seed, whoever fits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEVELS", "categorical", "compressed", "correlated", "grouped", "segmented"]

# Correlation of any two predictors.
RHO = 0.7
# Numbers of levels of the categorical predictors: 4,800 distinct rows at most.
LEVELS = (10, 8, 5, 4, 3)


def correlated(
    n: int, p: int, seed: int, link: str = "logit", rho: float = RHO
) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised predictors (n x p) with the same correlation, and an outcome (0 or 1).

    Nothing larger than the matrix is made besides it, so that its peak does not hide that of a fit.
    """
    rng = np.random.default_rng(seed)
    beta = rng.standard_normal(p) / np.sqrt(p)
    X = rng.standard_normal((n, p))
    X *= np.sqrt(1 - rho)
    X += np.sqrt(rho) * rng.standard_normal((n, 1))
    return X, (rng.uniform(size=n) < probability(X @ beta, link)).astype(np.int64)


def probability(eta: np.ndarray, link: str) -> np.ndarray:
    """Return p at eta; plain NumPy, for any contestant's environment."""
    if link == "logit":
        return 1 / (1 + np.exp(-eta))
    if link == "probit":
        return 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(eta / np.sqrt(2)))
    if link == "cloglog":
        return -np.expm1(-np.exp(eta))
    if link == "cauchit":
        return 0.5 + np.arctan(eta) / np.pi
    raise ValueError(f"no data for this link; got link={link!r}")


def categorical(n: int, seed: int) -> pd.DataFrame:
    """Return an outcome ``y`` and categorical predictors ``a``, ``b``, ... with LEVELS levels."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns, eta = {}, np.full(n, -0.5, np.float32)
    for name, levels in zip("abcdefgh", LEVELS, strict=False):
        codes = rng.integers(levels, size=n, dtype=np.int8)
        eta += rng.normal(0, 0.4, levels).astype(np.float32)[codes]
        labels = [f"{name}{level}" for level in range(levels)]
        columns[name] = pd.Categorical.from_codes(codes, labels)
    y = rng.uniform(size=n) < 1 / (1 + np.exp(-eta))
    return pd.DataFrame({"y": y.astype(np.int8), **columns})


def grouped(n: int, p: int, groups: int, seed: int) -> pd.DataFrame:
    """Return ``y``, predictors ``x1``, ... and a factor ``g`` with intercepts of sd 0.7."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    X, g = rng.normal(size=(n, p)), rng.integers(groups, size=n)
    beta = np.resize([1.0, 0.5, 0.0, -0.5, 0.2], p)
    eta = -0.5 + X @ beta + 0.7 * rng.normal(size=groups)[g]
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(np.int8)
    return pd.DataFrame(X, columns=[f"x{j + 1}" for j in range(p)]).assign(g=g, y=y)


def segmented(segments: int, n: int, p: int, seed: int) -> pd.DataFrame:
    """Return ``y``, ``x1``, ... and ``segment``: n rows in each, with coefficients of its own."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    X = rng.normal(size=(segments, n, p))
    beta, base = rng.normal(0, 0.5, (segments, p)), rng.normal(-0.5, 0.5, (segments, 1))
    eta = base + np.einsum("snp,sp->sn", X, beta)
    y = (rng.uniform(size=eta.shape) < 1 / (1 + np.exp(-eta))).astype(np.int8)
    frame = pd.DataFrame(X.reshape(-1, p), columns=[f"x{j + 1}" for j in range(p)])
    return frame.assign(segment=np.repeat(np.arange(segments), n), y=y.ravel())


def compressed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the distinct rows with their counts: ``events`` and ``others``."""
    names = [name for name in frame if name != "y"]
    table = frame.groupby(names, observed=True)["y"].agg(["sum", "size"]).reset_index()
    table["events"], table["others"] = table["sum"], table["size"] - table["sum"]
    return table.drop(columns=["sum", "size"])
