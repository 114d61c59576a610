"""Pictures of a fit: each function takes a fit and returns a matplotlib figure.

The figures are not pyplot's: a notebook shows what a cell ends with, ``.savefig("f.svg")`` writes
it. ``ax=`` draws into axes of your own instead.

    import bayesglm as bg

    bg.plots.coefficients({"mle": mle, "nuts": post})
    bg.plots.effects(post, "temperature")
    bg.plots.calibration(post)
"""

from __future__ import annotations

from bayesglm.plots.across_links import link_comparison
from bayesglm.plots.classifying import decision_curve, precision_recall, roc
from bayesglm.plots.conditional import effects
from bayesglm.plots.forest import coefficients
from bayesglm.plots.goodness import calibration, predictive, residuals, separation
from bayesglm.plots.inferring import loss, prior_posterior, trace
from bayesglm.plots.varying import groups

__all__ = [
    "calibration",
    "coefficients",
    "decision_curve",
    "effects",
    "groups",
    "link_comparison",
    "loss",
    "precision_recall",
    "predictive",
    "prior_posterior",
    "residuals",
    "roc",
    "separation",
    "trace",
]
