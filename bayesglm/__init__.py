"""Regression for yes/no outcomes: one model, from maximum likelihood to the full posterior.

Start with a model and ask it for a fit:

    import bayesglm as bg

    model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    mle = model.fit("mle")             # a point estimate with standard errors
    post = model.fit("nuts", seed=1)   # the same model, the full posterior
    print(post)
    post.predict({"temperature": [31]})

`Model.priors` shows the priors in numbers; ``fit.data`` is an ArviZ DataTree.
"""

from __future__ import annotations

from bayesglm import datasets, links, plots
from bayesglm.caching import cache
from bayesglm.calibration import simulation_based_calibration
from bayesglm.checking import calibration_curve, loo_pit, predictive_check
from bayesglm.comparing import compare
from bayesglm.comparing_links import compare_links
from bayesglm.connecting import distributed
from bayesglm.effects.comparison import comparisons
from bayesglm.effects.hypothesis import hypotheses
from bayesglm.effects.prediction import predictions
from bayesglm.effects.representative import grid
from bayesglm.effects.slope import slopes
from bayesglm.errors import (
    BayesGLMError,
    BayesGLMWarning,
    DataError,
    Finding,
    FormulaError,
    InferenceError,
    SeparationError,
    SpecificationError,
    Status,
    StorageError,
)
from bayesglm.findings import diagnose
from bayesglm.fit import Fit
from bayesglm.link import Link
from bayesglm.loading import load
from bayesglm.loocv import loo
from bayesglm.many import fit_many
from bayesglm.many_fits import ManyFits
from bayesglm.model import Model
from bayesglm.networks import Network
from bayesglm.reporting.document import report
from bayesglm.resampling import bootstrap, kfold
from bayesglm.resuming import resume
from bayesglm.scoring import decision_curve, scores
from bayesglm.sensitivity import prior_sensitivity

__all__ = [
    "BayesGLMError",
    "BayesGLMWarning",
    "DataError",
    "Finding",
    "Fit",
    "FormulaError",
    "InferenceError",
    "Link",
    "ManyFits",
    "Model",
    "Network",
    "SeparationError",
    "SpecificationError",
    "Status",
    "StorageError",
    "bootstrap",
    "cache",
    "calibration_curve",
    "compare",
    "compare_links",
    "comparisons",
    "datasets",
    "decision_curve",
    "diagnose",
    "distributed",
    "fit_many",
    "grid",
    "hypotheses",
    "kfold",
    "links",
    "load",
    "loo",
    "loo_pit",
    "plots",
    "predictions",
    "predictive_check",
    "prior_sensitivity",
    "report",
    "resume",
    "scores",
    "simulation_based_calibration",
    "slopes",
]
