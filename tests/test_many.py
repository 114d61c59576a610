"""Many small models at once: equal to one at a time, and what is wrong with one spoils no other."""

from __future__ import annotations

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.segments import Segments, row_sizes

SIZES = (1, 3, 12, 60, 61, 250, 300, 5_000)


def simulate(sizes, seed=0, p=2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(np.sum(sizes))
    data = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"x{j + 1}" for j in range(p)])
    data["x1"] += 1_000
    data["segment"] = np.repeat([f"s{j}" for j in range(len(sizes))], sizes)
    eta = 0.8 * (data["x1"] - 1_000) - 0.3
    data["y"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(int)
    return data.assign(
        trials=rng.integers(1, 4, size=n),
        weight=rng.integers(0, 3, size=n).astype(float),
        known=rng.normal(scale=0.2, size=n),
        g=rng.choice(list("abc"), size=n),
    ).sample(frac=1, random_state=seed, ignore_index=True)


@pytest.fixture(scope="module")
def unequal() -> pd.DataFrame:
    return simulate(SIZES)


@pytest.fixture(scope="module")
def fitted(unequal):
    with pytest.warns(bg.BayesGLMWarning, match="of 8 fits have no estimate"):
        return bg.fit_many("y ~ x1 + x2", unequal, by="segment")


def alone(data, formula="y ~ x1 + x2", method="mle", **words):
    return bg.Model(formula, data, **words).fit(method)


def assert_equal(many, segment, fit, **tolerance):
    """Estimates, errors, loglik of a segment are those of a fit, the intercept's scale aside."""
    tolerance = tolerance or {"rtol": 1e-6, "atol": 1e-7}
    rows = many.table[many.table[many.labels.columns[0]] == segment].set_index("term")
    want = fit.summary()
    np.testing.assert_allclose(rows["estimate"], want["estimate"], **tolerance)
    np.testing.assert_allclose(rows["std_error"], want["std_error"], **tolerance)
    np.testing.assert_allclose(rows["upper"], want["upper"], **tolerance)
    np.testing.assert_allclose(many.segments.loc[segment, "loglik"], fit.loglik, rtol=1e-8)


def test_the_table_is_tidy(fitted):
    assert fitted.table.columns.tolist() == [
        *("segment", "term", "estimate", "std_error", "lower", "upper", "p_value")
    ]
    assert len(fitted.table) == 8 * 3
    assert fitted.coef.shape == (8, 3)
    assert fitted.segments["rows"].tolist() == list(SIZES)
    assert fitted.segments.index.name == "segment"
    assert "8 segments" in repr(fitted)
    assert "converged: 6" in repr(fitted)


@pytest.mark.parametrize("size", [60, 61, 250, 300, 5_000])
def test_a_segment_is_what_it_is_alone(fitted, unequal, size):
    segment = f"s{SIZES.index(size)}"
    fit = alone(unequal[unequal["segment"] == segment])
    assert_equal(fitted, segment, fit)
    p_value = fitted.table[fitted.table["segment"] == segment]["p_value"]
    np.testing.assert_allclose(p_value, fit.summary()["p_value"], rtol=1e-5, atol=1e-12)


def test_a_segment_is_what_statsmodels_says(fitted, unequal):
    sm = pytest.importorskip("statsmodels.api")
    for segment, rows in unequal.groupby("segment"):
        if not fitted.segments.loc[segment, "converged"]:
            continue
        x = sm.add_constant(rows[["x1", "x2"]] - [1_000, 0])
        found = sm.Logit(rows["y"], x).fit(disp=0, tol=1e-12)
        np.testing.assert_allclose(fitted.coef.loc[segment, "x1":], found.params[1:], rtol=1e-6)
        errors = fitted.table.query("segment == @segment")["std_error"]
        np.testing.assert_allclose(errors[1:], found.bse[1:], rtol=1e-6)


def test_what_has_no_estimate_says_why(fitted):
    assert fitted.segments["status"][["s0", "s1"]].tolist() == ["one outcome"] * 2
    gone = ~fitted.segments["converged"]
    assert fitted.coef[gone].isna().all().all()
    assert set(fitted.segments.index[gone]) == {
        f.where.removeprefix("segment = '").rstrip("'") for f in fitted.findings
    }
    assert (fitted.segments["findings"][gone] != "").all()


def separated() -> pd.DataFrame:
    """Four segments: complete, quasi-complete, one outcome, overlapping; and too small ones."""
    x = np.arange(12.0)
    noise = np.array([0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1])
    quasi = np.where(x < 5, 0, np.where(x > 5, 1, 0))
    other = np.concatenate([quasi, [1]]), np.concatenate([x, [5.0]])
    parts = [
        pd.DataFrame({"segment": "complete", "x": x, "y": (x > 4.5).astype(int)}),
        pd.DataFrame({"segment": "quasi", "x": other[1], "y": other[0]}),
        pd.DataFrame({"segment": "never", "x": x, "y": 0}),
        pd.DataFrame({"segment": "always", "x": x, "y": 1}),
        pd.DataFrame({"segment": "overlap", "x": x, "y": noise}),
        pd.DataFrame({"segment": "constant", "x": 3.0, "y": noise}),
        pd.DataFrame({"segment": "single", "x": [2.0], "y": [1]}),
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "cauchit"])
def test_separation_is_found_in_its_segment_only(link):
    data = separated()
    with pytest.warns(bg.BayesGLMWarning, match="6 of 7 fits"):
        many = bg.fit_many("y ~ x", data, by="segment", link=link)
    assert many.segments["status"].to_dict() == {
        "always": "one outcome",
        "complete": "separated",
        "constant": "aliased",
        "never": "one outcome",
        "overlap": "converged",
        "quasi": "separated",
        "single": "one outcome",
    }
    assert_equal(many, "overlap", alone(data[data["segment"] == "overlap"], "y ~ x", link=link))
    codes = {finding.where: finding.code for finding in many.findings}
    assert list(codes) == sorted(codes)
    assert codes["segment = 'quasi'"] == codes["segment = 'complete'"] == "separation"
    values = {f.where: f.value for f in many.findings if f.code == "separation"}
    assert values == {"segment = 'complete'": 12, "segment = 'quasi'": 11}


def test_too_few_rows():
    data = simulate([2, 50], seed=1)
    data.loc[data["segment"] == "s0", "y"] = [0, 1]
    with pytest.warns(bg.BayesGLMWarning, match="too few rows 1"):
        many = bg.fit_many("y ~ x1 + x2", data, by="segment")
    (finding,) = many.findings
    assert finding.code == "too-few-rows"
    assert (finding.value, finding.threshold) == (2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_separation_is_that_of_the_exact_check(seed):
    """Small segments, many of them separated by two columns together."""
    data = simulate([9] * 120, seed=seed)
    data["x1"] -= 1_000
    with pytest.warns(bg.BayesGLMWarning):
        many = bg.fit_many("y ~ x1 + x2", data, by="segment")
    status = many.segments["status"]
    assert set(status) <= {"separated", "one outcome", "converged"}
    for segment, rows in data.groupby("segment"):
        found = bg.diagnose(bg.Model("y ~ x1 + x2", rows))
        split = any(f.code == "separation" for f in found)
        assert split == (status[segment] != "converged"), segment


def test_maps_exist_where_likelihoods_have_no_top():
    data = separated()
    many = bg.fit_many("y ~ x", data, by="segment", method="map")
    assert many.estimated.all()
    assert "p_value" not in many.table
    assert {f.code for f in many.findings} == {"one-class"}


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"prior": "gelman"},
        {"prior": {"x1": dist.Laplace(0.0, 0.3), "Intercept": dist.StudentT(4.0, 0.0, 2.0)}},
        {"link": "cloglog", "offset": "known"},
        {"prior": {"x2": None}, "center": False},
    ],
    ids=["weak", "gelman", "own", "cloglog", "partly flat"],
)
def test_a_mode_is_that_of_the_model_with_the_same_priors(words):
    data = simulate([40, 90, 90, 200], seed=5)
    many = bg.fit_many("y ~ x1 + x2", data, by="segment", method="map", **words)
    for segment in ("s0", "s2"):
        assert_equal(many, segment, many.model(segment).fit("map"))


def test_priors_are_learned_on_all_rows():
    data = simulate([50, 50])
    many = bg.fit_many("y ~ x1", data, by="segment", method="map")
    whole = bg.Model("y ~ x1", data)
    assert repr(many.priors) == repr(whole.priors)


def test_trials_weights_and_offset():
    data = simulate([150, 200, 40], seed=3)
    rng = np.random.default_rng(0)
    data["events"] = rng.binomial(data["trials"], 0.4)
    words = {"trials": "trials", "weights": "weight", "offset": "known"}
    many = bg.fit_many("events ~ x2 + g", data, by="segment", **words)
    for segment, rows in data.groupby("segment"):
        assert_equal(many, segment, alone(rows, "events ~ x2 + g", **words))
        assert many.segments.loc[segment, "rows"] == (rows["weight"] > 0).sum()


def test_rows_of_weight_0_are_absent():
    data = simulate([150, 150], seed=3)
    rest = data[data["weight"] > 0]
    with_zeros = bg.fit_many("y ~ x2", data, by="segment", weights="weight")
    without = bg.fit_many("y ~ x2", rest, by="segment", weights="weight")
    np.testing.assert_allclose(with_zeros.theta, without.theta, rtol=1e-9)
    data.loc[data["segment"] == "s1", "weight"] = 0.0
    with pytest.warns(bg.BayesGLMWarning, match="no rows 1"):
        many = bg.fit_many("y ~ x2", data, by="segment", weights="weight")
    assert many.segments["status"].tolist() == ["converged", "no rows"]


@pytest.mark.parametrize("link", ["probit", "loglog", "cauchit", "student_t(4)", "log", "identity"])
def test_every_link(link, small):
    data = small.assign(segment=np.arange(len(small)) % 2)
    many = bg.fit_many("y ~ x1 + x2", data, by="segment", link=link)
    for segment, rows in data.groupby("segment"):
        assert_equal(many, segment, alone(rows, link=link))


def test_a_link_of_ones_own(small):
    mine = bg.Link("mine", log_p=jax.nn.log_sigmoid, log_q=lambda eta: jax.nn.log_sigmoid(-eta))
    data = small.assign(segment=np.arange(len(small)) % 2)
    own = bg.fit_many("y ~ x1", data, by="segment", link=mine)
    logit = bg.fit_many("y ~ x1", data, by="segment")
    np.testing.assert_allclose(own.theta, logit.theta, rtol=1e-8)
    np.testing.assert_allclose(own.cov, logit.cov, rtol=1e-6)


def test_an_optimum_on_the_boundary_is_left_to_the_single_fit():
    """Under the identity link the fit of a segment may end where a probability is 0."""
    rng = np.random.default_rng(1)
    x = np.tile(np.linspace(0, 1, 40), 2)
    p = np.where(np.arange(80) < 40, 0.2 + 0.4 * x, 0.02 + 0.9 * x)
    data = pd.DataFrame({"segment": np.repeat(["in", "end"], 40), "x": x, "y": rng.uniform(size=80) < p})  # fmt: skip
    data.loc[40:44, "y"] = False
    many = bg.fit_many("y ~ x", data, by="segment", link="identity")
    for segment, rows in data.groupby("segment"):
        fit = bg.Model("y ~ x", rows, link="identity")
        with pytest.warns(bg.BayesGLMWarning) if segment == "end" else _nothing():
            fit = fit.fit()
        assert many.segments.loc[segment, "status"] == str(fit.status)
        np.testing.assert_allclose(many.coef.loc[segment], fit.coef, atol=1e-6)
    assert many.segments.loc["end", "findings"] == "boundary"


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_levels_that_a_segment_lacks():
    data = simulate([100, 100, 100], seed=2)
    data.loc[(data["segment"] == "s1") & (data["g"] == "c"), "g"] = "a"
    data.loc[(data["segment"] == "s2") & (data["g"] == "a"), "g"] = "b"
    with pytest.warns(bg.BayesGLMWarning, match="aliased 2"):
        many = bg.fit_many("y ~ g + x2", data, by="segment")
    assert list(many.names) == ["Intercept", "g[T.b]", "g[T.c]", "x2"]
    assert many.segments["status"].tolist() == ["converged", "aliased", "aliased"]
    told = [finding.message for finding in many.findings]
    assert "g[T.c]" in told[0]

    dropped = bg.fit_many("y ~ g + x2", data, by="segment", aliased="drop")
    assert dropped.segments["converged"].all()
    assert dropped.segments["findings"].tolist() == ["", "aliased-dropped", "aliased-dropped"]
    rows = data[data["segment"] == "s1"]
    fit = alone(rows, "y ~ g + x2")
    assert np.isnan(dropped.coef.loc["s1", "g[T.c]"])
    np.testing.assert_allclose(dropped.coef.loc["s1"].dropna(), fit.coef, rtol=1e-6)
    p = dropped.predict(rows)
    np.testing.assert_allclose(p, fit.predict(rows), rtol=1e-6)


def test_several_columns_name_a_segment():
    data = simulate([200, 300], seed=4)
    data["year"] = np.arange(len(data)) % 2 + 2020
    data["area"] = pd.Categorical(data["segment"], categories=["s1", "s0", "s9"])
    many = bg.fit_many("y ~ x2", data, by=["area", "year"])
    assert many.segments.index.names == ["area", "year"]
    assert many.labels["year"].tolist() == [2020, 2021, 2020, 2021]
    # Categories in their order; one without rows is no segment.
    assert many.labels["area"].tolist() == ["s1", "s1", "s0", "s0"]
    rows = data[(data["area"] == "s0") & (data["year"] == 2021)]
    np.testing.assert_allclose(many.coef.loc[("s0", 2021)], alone(rows, "y ~ x2").coef, rtol=1e-6)
    assert many.table.columns[:3].tolist() == ["area", "year", "term"]
    fit = many.model(("s0", 2021)).fit()
    np.testing.assert_allclose(fit.coef, many.coef.loc[("s0", 2021)], rtol=1e-6)
    new = {"area": ["s0"], "year": [2021], "x2": [0.3]}
    np.testing.assert_allclose(many.predict(new), fit.predict(new), rtol=1e-6)


def test_predictions_go_to_their_segments(fitted, unequal):
    rows = unequal.head(200)
    p = fitted.predict(rows)
    for place in np.random.default_rng(0).choice(200, 10):
        segment = rows["segment"].iloc[place]
        if not fitted.segments.loc[segment, "converged"]:
            assert np.isnan(p[place])
            continue
        one = fitted.model(segment).fit().predict(rows.iloc[[place]])
        np.testing.assert_allclose(p[place], one[0], rtol=1e-6)
    with pytest.raises(bg.DataError, match=r"segments=\['s77'\]"):
        fitted.predict({"segment": ["s77"], "x1": [0.0], "x2": [0.0]})
    with pytest.raises(bg.DataError, match="'s77'"):
        fitted.model("s77")


@pytest.mark.parametrize(
    ("formula", "method"),
    [
        ("y ~ 1", "mle"),
        ("y ~ 1", "map"),
        ("y ~ 0 + x2", "mle"),
        ("y ~ 0 + x2", "map"),
        pytest.param("y ~ x2 + C(band)", "map", marks=pytest.mark.slow),
        ("y ~ g * C(band)", "mle"),
    ],
)
def test_every_shape_of_a_matrix(formula, method):
    """No predictors, no constant, a sparse matrix, rows that repeat."""
    data = simulate([700, 800], seed=9)
    data["band"] = np.arange(len(data)) % (120 if "x2" in formula else 3)
    many = bg.fit_many(formula, data, by="segment", method=method)
    model = many.model("s1")
    assert_equal(many, "s1", model.fit(method))
    np.testing.assert_allclose(many.predict(data)[data["segment"] == "s1"], model.fit(method).predict(), rtol=1e-6)  # fmt: skip


def test_nothing_to_fit():
    data = pd.DataFrame({"segment": [1, 1, 2, 2], "x": [0.0, 1.0, 2.0, 3.0], "y": [0, 0, 1, 1]})
    with pytest.warns(bg.BayesGLMWarning, match="2 of 2 fits"):
        many = bg.fit_many("y ~ x", data, by="segment")
    assert many.table["estimate"].isna().all()
    assert np.isnan(many.predict({"segment": 1, "x": [0.0, 1.0]})).all()


def test_rows_in_any_order_and_of_any_library(unequal):
    pl = pytest.importorskip("polars")
    rows = unequal[unequal["segment"].isin(["s3", "s5"])]
    one = bg.fit_many("y ~ x1", rows, by="segment")
    other = bg.fit_many("y ~ x1", pl.from_pandas(rows.sort_values("segment")), by="segment")
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-8)
    assert list(other.segments.index) == ["s3", "s5"]


def test_missing_values():
    data = simulate([100, 120], seed=6)
    holes = data.copy()
    holes.loc[[3, 5, 9], "segment"] = None
    with pytest.raises(bg.DataError, match=r"by: segment \(3\)"):
        bg.fit_many("y ~ x2", holes, by="segment")
    holes.loc[[7, 8], "x2"] = np.nan
    with pytest.raises(bg.DataError, match="missing or infinite values in x2"):
        bg.fit_many("y ~ x2", holes.dropna(subset="segment"), by="segment")
    many = bg.fit_many("y ~ x2", holes, by="segment", missing="drop")
    rest = bg.fit_many("y ~ x2", holes.dropna(), by="segment")
    np.testing.assert_allclose(many.theta, rest.theta, rtol=1e-9)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"by": "segmnt"}, 'did you mean "segment"'),
        ({}, "takes one of by="),
        ({"by": "segment", "over": ["x1"]}, "takes one of by="),
        ({"by": []}, "must name columns"),
        ({"by": 3}, "must be the name of a column"),
        ({"by": ["g", "g"]}, "names a column twice"),
        ({"by": "segment", "method": "mel"}, 'did you mean "mle"'),
        ({"by": "segment", "method": "nuts"}, "model of one segment"),
        ({"by": "segment", "weights": [1.0]}, "weights must be the name of a column"),
        ({"by": "segment", "level": 2}, "level must lie between"),
        ({"by": "segment", "aliased": "keep"}, "unknown aliased"),
        ({"by": "segment", "method": "map", "prior": {"x1": dist.HalfNormal()}}, "all real"),
        ({"by": "segment", "link": "student_t"}, "shape is fixed"),
    ],
)
def test_wrong_words(unequal, words, told):
    with pytest.raises(bg.BayesGLMError, match=told):
        bg.fit_many("y ~ x1", unequal, **words)


def test_data_may_be_a_file_and_columns_have_names_of_their_own(unequal, tmp_path):
    rows = unequal[unequal["segment"] == "s5"]
    rows.to_csv(tmp_path / "data.csv", index=False)
    many = bg.fit_many("y ~ x2", tmp_path / "data.csv", by="segment")
    np.testing.assert_allclose(many.coef.loc["s5"], alone(rows, "y ~ x2").coef, rtol=1e-6)
    with pytest.raises(bg.DataError, match="name of one of the answers"):
        bg.fit_many("y ~ x2", unequal.rename(columns={"g": "term"}), by="term")


@pytest.mark.parametrize("formula", ["y ~ x1 + (1 | g)", "y ~ s(x1)"])
def test_groups_and_curves_are_refused(unequal, formula):
    with pytest.raises(bg.SpecificationError, match="no group-level and no smooth terms"):
        bg.fit_many(formula, unequal, by="segment")


def test_laplace_is_the_posterior_and_says_how_sure(unequal):
    data = simulate([30, 60, 300], seed=8)
    many = bg.fit_many("y ~ x1 + x2", data, by="segment", method="laplace", seed=1)
    same = bg.fit_many("y ~ x1 + x2", data, by="segment", method="laplace", seed=1)
    pd.testing.assert_frame_equal(many.table, same.table)
    assert (many.segments["k_hat"] < 0.7).all()
    for segment in ("s0", "s2"):
        post = many.model(segment).fit("laplace", draws=2_000, seed=3).summary()
        rows = many.table[many.table["segment"] == segment].set_index("term")
        off = (rows["estimate"] - post["estimate"]) / post["std_error"]
        assert (off.abs() < 0.15).all()
        np.testing.assert_allclose(rows["std_error"], post["std_error"], rtol=0.12)


def test_a_posterior_that_no_gaussian_reaches_is_not_certified():
    data = pd.DataFrame({"segment": np.repeat([0, 1], 30), "x": np.tile(np.arange(30.0), 2)})
    data["y"] = (data["x"] > 14).astype(int)
    wide = {"x": dist.Cauchy(0.0, 1e3), "Intercept": dist.Cauchy(0.0, 1e3)}
    many = bg.fit_many("y ~ x", data, by="segment", method="laplace", prior=wide)
    assert set(many.segments["findings"]) == {"laplace"}
    assert all(finding.value > finding.threshold for finding in many.findings)


def screened(n=400, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(rng.normal(size=(n, 2)), columns=["x1", "x2"]).assign(
        x1=lambda d: d.x1 + 50
    )
    snps = rng.binomial(2, 0.3, size=(n, 6))
    data[[f"snp{j}" for j in range(6)]] = snps
    eta = data["x2"] + 0.5 * data["snp3"] - 0.5
    return data.assign(
        y=(rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(int),
        flag=rng.uniform(size=n) < 0.5,
        flat=1.0,
        twin=lambda d: 2 * d["x2"] + 1,
        perfect=lambda d: d["y"] * 1.0,
        trials=rng.integers(1, 4, size=n),
        weight=rng.integers(0, 3, size=n).astype(float),
    )


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_candidates_are_those_of_a_loop(link):
    data = screened()
    data.loc[:20, "snp1"] = np.nan
    over = ["snp0", "snp1", "snp3", "flag"]
    words = {"link": link, "weights": "weight"}
    many = bg.fit_many("y ~ x1 + x2", data, over=over, missing="drop", **words)
    table = many.table.set_index("candidate")
    assert list(table.columns) == [
        *("estimate", "std_error", "lower", "upper", "p_value", "score", "score_p_value")
    ]
    for name in over:
        rows = data.dropna(subset=[name]).assign(flag=data["flag"] * 1.0)
        fit = alone(rows, f"y ~ x1 + x2 + {name}", **words)
        want = fit.summary().loc[name]
        for column in ("estimate", "std_error", "lower", "upper", "p_value"):
            np.testing.assert_allclose(table.loc[name, column], want[column], rtol=1e-6)
        np.testing.assert_allclose(many.coef.loc[name], fit.coef, rtol=1e-6)
        np.testing.assert_allclose(many.segments.loc[name, "loglik"], fit.loglik, rtol=1e-9)
    assert many.segments["findings"].tolist() == ["", "dropped", "", ""]


def test_score_tests_are_those_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    data = screened()
    data.loc[:20, "snp1"] = np.nan
    over = ["snp0", "snp1", "snp3"]
    table = bg.fit_many("y ~ x2", data, over=over, missing="drop").table.set_index("candidate")
    for name in over:
        rows = data.dropna(subset=[name])
        null = sm.GLM(rows["y"], sm.add_constant(rows[["x2"]]), family=sm.families.Binomial())
        test = null.fit(tol=1e-12).score_test(exog_extra=rows[[name]].to_numpy())
        np.testing.assert_allclose(table.loc[name, "score"] ** 2, test.statistic, rtol=1e-6)
        np.testing.assert_allclose(table.loc[name, "score_p_value"], test.pvalue, rtol=1e-6)


def test_odd_candidates_spoil_no_others():
    data = screened()
    with pytest.warns(bg.BayesGLMWarning, match="3 of 4 fits"):
        many = bg.fit_many("y ~ x1 + x2", data, over=["snp0", "flat", "twin", "perfect"])
    assert many.segments["status"].to_dict() == {
        "snp0": "converged",
        "flat": "aliased",
        "twin": "aliased",
        "perfect": "separated",
    }
    fit = alone(data, "y ~ x1 + x2 + snp0")
    np.testing.assert_allclose(many.coef.loc["snp0"], fit.coef, rtol=1e-6)
    # The score test needs no estimate of the candidate's effect.
    assert many.table.set_index("candidate")["score"].notna().to_dict() == {
        "snp0": True,
        "flat": False,
        "twin": False,
        "perfect": True,
    }
    with pytest.raises(bg.SpecificationError, match="predict is for fits by segment"):
        many.predict(data)


def test_many_candidates_in_blocks():
    rng = np.random.default_rng(0)
    data = screened(150)
    names = [f"c{j}" for j in range(700)]
    data = pd.concat([data, pd.DataFrame(rng.normal(size=(150, 700)), columns=names)], axis=1)
    many = bg.fit_many("y ~ x2", data, over=names)
    assert many.segments["converged"].all()
    for name in ("c0", "c333", "c699"):
        np.testing.assert_allclose(
            many.coef.loc[name], alone(data, f"y ~ x2 + {name}").coef, rtol=1e-6
        )
    # Under the null hypothesis.
    assert 0.03 < (many.table["score_p_value"] < 0.05).mean() < 0.08


@pytest.mark.parametrize("method", ["mle", "map"])
def test_outcomes_are_those_of_a_loop(method):
    rng = np.random.default_rng(2)
    data = screened()
    for j in range(3):
        data[f"out{j}"] = rng.binomial(1, 0.2 + 0.2 * j, size=len(data))
    data["answer"] = np.where(rng.uniform(size=len(data)) < 0.4, "yes", "no")
    data["gaps"] = data["out0"].astype(float).mask(data.index < 30)
    names = ["out0", "out2", "answer", "gaps"]
    many = bg.fit_many("~ x1 + x2", data, outcomes=names, method=method, missing="drop")
    assert many.segments.index.name == "outcome"
    for name in names:
        model = bg.Model(f"{name} ~ x1 + x2", data, missing="drop")
        if name != "gaps" or method == "mle":
            assert_equal(many, name, model.fit(method))
    assert many.segments.loc["gaps", "rows"] == len(data) - 30


def test_outcomes_may_be_counts():
    data = screened()
    rng = np.random.default_rng(0)
    data["a"] = rng.binomial(data["trials"], 0.3)
    data["b"] = rng.binomial(data["trials"], 0.6)
    many = bg.fit_many("~ x2", data, outcomes=["a", "b"], trials="trials")
    for name in ("a", "b"):
        assert_equal(many, name, alone(data, f"{name} ~ x2", trials="trials"))


@pytest.mark.parametrize(
    ("formula", "words", "told"),
    [
        ("y ~ x2", {"over": ["snp9"]}, "columns that are not in the data"),
        ("y ~ x2", {"over": ["x2"]}, "in the formula already"),
        ("y ~ x2", {"over": ["text"]}, "must hold numbers"),
        ("y ~ x2", {"over": ["holes"]}, r"candidates have missing or infinite values: holes \(5\)"),
        ("y ~ x2", {"over": ["snp1"], "method": "map"}, "by maximum likelihood"),
        ("y ~ perfect", {"over": ["snp1"]}, "separate the outcome"),
        ("y ~ x2", {"outcomes": ["y"]}, "no left side"),
        ("~ x2", {"outcomes": ["nope"]}, "not in the data"),
        ("~ x2", {"outcomes": ["snp1"]}, "has 3 values"),
        ("~ x2", {"outcomes": ["y"], "method": "laplace"}, "by segment"),
        ("~ x2", {"by": "flag"}, "has the form"),
    ],
)
def test_wrong_screens(formula, words, told):
    data = screened().assign(text="a", holes=lambda d: d["x1"].mask(d.index < 5))
    with pytest.raises(bg.BayesGLMError, match=told):
        bg.fit_many(formula, data, **words)


def test_sizes_share_programs():
    sizes = np.random.default_rng(0).integers(1, 5_000, size=2_000)
    padded = row_sizes(sizes)
    assert (padded >= sizes).all()
    assert len(np.unique(padded)) <= 8
    # Equal ones are hardly padded.
    assert row_sizes(np.full(10_000, 200)).max() <= 220


def test_rows_are_sorted_by_segment():
    codes = np.array([2, 0, 2, 1, 0])
    found = Segments.make(codes, 4, np.array([True, True, True, True, False]))
    assert found.sizes.tolist() == [1, 1, 2, 0]
    assert found.rows(2).tolist() == [0, 2]
