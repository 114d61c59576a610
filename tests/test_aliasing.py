"""Columns that are combinations of others: named, refused, left out, or left to the prior."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.implied import target_of
from bayesglm.inference.aliasing import aliases


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(20261125)
    n = 400
    found = pd.DataFrame(
        {
            "a": rng.standard_normal(n),
            "b": rng.uniform(50, 60, n),
            "c": rng.standard_normal(n) * 1e-8,
            "g": rng.choice(["u", "v", "w"], n),
        }
    )
    p = 1 / (1 + np.exp(-found["a"] + 0.2 * (found["b"] - 55)))
    return found.assign(y=(rng.uniform(size=n) < p).astype(int))


def told(formula, data, **options):
    model = bg.Model(formula, data, **options)
    return [str(alias) for alias in aliases(target_of(model.spec, model.design, model.priors))]


def test_combinations_are_equations_on_the_scale_of_the_data(frame):
    data = frame.assign(
        sum=frame["a"] + 0.5 * frame["b"], shifted=3 - 2 * frame["a"], one=7.0, zero=0.0
    )
    assert told("y ~ a + b + sum", data) == ["sum = a + 0.5 b"]
    assert told("y ~ a + shifted + b", data) == ["shifted = -2 a + 3"]
    assert told("y ~ one + a", data) == ["one = 7"]
    assert told("y ~ zero + a", data) == ["zero = 0"]
    assert told("y ~ 0 + one + a + zero", data) == ["zero = 0"]
    # In their order: later columns are those of the earlier ones.
    assert told("y ~ sum + b + a", data) == ["a = sum - 0.5 b"]
    assert told("y ~ a + b + g", data) == []


def test_large_and_small_columns(frame):
    big = frame.assign(
        far=1e9 + frame["a"],
        tiny=frame["c"] + 1e-8 * frame["a"],
        both=frame["c"] * 1e12 + frame["a"] * 1e8,
    )
    assert told("y ~ a + c", big) == []
    assert told("y ~ a + far", big) == ["far = a + 1e+09"]
    assert told("y ~ a + c + tiny", big) == ["tiny = 1e-08 a + c"]
    assert told("y ~ a + c + both", big) == ["both = 1e+08 a + 1e+12 c"]
    near = frame.assign(near=frame["a"] + 1e-5 * frame["b"])
    assert told("y ~ a + near", near) == []


def test_a_factor_within_another(frame):
    data = frame.assign(coarse=np.where(frame["g"] == "w", "w", "other"))
    assert told("y ~ g + coarse", data) == ["coarse[T.w] = g[T.w]"]
    # An indicator for each level and a constant.
    levels = pd.get_dummies(frame["g"]).astype(float).assign(y=frame["y"])
    assert told("y ~ u + v + w", levels) == ["w = -u - v + 1"]
    assert told("y ~ 0 + u + v + w", levels) == []


def test_rows_of_weight_zero_do_not_tell_columns_apart(frame):
    data = frame.assign(copy=frame["a"], weight=1.0)
    data.loc[3, ["copy", "weight"]] = [50.0, 0.0]
    assert told("y ~ a + copy", data) == []
    assert told("y ~ a + copy", data, weights="weight") == ["copy = a"]


def test_merged_and_sparse_rows():
    rng = np.random.default_rng(5)
    g = rng.integers(0, 150, 3_000)
    data = pd.DataFrame({"g": [f"g{k:03d}" for k in g], "y": rng.integers(0, 2, 3_000)})
    data["even"] = (g % 2 == 0).astype(float)
    (alias,) = told("y ~ g + even", data)
    assert alias.startswith("even = -g[T.g001] - g[T.g003] - ")
    assert alias.endswith("- g[T.g149] + 1")


def test_maximum_likelihood_names_them(frame):
    data = frame.assign(sum=frame["a"] + frame["b"], copy=frame["a"])
    with pytest.raises(bg.InferenceError) as caught:
        bg.Model("y ~ a + b + sum + copy", data).fit("mle")
    assert "sum = a + b; copy = a" in str(caught.value)
    assert 'aliased="drop"' in str(caught.value)
    wide = {f"x{j}": np.random.default_rng(j).standard_normal(8) for j in range(12)}
    wide["y"] = [0, 1, 0, 1, 1, 0, 1, 0]
    formula = "y ~ " + " + ".join(f"x{j}" for j in range(12))
    with pytest.raises(bg.InferenceError, match=r"more coefficients than rows.*coefficients=13"):
        bg.Model(formula, wide).fit("mle")


@pytest.mark.parametrize("method", ["mle", "map", "laplace"])
def test_dropping_is_fitting_without_them(frame, method, tmp_path):
    data = frame.assign(sum=frame["a"] + frame["b"], copy=frame["a"])
    with pytest.warns(bg.BayesGLMWarning, match=r"aliased-dropped.*sum = a \+ b; copy = a"):
        fit = bg.Model("y ~ a + b + sum + g + copy", data).fit(method, aliased="drop")
    plain = bg.Model("y ~ a + b + g", frame).fit(method)
    assert fit.terms == plain.terms
    np.testing.assert_allclose(fit.summary(), plain.summary(), rtol=1e-12)
    new = data.head(5)
    np.testing.assert_allclose(fit.predict(new), plain.predict(new), rtol=1e-12)
    fit.save(tmp_path / "fit.nc")
    again = bg.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(again.predict(new), plain.predict(new), rtol=1e-12)
    np.testing.assert_allclose(again.predict(), plain.predict(), rtol=1e-12)


def test_dropping_from_arrays(frame, tmp_path):
    X = np.column_stack([frame["a"], frame["a"] * 2, frame["b"]])
    with pytest.warns(bg.BayesGLMWarning, match="x2 = 2 x1"):
        fit = bg.Model.from_arrays(X, frame["y"].to_numpy()).fit("mle", aliased="drop")
    assert fit.terms == ("Intercept", "x1", "x3")
    plain = bg.Model("y ~ a + b", frame).fit("mle")
    # New data have the columns of the old.
    np.testing.assert_allclose(fit.predict(X[:5]), plain.predict(frame.head(5)), rtol=1e-10)
    fit.save(tmp_path / "fit.nc")
    np.testing.assert_allclose(bg.load(tmp_path / "fit.nc").predict(X[:5]), fit.predict(X[:5]))


def test_nothing_to_drop_changes_nothing(frame):
    model = bg.Model("y ~ a + b", frame)
    assert model.fit("mle", aliased="drop").coef.equals(model.fit("mle").coef)


def test_proper_priors_get_a_note(frame):
    """The posterior of the sum is told by the data, that of each by its prior."""
    data = frame.assign(copy=frame["a"])
    fit = bg.Model("y ~ a + copy", data).fit("map")
    (note,) = [finding for finding in fit.findings if finding.code == "aliased"]
    assert "copy = a" in note.message
    assert note.severity == "note"
    assert fit.coef["a"] == pytest.approx(fit.coef["copy"], rel=1e-8)
