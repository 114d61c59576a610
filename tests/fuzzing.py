"""What must hold for any call: a fit whose numbers are sound, or an error of this package."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

import bayesglm as bg

__all__ = ["check"]

# With one of these findings there are no standard errors.
WITHOUT_ERRORS = {"boundary", "no-covariance", "separation", "aliased"}
# The optimum was not reached, so its equations need not hold.
UNREACHED = {"step-limit", "no-better-point", "diverged", "separation"}
SHORT = {"nuts": {"draws": 20, "warmup": 30, "chains": 2}, "laplace": {"draws": 50, "chains": 2}}


def check(case) -> str:
    """Go the whole road of one call; say how it ended."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = _road(case)
    foreign = [w for w in caught if not issubclass(w.category, bg.BayesGLMWarning)]
    assert not foreign, f"a foreign warning: {foreign[0]}"
    return ended


def _road(case) -> str:
    try:
        model = bg.Model(case.formula, case.data, **case.words)
    except bg.BayesGLMError as error:
        return _told(error)
    sound_design(model)
    assert repr(model)
    assert repr(model.priors)
    # Wide models have programs of their own: two methods are enough for them.
    if model.design.p > 7 and (case.method != "mle" or model.spec.link.name != "logit"):
        return "wide"
    try:
        fit = model.fit(case.method, **SHORT.get(case.method, {}))
    except bg.BayesGLMError as error:
        return _told(error)
    sound_fit(fit)
    predictions(fit, case.new)
    if case.stored:
        stored(fit, case.new)
    return "fit"


def _told(error) -> str:
    """An error says something; what Python itself would say of a bug is not for users."""
    text = str(error)
    assert len(text) > 15, text
    for word in ("Traceback", "object has no attribute", "NoneType", "unhashable"):
        assert word not in text, text
    return type(error).__name__


def sound_design(model) -> None:
    design = model.design
    assert design.n > 0
    for name in ("y", "trials", "weights", "offset"):
        values = getattr(design, name)
        assert values.shape == (design.n,), name
        assert np.isfinite(values).all(), name
    assert len(set(design.terms)) == len(design.terms)
    if not model.spec.family.has_sigma:
        assert (design.y >= 0).all()
        assert (design.y <= design.trials).all()
    for _, block in design.blocks(1_000):
        assert np.isfinite(block).all()
        assert block.shape[1] == design.p


def sound_fit(fit) -> None:
    codes = {finding.code for finding in fit.findings}
    k = len(fit.terms)
    assert fit.coef.shape == (k,)
    assert fit.vcov.shape == (k, k)
    assert np.isfinite(fit.coef).all(), fit.coef
    for number in ("loglik", "loss", "deviance"):
        assert np.isfinite(getattr(fit, number)), number
    table = fit.summary()
    assert list(table.index) == list(fit.terms)
    # pandas writes line breaks of names as \\n.
    assert fit.terms[0].partition("\n")[0] in str(fit)
    assert fit._repr_html_()
    if not codes & WITHOUT_ERRORS:
        variances = np.diag(fit.vcov)
        assert np.isfinite(fit.vcov.to_numpy()).all(), fit.vcov
        assert (variances >= 0).all(), fit.vcov
        assert np.isfinite(table[["estimate", "std_error", "lower", "upper"]].to_numpy()).all()
        assert (table["lower"] <= table["upper"]).all()
    p = fit.predict()
    assert p.shape == (fit.design.n,)
    assert np.isfinite(p).all()
    if not fit.spec.family.has_sigma:
        assert ((p >= 0) & (p <= 1)).all()
    if fit.method == "mle" and not codes & UNREACHED:
        _score_equations(fit, p)


def _score_equations(fit, p) -> None:
    """The score of a canonical link at its maximum, by NumPy: X'w(y - tp) = 0."""
    design = fit.design
    if fit.spec.link.name != "logit" and not fit.spec.family.has_sigma:
        return
    matrix = np.concatenate([block for _, block in design.blocks(1_000)])
    if design.intercept and design.p:
        # Where columns lie far from 0 their raw scores are sums of large numbers that cancel.
        matrix = np.column_stack([np.ones(design.n), matrix - np.average(matrix, axis=0)])
    elif design.intercept:
        matrix = np.ones((design.n, 1))
    w = design.weights
    score = matrix.T @ (w * (design.y - design.trials * p))
    size = np.abs(matrix).T @ (w * (np.abs(design.y) + design.trials * np.abs(p)))
    tolerance = 1e-6 if fit.spec.precision == "float64" else 1e-4
    assert (np.abs(score) <= tolerance * size).all(), (score, size)


def predictions(fit, new) -> None:
    try:
        p = fit.predict(new)
    except bg.BayesGLMError as error:
        _told(error)
        return
    assert p.ndim == 1
    assert np.isfinite(p).all(), p
    if not fit.spec.family.has_sigma:
        assert ((p >= 0) & (p <= 1)).all()
    estimate, lower, upper = fit.predict_interval(new)
    far = "far-from-zero" in {finding.code for finding in fit.findings}
    if np.isfinite(fit.vcov.to_numpy()).all() and not far:
        assert np.isfinite([estimate, lower, upper]).all()
        assert (lower <= upper).all()


def stored(fit, new) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.nc"
        try:
            fit.save(path)
        except bg.StorageError as error:
            _told(error)
            assert not list(Path(folder).iterdir())
            return
        loaded = bg.load(path)
    assert loaded.summary().equals(fit.summary())
    assert loaded.findings == fit.findings
    np.testing.assert_array_equal(loaded.predict(), fit.predict())
    try:
        expected = fit.predict(new)
    except bg.BayesGLMError as error:
        try:
            loaded.predict(new)
        except type(error):
            return
        raise AssertionError("a loaded fit predicts where the fit itself did not") from error
    np.testing.assert_array_equal(loaded.predict(new), expected)
