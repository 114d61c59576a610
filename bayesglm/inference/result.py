"""What every method of inference returns: one record of plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesglm.errors import Finding, Status

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """The outcome of one run of a method.

    Attributes
    ----------
    method : str
        ``"mle"``, ``"map"``, ``"laplace"``, ``"svi"`` or ``"nuts"``.
    status : Status
        How it ended.
    theta : ndarray, shape (k,)
        Reported coordinates (Intercept first, then beta; link scale): the optimum, or the
        posterior mean.
    flat : ndarray
        The same in flat coordinates; for draws the mode they started from.
    cov : ndarray, shape (k, k)
        Covariance of ``theta``; NaN where there is none.
    loglik : float
        sum w log p at ``theta``, binomial coefficients included.
    loss : float
        Mean cross-entropy without the coefficient (half the mean squared error for ``gaussian``).
    log_posterior : float
        ``loglik`` plus the log prior, for ``"map"``.
    gradient_norm : float
        Largest absolute entry of the gradient of the loss, in the optimiser's coordinates.
    steps : int
        Steps taken by the optimiser, or draws of each chain.
    history : ndarray
        Loss after each step; for ``"svi"`` the negative ELBO (nats) before it.
    draws : dict of ndarray, shape (chains, draws, ...)
        Draws by variable (Intercept, beta without padding, sigma); empty for a point fit.
    sample_stats : dict of ndarray, shape (chains, draws)
        Sampler statistics in ArviZ's names.
    flat_draws : ndarray, shape (chains, draws, size) or None
        The same draws in flat coordinates.
    sigma : float or None
        Residual standard deviation of the ``gaussian`` family.
    shape : dict of ndarray
        What is learned of the link's shape, by name; of a point fit standard errors too, under
        ``<name>_std_error``.
    weights : dict of ndarray
        Weights of networks at the optimum, by site.
    groups : dict of ndarray
        Of group-level effects at the optimum: ``sd_<g>`` (q,), ``cor_<g>`` (q, q), ``<g>`` (G, q),
        standard errors of the first and last under ``..._std_error``.
    joint : dict of ndarray
        How coefficients and effects vary together, in a Gaussian approximation: ``theta`` (k, d)
        and ``<g>`` (G q, d) times the same d standard normal numbers; the effects of the largest
        factor vary besides by ``<g>_inner`` (G, q, q). Of a link's shape each part (d,).
    members : ndarray, shape (k, size) or None
        An ensemble of optima in flat coordinates, each with an equal share.
    profile : dict of float to ndarray, shape (k, 2)
        Profile-likelihood limits by level, as they were asked for: what is here is not computed
        again.
    options : dict
        The options as used, in plain words and numbers.
    findings : tuple of Finding
    """

    method: str
    status: Status
    theta: np.ndarray
    flat: np.ndarray
    cov: np.ndarray
    loglik: float
    loss: float
    log_posterior: float = float("nan")
    gradient_norm: float = float("nan")
    steps: int = 0
    history: np.ndarray = field(default_factory=lambda: np.empty(0))
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    sample_stats: dict[str, np.ndarray] = field(default_factory=dict)
    flat_draws: np.ndarray | None = None
    sigma: float | None = None
    shape: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    joint: dict[str, np.ndarray] = field(default_factory=dict)
    members: np.ndarray | None = None
    profile: dict[float, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def certified(self) -> bool:
        """Whether importance weights speak for the draws, in the place of R-hat and ESS."""
        return "k_hat" in self.options
