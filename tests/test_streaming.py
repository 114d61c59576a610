"""Rows that stay on disk: the numbers are those of a fit in memory, and files are not trusted."""

from __future__ import annotations

import os
from functools import partial

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import bayesglm as bg
from bayesglm.design import Design
from bayesglm.generative import log_density
from bayesglm.precision import scope
from bayesglm.streaming.streamed import StreamedDesign

N, FILES, GROUP = 6_000, 3, 700


def made(n: int = N, seed: int = 5) -> pd.DataFrame:
    """Return numbers and factors with an outcome, and one of counts."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x1": rng.normal(size=n),
            "x2": rng.normal(50, 4, n),
            "g": rng.choice(["a", "b", "c", "rare"], n, p=[0.5, 0.3, 0.199, 0.001]),
            "k": rng.integers(0, 4, n),
            "clinic": rng.integers(0, 40, n),
            "w": rng.integers(0, 4, n).astype(float),
            "known": rng.normal(0, 0.2, n),
            "t": rng.integers(1, 5, n),
        }
    )
    eta = 0.5 * frame.x1 - 0.05 * (frame.x2 - 50) + 0.4 * (frame.g == "b") - 0.6 + frame.known
    p = 1 / (1 + np.exp(-eta))
    frame["y"] = (rng.random(n) < p).astype(int)
    frame["s"] = rng.binomial(frame.t, p)
    return frame


def written(frame: pd.DataFrame, folder, files: int = FILES):
    """Write a table as Parquet files of small row groups; return the folder."""
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        path = folder / f"part-{number:02d}.parquet"
        frame.iloc[rows].to_parquet(path, row_group_size=GROUP)
    return folder


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    return written(frame, tmp_path_factory.mktemp("claims"))


def close(found, wanted, *, rtol=1e-8):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=rtol, atol=1e-12)


def alike(streamed: bg.Fit, whole: bg.Fit) -> None:
    """Hold two fits against each other."""
    assert isinstance(streamed.design, StreamedDesign)
    assert streamed.terms == whole.terms
    close(streamed.coef, whole.coef)
    close(np.sqrt(np.diag(streamed.vcov)), np.sqrt(np.diag(whole.vcov)))
    close(streamed.loglik, whole.loglik, rtol=1e-11)
    close(streamed.deviance, whole.deviance, rtol=1e-10)
    close(streamed.loss, whole.loss, rtol=1e-10)
    assert streamed.nobs == whole.nobs


CURVED = "y ~ x1 * g + poly(x2, 2) + scale(known):C(k)"
FITS = {
    "numbers": ("y ~ x1 + x2", {}, {}),
    "all kinds": (CURVED, {}, {}),
    "weights and offset": ("y ~ x1 + g", {"weights": "w", "offset": "known"}, {"cov": "HC1"}),
    "trials": ("s ~ x1 + x2 + g", {"trials": "t"}, {}),
    "cbind": ("cbind(s, t - s) ~ x1 + offset(known)", {}, {"cov": "HC0"}),
    "expression": ("k >= 2 ~ x1 + log(x2)", {}, {}),
    "sampling": ("y ~ x1 + x2", {"weights": "w", "weights_kind": "sampling"}, {}),
    "probit": ("y ~ x1 + g", {"link": "probit"}, {"cov": "HC3"}),
    "cauchit": ("y ~ x1 + g", {"link": "cauchit"}, {"information": "observed"}),
    "clusters": ("y ~ x1 + x2", {}, {"cluster": "clinic"}),
    "no intercept": ("y ~ 0 + x1 + x2", {}, {}),
    "least squares": ("y ~ x1 + g", {"family": "gaussian"}, {}),
}


@pytest.mark.parametrize("name", FITS)
def test_maximum_likelihood_is_that_in_memory(name, frame, folder):
    formula, words, options = FITS[name]
    model = bg.Model(formula, folder, memory="1MB", **words)
    assert model.design.reading().rows < GROUP
    alike(model.fit("mle", **options), bg.Model(formula, frame, **words).fit("mle", **options))


def test_facts_and_priors_are_those_of_all_rows(frame, folder):
    words = {"weights": "w", "offset": "known"}
    model = bg.Model(CURVED, folder, memory="1MB", **words)
    whole = bg.Model(CURVED, frame, **words)
    assert model.design.sample.n < whole.design.n
    for found, wanted in zip(model.design.columns, whole.design.columns, strict=True):
        assert (found.term, found.kind, found.variables) == (
            wanted.term,
            wanted.kind,
            wanted.variables,
        )
        for word in ("mean", "sd", "minimum", "maximum", "mean_rows", "sd_rows"):
            close(getattr(found, word), getattr(wanted, word), rtol=1e-9)
    for preset in ("weak", "rstanarm", "bambi", "gelman"):
        tables = [
            bg.Model(CURVED, data, prior=preset, **words, **more).priors.table()
            for data, more in ((folder, {"memory": "1MB"}), (frame, {}))
        ]
        close(tables[0]["scale"], tables[1]["scale"], rtol=1e-9)


def test_mode_of_the_posterior_is_that_in_memory(frame, folder):
    import numpyro.distributions as dist

    alike(bg.Model(CURVED, folder, memory="1MB").fit("map"), bg.Model(CURVED, frame).fit("map"))
    # A coefficient that is positive: eta is not linear in the unconstrained vector.
    words = {"prior": {"x1": dist.HalfNormal(1.0), "default": "weak"}}
    alike(
        bg.Model("y ~ x1 + x2", folder, memory="1MB", **words).fit("map"),
        bg.Model("y ~ x1 + x2", frame, **words).fit("map"),
    )


def test_laplace_has_its_certificate(frame, folder):
    streamed = bg.Model("y ~ x1 + g", folder, memory="1MB").fit("laplace", seed=1)
    whole = bg.Model("y ~ x1 + g", frame).fit("laplace", seed=1)
    assert streamed.result.options["verdict"] == whole.result.options["verdict"] == "holds"
    sd = np.sqrt(np.diag(whole.vcov))
    assert (np.abs(streamed.coef - whole.coef) < 0.1 * sd).all()
    close(np.sqrt(np.diag(streamed.vcov)), sd, rtol=0.1)
    close(streamed.loglik, whole.loglik, rtol=1e-4)
    assert "k_hat" in streamed.summary()
    # Its log density is that of the model in memory, at each draw.
    target = bg.Model("y ~ x1 + g", frame).fit("map").target
    draw = streamed.result.flat_draws[0, 0]
    with scope("float64"):
        density = float(
            jax.jit(partial(log_density, target.structure, jacobian=True))(target.arrays, draw)
        )
    close(streamed.result.sample_stats["lp"][0, 0], density, rtol=1e-10)


def test_other_errors_without_fitting_again(frame, folder):
    fit = bg.Model("y ~ x1 + x2", folder, memory="1MB").fit("mle")
    whole = bg.Model("y ~ x1 + x2", frame).fit("mle")
    for words in ({"cov": "HC2"}, {"cluster": "clinic"}, {"information": "observed"}):
        close(fit.with_cov(**words).vcov, whole.with_cov(**words).vcov)


@pytest.mark.parametrize("by", [True, "g", ["g", "k"]])
def test_averages_over_rows(by, frame, folder):
    words = {"weights": "w"}
    fit = bg.Model(CURVED, folder, memory="1MB", **words).fit("mle")
    whole = bg.Model(CURVED, frame, **words).fit("mle")
    for ask in (
        lambda f: bg.predictions(f, by=by),
        lambda f: bg.slopes(f, ["x1", "x2"], by=by),
        lambda f: bg.comparisons(f, {"g": None, "x1": 2.0, "x2": "minmax"}, by=by),
    ):
        found, wanted = ask(fit), ask(whole)
        assert list(found.columns) == list(wanted.columns)
        numbers = wanted.select_dtypes("number").columns
        close(found[numbers], wanted[numbers], rtol=1e-6)
        close(found.vcov, wanted.vcov, rtol=1e-6)
    with pytest.raises(bg.SpecificationError, match="read by blocks"):
        bg.predictions(fit)
    with pytest.raises(bg.DataError, match="stay on disk"):
        fit.predict()


def test_averages_of_draws(folder):
    fit = bg.Model("y ~ x1 + g", folder, memory="1MB").fit("laplace", draws=50, seed=1)
    found = bg.predictions(fit, by="g")
    assert found.draws.shape == (4, 50, 4)
    assert (found["lower"] < found["estimate"]).all()
    assert bg.slopes(fit, by=True).shape[0] == 4


def test_scores(frame, folder):
    fit = bg.Model(CURVED, folder, memory="1MB", weights="w").fit("mle")
    whole = bg.Model(CURVED, frame, weights="w").fit("mle")
    found, wanted = bg.scores(fit), bg.scores(whole)
    sums = ["log_score", "brier", "accuracy", "ece", "tjur_r2", "mcfadden_r2"]
    close(found.loc[sums, "estimate"], wanted.loc[sums, "estimate"])
    # By bins.
    np.testing.assert_allclose(found["estimate"], wanted["estimate"], atol=2e-4)
    close(found.loc["auc", "estimate"], wanted.loc["auc", "estimate"], rtol=1e-4)
    width = [t["upper"] - t["lower"] for t in (found, wanted)]
    close(width[0]["auc"], width[1]["auc"], rtol=0.4)
    drawn = bg.Model("y ~ x1", folder, memory="1MB").fit("laplace", draws=25, seed=1)
    assert (bg.scores(drawn)["lower"] <= bg.scores(drawn)["upper"]).all()


def test_a_fit_goes_on_without_its_files(folder, tmp_path):
    fit = bg.Model(CURVED, folder, memory="1MB").fit("mle")
    fit.save(tmp_path / "fit.nc")
    again = bg.load(tmp_path / "fit.nc")
    rows = made(50, seed=9)
    close(again.predict(rows), fit.predict(rows), rtol=1e-12)
    assert str(again) == str(fit)
    assert (again.nobs, again.aic, again.deviance) == (fit.nobs, fit.aic, fit.deviance)
    with pytest.raises(bg.DataError, match="without its data"):
        bg.predictions(again, by=True)


# -- what is small in memory ---------------------------------------------------------------------


@pytest.mark.parametrize("words", [{}, {"weights": "w"}, {"offset": "k"}])
def test_rows_that_repeat_become_a_small_table(words, frame, folder):
    model = bg.Model("y ~ g + C(k)", folder, **words)
    whole = bg.Model("y ~ g + C(k)", frame, **words)
    assert type(model.design) is Design
    assert model.design.n <= 32
    assert any(f.code == "compressed" for f in model.design.findings)
    for method in ("mle", "map"):
        fit, wanted = model.fit(method), whole.fit(method)
        close(fit.coef, wanted.coef)
        close(fit.vcov, wanted.vcov)
        close(fit.loglik, wanted.loglik, rtol=1e-11)
        assert fit.nobs == wanted.nobs
    close(fit.deviance, wanted.deviance)
    close(
        bg.predictions(fit, by="g")["estimate"],
        bg.predictions(wanted, by="g")["estimate"],
    )
    assert "8,000" not in repr(model)


def test_repeated_rows_with_sampling_weights(frame, folder):
    words = {"weights": "w", "weights_kind": "sampling"}
    model, whole = bg.Model("y ~ g", folder, **words), bg.Model("y ~ g", frame, **words)
    assert type(model.design) is Design
    close(model.fit("mle").vcov, whole.fit("mle").vcov)


def test_curves_of_repeated_rows_are_learned_from_all(frame, folder):
    formula = "y ~ poly(k, 2) + bs(clinic, df=4)"
    model, whole = bg.Model(formula, folder), bg.Model(formula, frame)
    assert type(model.design) is Design
    close(model.fit("mle").coef, whole.fit("mle").coef)


@pytest.mark.slow
def test_every_method_works_on_the_small_table(frame, folder):
    model, whole = bg.Model("y ~ g + k", folder), bg.Model("y ~ g + k", frame)
    draws = [m.fit("nuts", seed=1, draws=2_000) for m in (model, whole)]
    sd = np.sqrt(np.diag(draws[1].vcov))
    assert (np.abs(draws[0].coef - draws[1].coef) < 0.2 * sd).all()
    grouped = bg.Model("y ~ k + (1 | g)", folder).fit("mle")
    close(grouped.coef, bg.Model("y ~ k + (1 | g)", frame).fit("mle").coef, rtol=1e-5)


# -- sources -------------------------------------------------------------------------------------


def test_sources(frame, folder):
    paths = sorted(str(path) for path in folder.iterdir())
    wanted = bg.Model("y ~ x1", frame).fit("mle").coef
    for data in (
        f"{folder}/*.parquet",
        folder,
        paths,
        ds.dataset(paths, format="parquet"),
    ):
        close(bg.Model("y ~ x1", data, memory=1_000_000).fit("mle").coef, wanted)
    one = bg.Model("y ~ x1", paths[0])
    assert type(one.design) is Design
    assert isinstance(bg.Model("y ~ x1", paths[0], memory="1 MB").design, StreamedDesign)


def test_filter_and_folders_as_columns(frame, tmp_path):
    table = pa.Table.from_pandas(frame.assign(year=2020 + frame.k), preserve_index=False)
    pq.write_to_dataset(table, tmp_path / "claims", partition_cols=["year"])
    some = frame[frame.k >= 2]
    model = bg.Model(
        "y ~ x1 + x2", tmp_path / "claims", memory="1MB", filter=ds.field("year") >= 2022
    )
    assert model.design.nobs == len(some)
    close(model.fit("mle").coef, bg.Model("y ~ x1 + x2", some).fit("mle").coef)
    by_year = bg.predictions(model.fit("mle"), by="year")
    assert by_year["year"].tolist() == [2022, 2023]


def test_missing_values(frame, tmp_path):
    holes = frame.copy()
    holes.loc[holes.index[4_000], "x1"] = np.nan
    holes.loc[holes.index[100], "g"] = None
    written(holes, tmp_path)
    with pytest.raises(bg.DataError, match=r"missing or infinite.*part-00.*row group 0"):
        bg.Model("y ~ x1 + g", tmp_path, memory="1MB")
    model = bg.Model("y ~ x1 + g", tmp_path, memory="1MB", missing="drop")
    whole = bg.Model("y ~ x1 + g", holes, missing="drop")
    assert str(model.design.findings[0]) == str(whole.design.findings[0])
    alike(model.fit("mle"), whole.fit("mle"))


@pytest.mark.parametrize(
    ("data", "words", "match"),
    [
        ("nothing/*.parquet", {}, "no Parquet file"),
        (".", {}, "no Parquet file"),
        (["a.parquet"], {}, "no such file"),
        ({"y": [0, 1], "x": [1, 2]}, {"memory": "2GB"}, "memory is for Parquet"),
        ("claims", {"memory": "much"}, "memory must be"),
        ("claims", {"memory": 10}, "memory must be"),
        ("claims", {"filter": "year > 3"}, "filter must be"),
        ("claims", {"weights": np.ones(3)}, "weights must name a column"),
        ("claims", {"formula": "y ~ x9"}, "no column 'x9'"),
        ("claims", {"formula": "y ~ x1 + (1 | g)"}, "need their rows in memory"),
        ("claims", {"formula": "y ~ x1 + s(x2)"}, "need their rows in memory"),
        ("claims", {"formula": "t ~ x1"}, "more than two values"),
    ],
)
def test_bad_sources(data, words, match, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    formula = {"formula": "y ~ x1"} | words
    with pytest.raises((bg.DataError, bg.SpecificationError), match=match):
        bg.Model(data=folder if data == "claims" else data, **formula)


def test_methods_that_need_rows_say_so(folder):
    model = bg.Model("y ~ x1", folder, memory="1MB")
    for method in ("nuts", "svi"):
        with pytest.raises(bg.SpecificationError, match="laplace"):
            model.fit(method)
    with pytest.raises(bg.SpecificationError, match="bias_reduction"):
        model.fit("mle", bias_reduction="jeffreys")


def test_separation_and_aliases_are_found(frame, tmp_path):
    split = frame.assign(
        z=(frame.y + np.random.default_rng(0).random(len(frame))), twice=2 * frame.x1
    )
    written(split, tmp_path)
    with pytest.raises(bg.SeparationError, match="rises for ever"):
        bg.Model("y ~ z", tmp_path, memory="1MB").fit("mle")
    with pytest.raises(bg.InferenceError, match="twice = 2 x1"):
        bg.Model("y ~ x1 + twice", tmp_path, memory="1MB").fit("mle")
    with pytest.warns(bg.BayesGLMWarning, match="Left out"):
        dropped = bg.Model("y ~ x1 + twice", tmp_path, memory="1MB").fit("mle", aliased="drop")
    close(dropped.coef, bg.Model("y ~ x1", frame).fit("mle").coef)


# -- files that are not trusted ------------------------------------------------------------------


def test_a_file_that_changes(frame, tmp_path):
    written(frame, tmp_path)
    model = bg.Model("y ~ x1", tmp_path, memory="1MB")
    frame.iloc[:100].to_parquet(tmp_path / "part-01.parquet")
    with pytest.raises(bg.DataError, match=r"changed.*part-01"):
        model.fit("mle")
    os.remove(tmp_path / "part-01.parquet")
    with pytest.raises(bg.DataError, match=r"part-01"):
        model.fit("mle")


def test_a_damaged_file(frame, tmp_path):
    written(frame, tmp_path)
    path = tmp_path / "part-02.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(bg.DataError, match=r"part-02"):
        bg.Model("y ~ x1", tmp_path, memory="1MB")
    middle = bytearray(whole)
    start = pq.ParquetFile(pa.BufferReader(whole)).metadata.row_group(1).column(0)
    begin = start.dictionary_page_offset or start.data_page_offset
    middle[begin : begin + 200] = b"\xff" * 200
    path.write_bytes(bytes(middle))
    with pytest.raises(bg.DataError, match=r"part-02.*row_group=1"):
        bg.Model("y ~ x1 + x2", tmp_path, memory="1MB")


def test_files_that_differ(frame, tmp_path):
    written(frame, tmp_path)
    path = tmp_path / "part-01.parquet"
    frame.assign(x1=frame.x1.astype(str)).to_parquet(path)
    with pytest.raises(bg.DataError, match=r"'x1' has another type.*part-01"):
        bg.Model("y ~ x1", tmp_path, memory="1MB")
    frame.drop(columns="x1").to_parquet(path)
    with pytest.raises(bg.DataError, match=r"no column 'x1'.*part-01"):
        bg.Model("y ~ x1", tmp_path, memory="1MB")


def test_functions_of_the_users_own_work_by_block(frame, folder):
    words = {"context": {"bent": lambda x: np.maximum(x - 50, 0)}}
    model = bg.Model("y ~ x1 + bent(x2)", folder, memory="1MB", **words)
    alike(model.fit("mle"), bg.Model("y ~ x1 + bent(x2)", frame, **words).fit("mle"))


def test_knots_of_a_sample_are_noted(folder):
    model = bg.Model("y ~ bs(x2, df=5) + x1", folder, memory="1MB")
    (note,) = [f for f in model.design.findings if f.code == "learned-on-sample"]
    assert note.where.startswith("bs(")
    assert not [
        f
        for f in bg.Model("y ~ poly(x2, 3) + scale(x1)", folder, memory="1MB").design.findings
        if f.code == "learned-on-sample"
    ]
    fit = model.fit("mle")
    assert fit.status == "converged"
