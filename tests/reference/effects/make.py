"""Make marginaleffects.json: what marginaleffects says of fits by statsmodels.

Run by hand in an environment of its own:

    uv venv peers && uv pip install --python peers/bin/python marginaleffects==0.6.1 statsmodels "polars<2"
    peers/bin/python tests/reference/effects/make.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import marginaleffects as me
import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

LINKS = {
    "logit": sm.families.links.Logit(),
    "probit": sm.families.links.Probit(),
    "cloglog": sm.families.links.CLogLog(),
    "loglog": sm.families.links.LogLog(),
    "cauchit": sm.families.links.Cauchy(),
}


def table(n: int = 160, seed: int = 11) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "x": rng.uniform(0.5, 4.0, n).round(3),
            "z": rng.normal(size=n).round(3),
            "b": rng.integers(0, 2, n),
            "g": rng.choice(["low", "mid", "top"], n),
            "w": rng.integers(1, 5, n),
            "t": rng.integers(1, 9, n),
        }
    )
    eta = -1 + 0.5 * data["x"] - 0.4 * data["z"] + 0.6 * data["b"] + 0.5 * (data["g"] == "top")
    p = 1 / (1 + np.exp(-eta))
    data["y"] = rng.binomial(1, p)
    data["s"] = rng.binomial(data["t"], p)
    data["g"] = data["g"].astype("category")
    return data


def expanded(data: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each trial, events first: marginaleffects knows no counts."""
    copies = data.loc[data.index.repeat(data["t"])]
    copies["y"] = (copies.groupby(level=0).cumcount() < copies["s"]).astype(int)
    return copies.reset_index(drop=True)


DATA = table()


def fit(
    formula: str,
    link: str = "logit",
    weights: str | None = None,
    cov: str = "nonrobust",
    trials: bool = False,
):
    words = {} if weights is None else {"freq_weights": DATA[weights].to_numpy(float)}
    family = sm.families.Binomial(link=LINKS[link])
    data = expanded(DATA) if trials else DATA
    return smf.glm(formula, data, family=family, **words).fit(
        cov_type=cov, tol=1e-13, maxiter=200, tol_criterion="params"
    )


KEEP = ("term", "contrast", "hypothesis", "estimate", "std_error", "g", "b", "x", "z")


def rows(answer) -> list[dict]:
    frame = answer.to_pandas() if hasattr(answer, "to_pandas") else answer.data.to_pandas()
    names = [c for c in KEEP if c in frame.columns]
    return json.loads(frame[names].to_json(orient="records", double_precision=15))


NEW = pd.DataFrame(
    {"x": [1.0, 2.5, 3.5], "z": [0.0, -1.0, 1.0], "b": [0, 1, 0], "g": ["low", "top", "mid"]}
)
NEW["g"] = pd.Categorical(NEW["g"], categories=["low", "mid", "top"])


def up(data: pd.DataFrame) -> pd.DataFrame:
    """Half a unit up: marginaleffects goes from x - 1/2 to x + 1/2, we from x to x + 1."""
    return data.assign(x=data["x"] + 0.5)


# name, fit, function, its words. The words of ours are in the test.
CASES = [
    ("predictions rows", {"formula": "y ~ x + z + g"}, me.predictions, {"newdata": NEW}),
    ("predictions mean", {"formula": "y ~ x + z + g"}, me.predictions, {"by": True}),
    ("predictions by", {"formula": "y ~ x + z + g"}, me.predictions, {"by": "g"}),
    ("difference factor", {"formula": "y ~ x + z + g"}, me.comparisons, {"variables": "g", "by": True}),
    ("difference pairwise", {"formula": "y ~ x + z + g"}, me.comparisons, {"variables": {"g": "pairwise"}, "by": True}),
    ("difference number", {"formula": "y ~ x * g + z"}, me.comparisons, {"variables": {"x": 1}, "by": "g", "newdata": up(DATA)}),
    ("difference ends", {"formula": "y ~ x * g + z"}, me.comparisons, {"variables": {"x": [1.0, 3.0]}, "by": True}),
    ("difference rows", {"formula": "y ~ x * g + z"}, me.comparisons, {"variables": {"x": 1}, "newdata": up(NEW)}),
    ("ratio", {"formula": "y ~ x + z + b"}, me.comparisons, {"variables": {"b": [0, 1]}, "by": True, "comparison": "ratioavg"}),
    ("lnor", {"formula": "y ~ x * z + b"}, me.comparisons, {"variables": {"b": [0, 1]}, "by": True, "comparison": "lnoravg"}),
    ("lift", {"formula": "y ~ x * z + b"}, me.comparisons, {"variables": {"b": [0, 1]}, "by": True, "comparison": "liftavg"}),
    ("slope linear", {"formula": "y ~ x + z + g"}, me.slopes, {"variables": "x", "by": True}),
    ("slope interaction", {"formula": "y ~ x * g + z"}, me.slopes, {"variables": "x", "by": "g"}),
    ("slope polynomial", {"formula": "y ~ x + I(x ** 2) + x:z + g"}, me.slopes, {"variables": "x", "by": True}),
    ("slope log", {"formula": "y ~ np.log(x) * z + g"}, me.slopes, {"variables": "x", "by": True}),
    ("slope rows", {"formula": "y ~ x * z + g"}, me.slopes, {"variables": "z", "newdata": NEW}),
    ("slope probit", {"formula": "y ~ x * z + g", "link": "probit"}, me.slopes, {"variables": "x", "by": True}),
    ("slope cloglog", {"formula": "y ~ x * z + g", "link": "cloglog"}, me.slopes, {"variables": "x", "by": True}),
    ("slope cauchit", {"formula": "y ~ x + z + g", "link": "cauchit"}, me.slopes, {"variables": "z", "by": True}),
    ("elasticity eyex", {"formula": "y ~ x * z + g"}, me.slopes, {"variables": "x", "by": True, "slope": "eyex"}),
    ("elasticity eydx", {"formula": "y ~ x * z + g"}, me.slopes, {"variables": "x", "by": True, "slope": "eydx"}),
    ("elasticity dyex", {"formula": "y ~ x * z + g"}, me.slopes, {"variables": "x", "newdata": NEW, "slope": "dyex"}),
    ("weighted slope", {"formula": "y ~ x * z + g", "weights": "w"}, me.slopes, {"variables": "x", "by": True, "wts": "w"}),
    ("weighted difference", {"formula": "y ~ x + z + g", "weights": "w"}, me.comparisons, {"variables": "g", "by": True, "wts": "w"}),
    ("aggregated slope", {"formula": "y ~ x * z + g", "trials": True}, me.slopes, {"variables": "x", "by": True}),
    ("aggregated predictions", {"formula": "y ~ x * z + g", "trials": True}, me.predictions, {"by": "g"}),
    ("robust slope", {"formula": "y ~ x * z + g", "cov": "HC0"}, me.slopes, {"variables": "x", "by": True}),
    ("robust ratio", {"formula": "y ~ x + z + b", "cov": "HC0"}, me.comparisons, {"variables": {"b": [0, 1]}, "by": True, "comparison": "ratioavg"}),
    ("hypothesis linear", {"formula": "y ~ x + z + b"}, me.hypotheses, {"hypothesis": "x + 2 * z = b"}),
]  # fmt: skip


def main() -> None:
    found = {}
    for name, model, ask, words in CASES:
        more = {"eps": 1e-3, "eps_vcov": 1e-6} if ask is me.slopes else {}
        found[name] = {"fit": model, "rows": rows(ask(fit(**model), **words, **more))}
    about = {name: version(name) for name in ("marginaleffects", "statsmodels")}
    text = {
        "about": about,
        "data": DATA.to_dict("list"),
        "new": NEW.to_dict("list"),
        "cases": found,
    }
    Path(__file__).with_name("marginaleffects.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
