"""Predictions, comparisons and slopes are those of marginaleffects and of closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "effects" / "marginaleffects.json").read_text()
)
CASES = REFERENCE["cases"]
DATA = pd.DataFrame(REFERENCE["data"])
NEW = pd.DataFrame(REFERENCE["new"])

# What is asked of us, for each case of marginaleffects.
OURS = {
    "predictions rows": (bg.predictions, {"newdata": NEW}),
    "predictions mean": (bg.predictions, {"by": True}),
    "predictions by": (bg.predictions, {"by": "g"}),
    "difference factor": (bg.comparisons, {"variables": "g", "by": True}),
    "difference pairwise": (bg.comparisons, {"variables": {"g": "pairwise"}, "by": True}),
    "difference number": (bg.comparisons, {"variables": {"x": 1}, "by": "g"}),
    "difference ends": (bg.comparisons, {"variables": {"x": [1.0, 3.0]}, "by": True}),
    "difference rows": (bg.comparisons, {"variables": {"x": 1}, "newdata": NEW}),
    "ratio": (bg.comparisons, {"variables": "b", "by": True, "comparison": "ratio"}),
    "lnor": (bg.comparisons, {"variables": "b", "by": True, "comparison": "lnor"}),
    "lift": (bg.comparisons, {"variables": "b", "by": True, "comparison": "lift"}),
    "slope linear": (bg.slopes, {"variables": "x", "by": True}),
    "slope interaction": (bg.slopes, {"variables": "x", "by": "g"}),
    "slope polynomial": (bg.slopes, {"variables": "x", "by": True}),
    "slope log": (bg.slopes, {"variables": "x", "by": True}),
    "slope rows": (bg.slopes, {"variables": "z", "newdata": NEW}),
    "slope probit": (bg.slopes, {"variables": "x", "by": True}),
    "slope cloglog": (bg.slopes, {"variables": "x", "by": True}),
    "slope cauchit": (bg.slopes, {"variables": "z", "by": True}),
    "elasticity eyex": (bg.slopes, {"variables": "x", "by": True, "slope": "eyex"}),
    "elasticity eydx": (bg.slopes, {"variables": "x", "by": True, "slope": "eydx"}),
    "elasticity dyex": (bg.slopes, {"variables": "x", "newdata": NEW, "slope": "dyex"}),
    "weighted slope": (bg.slopes, {"variables": "x", "by": True}),
    "weighted difference": (bg.comparisons, {"variables": "g", "by": True}),
    "aggregated slope": (bg.slopes, {"variables": "x", "by": True}),
    "aggregated predictions": (bg.predictions, {"by": "g"}),
    "robust slope": (bg.slopes, {"variables": "x", "by": True}),
    "robust ratio": (bg.comparisons, {"variables": "b", "by": True, "comparison": "ratio"}),
}


def fitted(formula, link="logit", weights=None, cov="nonrobust", trials=False):
    if trials:
        formula = formula.replace("y ~", "cbind(s, t - s) ~")
    return bg.Model(formula, DATA, link=link, weights=weights).fit("mle", cov=cov)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("hypothesis")])
def test_answers_are_those_of_marginaleffects(name):
    ask, words = OURS[name]
    table = ask(fitted(**CASES[name]["fit"]), **words)
    theirs = pd.DataFrame(CASES[name]["rows"])
    assert len(table) == len(theirs)
    np.testing.assert_allclose(table["estimate"], theirs["estimate"], rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(table["std_error"], theirs["std_error"], rtol=1e-4)
