"""What must not change an answer, on the whole road from a table to a fit.

Newton ends where the gradient of the mean loss is below 1e-10 or so, which leaves coefficients right to
some 1e-8 of their standard errors. So estimates are compared to 1e-6 standard errors, errors to
1e-6, losses (flat at an optimum) to 1e-10, wherever the two fits do not share their arithmetic.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, seed, settings
from hypothesis import strategies as st

import bayesglm as bg

FORMULA = "y ~ x + z + g"
METHODS = ("mle", "mle", "mle", "map", "laplace")
LINKS = ("logit", "probit", "cloglog", "loglog", "cauchit")

few = settings(max_examples=12, deadline=None, database=None)
seeds = st.integers(0, 100_000)
methods = st.sampled_from(METHODS)
links = st.sampled_from(LINKS)


def make(number: int, n: int = 90) -> pd.DataFrame:
    """Rows whose outcome depends on the predictors a little, so that no fit is separated."""
    rng = np.random.default_rng(number)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 4, n),
            "g": np.resize(["a", "b", "c"], n),
            "w": rng.integers(1, 4, n),
            "t": rng.integers(1, 4, n),
        }
    )
    p = 1 / (1 + np.exp(-(0.3 * frame["x"] + 0.2 * (frame["z"] - 2.5))))
    return frame.assign(y=rng.binomial(1, p), events=rng.binomial(frame["t"], p))


def fit(data, method="mle", formula=FORMULA, **words):
    """Fit; the mode behind a Laplace fit stands for it, as its draws have errors of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGLMWarning)
        return bg.Model(formula, data, **words).fit(
            method, **({"draws": 50, "chains": 2} if method == "laplace" else {})
        )


def estimates(found) -> pd.Series:
    if found.method != "laplace":
        return found.coef
    # In flat coordinates: the centred intercept, then the slopes.
    k = len(found.terms)
    flat = found.result.flat[:k].copy()
    if found.design.intercept:
        flat[0] -= flat[1:] @ found.priors.center
    return pd.Series(flat, index=found.coef.index)


def same(one, other, *, signs=1.0, loss=True, names=None):
    """Compare estimates and errors, by name of the term; ``signs`` flips the estimates."""
    ours, theirs = estimates(one), estimates(other)
    order = list(ours.index) if names is None else names
    error = np.sqrt(np.diag(one.vcov))
    np.testing.assert_array_less(
        np.abs(ours.to_numpy() - signs * theirs[order].to_numpy()), 1e-6 * error + 1e-300
    )
    if one.method != "laplace":
        other_error = pd.Series(np.sqrt(np.diag(other.vcov)), index=theirs.index)[order]
        np.testing.assert_allclose(error, other_error, rtol=1e-6)
    if loss and one.method == "mle":
        assert one.loss == pytest.approx(other.loss, rel=1e-10)


@seed(1)
@few
@given(number=seeds, method=methods, link=links)
def test_the_order_of_rows(number, method, link):
    frame = make(number)
    order = np.random.default_rng(number).permutation(len(frame))
    one, other = (fit(d, method, link=link) for d in (frame, frame.iloc[order]))
    same(one, other)
    if method != "laplace":
        np.testing.assert_allclose(one.predict()[order], other.predict(), rtol=1e-6)


@seed(2)
@few
@given(number=seeds, method=methods, link=links)
def test_a_weight_is_so_many_rows(number, method, link):
    frame = make(number, 45)
    rows = frame.loc[frame.index.repeat(frame["w"])]
    same(fit(frame, method, weights="w", link=link), fit(rows, method, link=link))


@seed(3)
@few
@given(number=seeds, method=methods, link=links)
def test_counts_are_so_many_rows(number, method, link):
    frame = make(number, 45)
    rows = frame.loc[frame.index.repeat(frame["t"])]
    rank = rows.groupby(level=0).cumcount()
    rows = rows.assign(y=(rank < rows["events"]).astype(int))
    counts = fit(frame, method, "events ~ x + z + g", trials="t", link=link)
    same(counts, fit(rows, method, link=link))
    pair = fit(frame, method, "cbind(events, t - events) ~ x + z + g", link=link)
    same(counts, pair)


@seed(4)
@few
@given(number=seeds, method=methods, order=st.permutations(["a", "b", "c"]))
def test_the_order_of_levels(number, method, order):
    frame = make(number)
    coded = frame.assign(g=pd.Categorical(frame["g"], categories=order))
    # A prior speaks of differences to the baseline, so only the MLE keeps its predictions.
    one, other = fit(frame), fit(coded)
    np.testing.assert_allclose(one.predict(), other.predict(), rtol=1e-6)
    assert one.loss == pytest.approx(other.loss, rel=1e-10)
    # A factor given as text has its levels in order.
    sorted_levels = frame.assign(g=pd.Categorical(frame["g"], categories=["a", "b", "c"]))
    same(fit(sorted_levels, method), fit(frame, method))


@seed(5)
@few
@given(
    number=seeds,
    method=methods,
    link=links,
    power=st.integers(-8, 8),
    negative=st.booleans(),
)
def test_the_unit_of_a_column(number, method, link, power, negative):
    frame = make(number)
    unit = 10.0**power * (-1 if negative else 1)
    one, other = (
        fit(frame, method, link=link),
        fit(frame.assign(x=frame["x"] * unit), method, link=link),
    )
    # The weak prior is as wide as the column is not: its scale is 1.5 / sd.
    back = estimates(other) * np.where(other.coef.index == "x", unit, 1.0)
    error = np.sqrt(np.diag(one.vcov))
    np.testing.assert_array_less(np.abs(estimates(one) - back), 1e-6 * error)
    if method != "laplace":
        np.testing.assert_allclose(one.predict(), other.predict(), rtol=1e-6)
        scaled = np.sqrt(np.diag(other.vcov)) * np.where(other.coef.index == "x", abs(unit), 1.0)
        np.testing.assert_allclose(error, scaled, rtol=1e-6)


@seed(6)
@few
@given(number=seeds, method=methods, shift=st.sampled_from([-1e6, -10.0, 3.0, 1e4]))
def test_the_place_of_a_column(number, method, shift):
    frame = make(number)
    one, other = fit(frame, method), fit(frame.assign(x=frame["x"] + shift), method)
    slopes = list(one.terms[1:])
    error = np.sqrt(np.diag(one.vcov))[1:]
    # x + 1e6 has ten digits left of its sixteen.
    np.testing.assert_array_less(
        np.abs(estimates(one)[slopes] - estimates(other)[slopes]), 1e-6 * error
    )
    if method != "laplace":
        np.testing.assert_allclose(one.predict(), other.predict(), rtol=1e-6)


@seed(7)
@few
@given(number=seeds, method=methods, order=st.permutations(["x", "z", "g", "x:z"]), link=links)
def test_the_order_of_terms(number, method, order, link):
    frame = make(number)
    one = fit(frame, method, "y ~ x + z + g + x:z", link=link)
    # x:z before x would be z:x by name only; formulaic sorts terms by their degree.
    other = fit(frame, method, "y ~ " + " + ".join(order), link=link)
    assert sorted(one.terms) == sorted(other.terms)
    same(one, other, names=list(one.terms))


@seed(8)
@few
@given(number=seeds, link=st.sampled_from(["logit", "probit", "cauchit"]), method=methods)
def test_the_other_event_turns_the_signs(number, link, method):
    frame = make(number).assign(y=lambda d: np.where(d["y"] == 1, "yes", "no"))
    one, other = (fit(frame, method, link=link, event=event) for event in ("yes", "no"))
    same(one, other, signs=-1.0)
    if method != "laplace":
        np.testing.assert_allclose(one.predict(), 1 - other.predict(), rtol=1e-6)


@seed(9)
@few
@given(number=seeds)
def test_loglog_is_cloglog_of_the_other_event(number):
    frame = make(number).assign(y=lambda d: np.where(d["y"] == 1, "yes", "no"))
    one = fit(frame, link="cloglog", event="yes")
    other = fit(frame, link="loglog", event="no")
    same(one, other, signs=-1.0)
    np.testing.assert_allclose(one.predict(), 1 - other.predict(), rtol=1e-6)


@seed(10)
@few
@given(number=seeds, method=methods, link=links, strange=st.booleans())
def test_a_row_of_weight_zero_is_no_row(number, method, link, strange):
    frame = make(number)
    w = (np.random.default_rng(number).random(len(frame)) < 0.7).astype(float)
    assume(w.sum() > 40)
    other = frame[w > 0]
    if strange:
        # Whatever stands in it.
        frame = frame.assign(x=np.where(w > 0, frame["x"], 1e5), y=np.where(w > 0, frame["y"], 0))
    one = fit(frame, method, weights=w, link=link)
    same(one, fit(other, method, link=link))
    assert one.nobs == len(other)


@seed(11)
@few
@given(number=seeds, method=methods, row=st.integers(0, 89))
def test_a_copy_of_weight_zero_is_no_row(number, method, row):
    frame = make(number)
    more = pd.concat([frame, frame.iloc[[row]]], ignore_index=True)
    w = np.append(np.ones(len(frame)), 0.0)
    same(fit(frame, method), fit(more, method, weights=w))


@seed(12)
@few
@given(number=seeds, method=methods, factor=st.sampled_from([2.0, 7.0, 1_000.0]))
def test_weights_of_a_survey_have_no_unit(number, method, factor):
    assume(method == "mle")
    frame = make(number)
    one = fit(frame, weights="w", weights_kind="sampling")
    other = fit(frame, weights=factor * frame["w"], weights_kind="sampling")
    same(one, other)


@seed(13)
@few
@given(number=seeds, method=methods)
def test_who_holds_the_table(number, method):
    frame = make(number)
    one = fit(frame, method)
    for data in (frame.to_dict("list"), pl.from_pandas(frame), frame.convert_dtypes()):
        other = fit(data, method)
        # The same numbers go in, so the same bits come out.
        np.testing.assert_array_equal(one.coef, other.coef)
        np.testing.assert_array_equal(one.vcov, other.vcov)
        assert one.terms == other.terms


@seed(14)
@few
@given(number=seeds, method=methods, link=links)
def test_an_offset_is_a_shift_of_eta(number, method, link):
    frame = make(number)
    shift = 0.4
    one, other = fit(frame, link=link), fit(frame, link=link, offset=np.full(len(frame), shift))
    moved = estimates(other).copy()
    moved["Intercept"] += shift
    error = np.sqrt(np.diag(one.vcov))
    np.testing.assert_array_less(np.abs(estimates(one) - moved), 1e-6 * error)


@seed(15)
@few
@given(number=seeds, link=links)
def test_contrasts_of_one_factor_span_the_same(number, link):
    frame = make(number)
    losses = [
        fit(frame, formula=f"y ~ x + {term}", link=link).loss
        for term in ("g", "C(g, contr.sum)", "C(g, Treatment('c'))", "C(g, contr.helmert)")
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-10)
    cells = fit(frame, formula="y ~ 0 + x + g", link=link)
    assert cells.loss == pytest.approx(losses[0], rel=1e-10)
