"""Files: what comes back is what was saved; what is damaged, foreign or hostile is refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
import warnings

import h5py
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import files, storage
from bayesglm.errors import Status


def logistic_p(eta):
    import jax

    return jax.nn.log_sigmoid(eta)


def logistic_q(eta):
    import jax

    return jax.nn.log_sigmoid(-eta)


def doubled(values):
    return 2.0 * np.asarray(values)


MINE = bg.Link("mine", log_p=logistic_p, log_q=logistic_q)
POSITIVE = dist.TransformedDistribution(dist.Normal(-1.0, 1.0), dist.transforms.ExpTransform())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """120 rows with every kind of column, labelled by text."""
    rng = np.random.default_rng(21)
    n = 120
    x, z = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    trials = rng.integers(1, 6, n)
    p = 1 / (1 + np.exp(-(0.2 + 0.5 * x - 0.3 * z)))
    return pd.DataFrame(
        {
            "y": rng.binomial(1, p),
            "answer": np.where(rng.uniform(size=n) < p, "yes", "no"),
            "events": rng.binomial(trials, p),
            "trials": trials,
            "x": x,
            "z": z,
            "k": rng.integers(1, 4, n),
            "flag": rng.uniform(size=n) < 0.5,
            "g": pd.Categorical(rng.choice(list("abc"), n), categories=list("cdba")),
            "grade": pd.Categorical(rng.choice(["low", "mid", "top"], n), ordered=True),
            "day": pd.Categorical(pd.to_datetime(rng.choice(["2020-01-31", "2021-02-28"], n))),
            "town": rng.choice(["Łódź", "Zürich", "東京"], n),
            "two words": rng.normal(size=n),
            "größe": rng.normal(size=n),
            "copies": rng.integers(0, 4, n),
            "share": rng.uniform(0.2, 3.0, n),
            "known": rng.normal(0, 0.1, n),
            "clinic": rng.integers(0, 15, n),
        },
        index=pd.Index([f"Nº {i}" for i in range(n)], name="person"),
    ).assign(part=lambda d: pd.cut(d["z"], 3))


def round_trip(fit, path, **words):
    fit.save(path)
    return bg.load(path, **words)


def assert_same(fit, loaded, newdata=None):
    """Compare everything that a user sees of a fit, to the last bit."""
    assert (loaded.method, loaded.status, loaded.nobs) == (fit.method, fit.status, fit.nobs)
    assert isinstance(loaded.status, Status)
    assert (loaded.errors, loaded.seconds) == (fit.errors, fit.seconds)
    assert loaded.findings == fit.findings
    assert str(loaded) == str(fit)
    assert loaded._repr_html_() == fit._repr_html_()
    assert repr(loaded.priors) == repr(fit.priors)
    pd.testing.assert_frame_equal(loaded.summary(0.8), fit.summary(0.8), check_exact=True)
    pd.testing.assert_series_equal(loaded.coef, fit.coef, check_exact=True)
    pd.testing.assert_frame_equal(loaded.vcov, fit.vcov, check_exact=True)
    for number in ("loglik", "loss", "deviance"):
        assert getattr(loaded, number) == getattr(fit, number)
    np.testing.assert_array_equal(loaded.history, fit.history)
    xr.testing.assert_identical(loaded.data, fit.data)
    for kind in ("response", "link", "outcome"):
        np.testing.assert_array_equal(loaded.predict(kind=kind), fit.predict(kind=kind))
    if newdata is not None:
        np.testing.assert_array_equal(loaded.predict(newdata), fit.predict(newdata))
        for ours, theirs in zip(
            loaded.predict_interval(newdata), fit.predict_interval(newdata), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    if fit.method == "mle":
        assert (loaded.aic, loaded.bic) == (fit.aic, fit.bic)
        np.testing.assert_array_equal(loaded.with_cov("HC1").vcov, fit.with_cov("HC1").vcov)


# -- round trips ------------------------------------------------------------------------------

CASES = {
    "numbers": ("y ~ x + z", {}),
    "text outcome": ("answer ~ x", {}),
    "event": ("answer ~ x", {"event": "no"}),
    "condition": ("k == 2 ~ x", {}),
    "cbind": ("cbind(events, trials - events) ~ x", {}),
    "trials": ("events ~ x + z", {"trials": "trials"}),
    "weights": ("y ~ x + z", {"weights": "copies"}),
    "sampling": ("y ~ x + z", {"weights": "share", "weights_kind": "sampling"}),
    "offsets": ("y ~ x + offset(known)", {"offset": "z"}),
    "probit": ("y ~ x", {"link": "probit"}),
    "robit": ("y ~ x", {"link": "student_t(7)"}),
    "gaussian": ("y ~ x + z", {"family": "gaussian"}),
    "no intercept": ("y ~ 0 + x + z", {}),
    "intercept only": ("y ~ 1", {}),
    "poly": ("y ~ poly(x, 2)", {}),
    "bs": ("y ~ bs(z, df=4)", {}),
    "cr": ("y ~ 0 + cr(x, df=3)", {}),
    "scale": ("y ~ scale(x) + center(z)", {}),
    "C": ("y ~ C(k) + C(g, contr.sum)", {}),
    "interaction": ("y ~ g * x", {}),
    "NumPy": ("y ~ np.log(z) + I(x > 0)", {}),
    "truth": ("y ~ flag", {}),
    "backticks": ("y ~ `two words` + größe", {}),
    "unicode levels": ("y ~ town", {}),
    "category": ("y ~ g + grade", {}),
    "intervals": ("y ~ part", {}),
    "dates": ("y ~ day", {}),
    "raw": ("y ~ x", {"center": False}),
}


# Programs that no other case needs.
SLOW = ("probit", "robit", "sampling", "condition", "no intercept")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES]
)
def test_maximum_likelihood_comes_back(frame, tmp_path, name):
    formula, words = CASES[name]
    fit = bg.Model(formula, frame, **words).fit("mle")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    # Within the range of training, in another order, one row twice.
    assert_same(fit, loaded, frame.iloc[[5, 3, 100, 3, 60]])
    assert loaded.spec.formula == formula
    pd.testing.assert_frame_equal(loaded.design.frame, fit.design.frame)


def test_what_was_loaded_can_be_saved_again(frame, sampled, tmp_path):
    loaded = round_trip(sampled, tmp_path / "fit.nc")
    assert_same(sampled, round_trip(loaded, tmp_path / "again.nc"), frame[:7])


@pytest.mark.parametrize(
    "prior",
    [
        "weak",
        "gelman",
        {"x": dist.StudentT(4.0, 0.0, 1.0), "z": None},
        {"x": dist.Uniform(-2.0, 3.0), "z": dist.Laplace(0.0, 2.0), "default": "rstanarm"},
    ],
    ids=["weak", "gelman", "student", "uniform"],
)
def test_modes_come_back_with_their_priors(frame, tmp_path, prior):
    fit = bg.Model("y ~ x + z", frame, prior=prior).fit("map")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, frame[:7])
    np.testing.assert_array_equal(loaded.priors.center, fit.priors.center)
    # The density is the same function: the target is built anew from what was loaded.
    from bayesglm.inference.evaluation import evaluate

    point = fit.result.flat + 0.1
    assert evaluate(loaded.target, point)["log_posterior"] == pytest.approx(
        evaluate(fit.target, point)["log_posterior"], rel=1e-12
    )


@pytest.fixture(scope="module")
def sampled(frame):
    model = bg.Model("events ~ x + g", frame, trials="trials", weights="copies", offset="known")
    return model.fit("nuts", draws=400, chains=2, seed=4)


def test_draws_come_back(frame, sampled, tmp_path):
    fit = sampled.with_groups("log_prior", "posterior_predictive", "prior_predictive", seed=2)
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, frame[:7])
    assert set(loaded.data.children) == {
        "posterior", "sample_stats", "observed_data", "constant_data", "log_likelihood",
        "log_prior", "posterior_predictive", "prior", "prior_predictive",
    }  # fmt: skip
    np.testing.assert_array_equal(loaded.predict(draws=True), fit.predict(draws=True))
    np.testing.assert_array_equal(loaded.theta_draws(), fit.theta_draws())
    again = loaded.with_groups("posterior_predictive", seed=2)
    xr.testing.assert_identical(
        again.data["posterior_predictive"], fit.data["posterior_predictive"]
    )


@pytest.mark.slow
def test_draws_of_sigma_come_back(frame, tmp_path):
    model = bg.Model("y ~ x", frame, family="gaussian")
    fit = model.fit("nuts", draws=400, chains=2, seed=4)
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, frame[:7])
    assert loaded.result.draws["sigma"].shape == (2, 400)


@pytest.mark.parametrize("sparse", [False, True])
def test_models_of_arrays_come_back(frame, tmp_path, sparse):
    import scipy.sparse as sp

    X = frame[["x", "z"]].to_numpy() * (np.arange(120) % 3 > 0)[:, None]
    given = sp.csc_array(X) if sparse else X
    fit = bg.Model.from_arrays(
        given, frame["events"], trials=frame["trials"], weights=frame["copies"].to_numpy()
    ).fit("mle")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, X[:7])
    assert sp.issparse(loaded.design.matrix) == sparse
    np.testing.assert_array_equal(loaded.predict(given[:7]), fit.predict(X[:7]))


@pytest.mark.slow
def test_wide_factors_stay_sparse(tmp_path):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": rng.permutation(np.arange(400) % 120), "y": np.arange(400) % 2})
    data["g"] = "level " + data["g"].astype(str)
    fit = bg.Model("y ~ g", data).fit("map")
    assert not isinstance(fit.design.matrix, np.ndarray)
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, data[:9])
    assert type(loaded.design.matrix) is type(fit.design.matrix)


def test_clusters_come_back(frame, tmp_path):
    # The column of the clusters is in neither formula nor weights.
    fit = bg.Model("y ~ x", frame).fit("mle", cluster="clinic")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, frame[:7])
    np.testing.assert_array_equal(loaded.with_cov(cluster="clinic").vcov, fit.vcov)
    with pytest.raises(bg.DataError, match="no column 'town'"):
        loaded.with_cov(cluster="town")


def test_rows_dropped_before_stay_dropped(frame, tmp_path):
    data = frame.assign(x=frame["x"].where(np.arange(120) % 10 > 0))
    fit = bg.Model("y ~ x", data, missing="drop").fit("mle", cluster="clinic")
    assert fit.findings
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert loaded.nobs == 108
    assert_same(fit, loaded, frame[:7])
    np.testing.assert_array_equal(loaded.with_cov(cluster="clinic").vcov, fit.vcov)


INDEXES = {
    "range": pd.RangeIndex(5, 125),
    "numbers": pd.Index(np.arange(120)[::-1] / 2),
    "text": pd.Index([f"r{i}" for i in range(120)]),
    "dates": pd.date_range("2020-02-01", periods=120),
    "pairs": pd.MultiIndex.from_product([range(12), list("abcdefghij")]),
    "repeated": pd.Index(["a", "b"] * 60),
    "categories": pd.CategoricalIndex(["b", "a"] * 60),
    "truth": pd.Index([True, False] * 60),
    "missing": pd.Index([None, *(f"r{i}" for i in range(119))]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_indexes_come_back(frame, tmp_path, name):
    fit = bg.Model("y ~ x", frame.set_index(INDEXES[name])).fit("mle")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert_same(fit, loaded, frame[:7])
    label = fit.data["observed_data"]["obs"].to_numpy()
    assert label.dtype.kind in "iuUT" or isinstance(label[0], str)
    if name != "pairs":  # Pairs become text, as netCDF has none.
        assert loaded.design.frame.index.equals(fit.design.frame.index)


def test_a_fit_at_the_boundary_comes_back(tmp_path):
    data = {"x": np.tile([0.0, 1.0, 2.0], 20), "y": np.tile([0, 0, 1], 20)}
    with pytest.warns(bg.BayesGLMWarning, match="boundary"):
        fit = bg.Model("y ~ x", data, link="identity").fit("mle")
    loaded = round_trip(fit, tmp_path / "fit.nc")
    assert loaded.status == Status.BOUNDARY
    assert loaded.vcov.isna().all(axis=None)
    assert loaded.findings == fit.findings


def test_unwritable_levels_are_named_before_anything_is_written(frame, tmp_path):
    periods = pd.Categorical(pd.PeriodIndex(["2020-01", "2020-02"] * 60, freq="M"))
    fit = bg.Model("y ~ month", frame.assign(month=periods)).fit("mle")
    with pytest.raises(bg.StorageError, match=r"level of this kind; got level='2020-01'.*text"):
        fit.save(tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())


# -- without the data -------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["y ~ x + g", None])
def test_without_data_tables_and_new_predictions_remain(frame, tmp_path, formula):
    if formula is None:
        fit = bg.Model.from_arrays(frame[["x", "z"]].to_numpy(), frame["y"]).fit("mle")
        new = frame[["x", "z"]].to_numpy()[:9]
    else:
        fit, new = bg.Model(formula, frame).fit("mle"), frame[:9]
    path = tmp_path / "fit.nc"
    fit.save(path, data=False)
    with xr.open_datatree(path) as tree:
        assert "bayesglm_frame" not in tree.children
        assert not [name for name in tree["bayesglm_arrays"].data_vars if "matrix" in name]
    loaded = bg.load(path)
    pd.testing.assert_frame_equal(loaded.summary(), fit.summary(), check_exact=True)
    assert str(loaded) == str(fit)
    np.testing.assert_array_equal(loaded.predict(new), fit.predict(new))
    xr.testing.assert_identical(loaded.data, fit.data)
    assert "without the data" in repr(loaded.priors)
    with pytest.raises(bg.DataError, match=r"saved without its data.*newdata"):
        loaded.predict()
    with pytest.raises(bg.DataError, match="saved without its data"):
        loaded.with_cov("HC3")


def test_draws_without_data(frame, sampled, tmp_path):
    sampled.save(tmp_path / "fit.nc", data=False)
    loaded = bg.load(tmp_path / "fit.nc")
    assert "log_likelihood" not in loaded.data.children
    np.testing.assert_array_equal(loaded.predict(frame[:9]), sampled.predict(frame[:9]))
    pd.testing.assert_frame_equal(loaded.summary(), sampled.summary(), check_exact=True)
    with pytest.raises(bg.DataError, match="saved without its data"):
        loaded.with_groups("log_likelihood")


# -- what is the user's own -------------------------------------------------------------------


def test_own_links_must_be_handed_over(frame, tmp_path):
    fit = bg.Model("y ~ x", frame, link=MINE).fit("mle")
    path = tmp_path / "fit.nc"
    fit.save(path)
    for custom in (None, {"mine": "logit"}, {"other": MINE}):
        with pytest.raises(bg.StorageError, match=r"link of its own, 'mine'; hand it over: load"):
            bg.load(path, custom=custom)
    assert_same(fit, bg.load(path, custom={"mine": MINE}), frame[:7])


def test_own_functions_must_be_handed_over(frame, tmp_path):
    fit = bg.Model("y ~ doubled(x)", frame, context={"doubled": doubled}).fit("mle")
    path = tmp_path / "fit.nc"
    fit.save(path)
    for custom in (None, {"doubled": 2.0}):
        with pytest.raises(bg.StorageError, match="function of its own, 'doubled'; hand it over"):
            bg.load(path, custom=custom)
    assert_same(fit, bg.load(path, custom={"doubled": doubled}), frame[:7])


class Normal(dist.Cauchy):
    """A prior of the user's own that bears the name of another distribution."""


@pytest.mark.parametrize("prior", [POSITIVE, Normal(0.0, 1.0)], ids=["exp", "namesake"])
def test_own_priors_must_be_handed_over(frame, tmp_path, prior):
    fit = bg.Model("y ~ x", frame, prior={"x": prior}).fit("map")
    path = tmp_path / "fit.nc"
    fit.save(path)
    for custom in (None, {"x": "Normal"}):
        with pytest.raises(bg.StorageError, match=r"prior of its own for 'x'.*hand it over"):
            bg.load(path, custom=custom)
    assert_same(fit, bg.load(path, custom={"x": prior}), frame[:7])


# -- damaged, foreign, hostile ----------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "fit.nc"
    bg.Model("y ~ poly(x, 2) + g", frame).fit("map").save(path)
    return path


def refused(path, match=None, **words):
    """Load what must not load; the message is one line."""
    with pytest.raises(bg.StorageError, match=match) as raised:
        bg.load(path, **words)
    assert "\n" not in str(raised.value)


def edited(saved, path, change):
    """Copy a file and change the words in it."""
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        words = json.loads(file.attrs["bayesglm"])
        change(words)
        file.attrs["bayesglm"] = json.dumps(words)
    return path


def test_an_edit_that_changes_nothing_loads(saved, tmp_path):
    loaded = bg.load(edited(saved, tmp_path / "same.nc", lambda words: None))
    assert_same(bg.load(saved), loaded)


def evil(command):
    return f"__import__('os').system({command!r})"


HOSTILE = {
    "formula": lambda w, e: w["spec"].update(formula=f"y ~ {e}"),
    "left side": lambda w, e: w["spec"].update(formula=f"{e} ~ x"),
    "offset": lambda w, e: w["spec"].update(formula=f"y ~ x + offset({e})"),
    "inside a transform": lambda w, e: w["spec"].update(formula=f"y ~ poly({e}, 2) + g"),
    "attribute": lambda w, e: w["spec"].update(formula="y ~ x.__class__.__mro__"),
    "function": lambda w, e: w["spec"].update(formula="y ~ open(x)"),
    "context": lambda w, e: w["design"].update(context=["system"]),
    "distribution": lambda w, e: w["priors"].update(
        intercept={"class": "os.system", "parameters": {}}
    ),
    "module": lambda w, e: w["priors"].update(intercept={"class": "os", "parameters": {}}),
    "unlisted class": lambda w, e: w["priors"].update(
        intercept={"class": "Distribution", "parameters": {}}
    ),
    "parameter": lambda w, e: w["priors"].update(
        intercept={"class": "Normal", "parameters": {"loc": e}}
    ),
    "link": lambda w, e: w["spec"].update(link=e),
    "own link": lambda w, e: w["spec"].update(link="system", own_link=True),
    "family": lambda w, e: w["spec"].update(family="os.system"),
    "state of a transform": lambda w, e: w["design"]["encoding"].update(
        transforms={"pairs": [["poly(x, 2)", e]]}
    ),
    "a level": lambda w, e: w["design"]["encoding"]["columns"]["g"].update(levels=[{"call": e}]),
    "status": lambda w, e: w["result"].update(status="fine"),
    "unknown word": lambda w, e: w["spec"].update(command=e),
    "missing part": lambda w, e: w.pop("design"),
    "terms": lambda w, e: w["design"].update(terms=["x"]),
    "fewer terms": lambda w, e: (
        w["design"].update(terms=[], encoding=None),
        w["priors"].update(beta=[]),
    ),
    "deep": lambda w, e: w["priors"].update(intercept=[]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_a_file_is_executed(saved, tmp_path, name):
    mark = tmp_path / "executed"
    path = edited(
        saved, tmp_path / "evil.nc", lambda words: HOSTILE[name](words, evil(f"echo > {mark}"))
    )
    refused(path, custom={"x": evil("true"), "y": os.system})
    assert not mark.exists()


def test_newer_files_are_told_from_damaged_ones(saved, tmp_path):
    path = tmp_path / "newer.nc"
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["bayesglm_format"] = storage.FORMAT + 1
        file.attrs["bayesglm"] = "{}"
    refused(path, "newer version of bayesglm.*upgrade")


def test_foreign_files(tmp_path):
    refused(tmp_path / "absent.nc", r"no such file; got path='.*absent.nc'")
    refused(tmp_path, "no such file")
    (tmp_path / "empty.nc").write_bytes(b"")
    refused(tmp_path / "empty.nc", "damaged or foreign")
    (tmp_path / "text.nc").write_text("damage ~ temperature\nand more", encoding="utf-8")
    refused(tmp_path / "text.nc", "damaged or foreign")
    xr.Dataset({"x": ("n", [1.0, 2.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    refused(tmp_path / "other.nc", "holds no fit of bayesglm")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_truncated_files(saved, tmp_path, share):
    content = saved.read_bytes()
    path = tmp_path / "cut.nc"
    path.write_bytes(content[: int(share * len(content))])
    refused(path, r"damaged or foreign.*got path=.*cut.nc")


def test_files_without_an_array(saved, tmp_path):
    for number, name in enumerate(("theta", "center", "cov")):
        path = tmp_path / f"less{number}.nc"
        path.write_bytes(saved.read_bytes())
        with h5py.File(path, "r+") as file:
            del file["bayesglm_arrays"][name]
        refused(path, "damaged or foreign")


def test_bad_bytes_are_no_other_error(saved, tmp_path):
    # Where the bytes are a number, the file still loads; everywhere else it must be refused.
    content, rng = saved.read_bytes(), np.random.default_rng(6)
    path, told = tmp_path / "bad.nc", []
    for _ in range(12):
        bad = bytearray(content)
        start = int(rng.integers(len(bad) - 64))
        bad[start : start + 64] = rng.bytes(64)
        path.write_bytes(bad)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bg.load(path)
        except bg.StorageError as error:
            told.append(str(error))
    assert len(told) > 2
    assert not any("\n" in message for message in told)


def test_sparse_indices_outside_the_matrix_are_refused(frame, tmp_path):
    import scipy.sparse as sp

    path = tmp_path / "fit.nc"
    X = sp.csc_array(frame[["x", "z"]].to_numpy())
    bg.Model.from_arrays(X, frame["y"]).fit("mle").save(path)
    with h5py.File(path, "r+") as file:
        file["bayesglm_arrays"]["matrix_indices"][3] = 10**6
    refused(path, "damaged or foreign.*ind")


# -- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["writing", "moving"])
def test_a_failing_write_leaves_the_old_file(saved, tmp_path, monkeypatch, error, where):
    fit = bg.load(saved)
    path = tmp_path / "fit.nc"
    path.write_bytes(saved.read_bytes())

    def partly(tree, target, **words):
        with open(target, "wb") as file:
            file.write(b"half a file")
        raise error

    def fail(*_):
        raise error

    if where == "writing":
        monkeypatch.setattr(xr.DataTree, "to_netcdf", partly)
    else:
        monkeypatch.setattr(files.os, "replace", fail)
    expected = bg.StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if expected is bg.StorageError else None):
        fit.save(path)
    assert [found.name for found in tmp_path.iterdir()] == ["fit.nc"]
    assert path.read_bytes() == saved.read_bytes()


def test_a_save_replaces_the_old_file(frame, saved, tmp_path):
    path = tmp_path / "fit.nc"
    path.write_bytes(saved.read_bytes())
    fit = bg.Model("y ~ z", frame).fit("mle")
    fit.save(str(path))
    assert_same(fit, bg.load(str(path)))
    assert [found.name for found in tmp_path.iterdir()] == ["fit.nc"]


def test_places_that_cannot_be_written(saved, tmp_path):
    fit = bg.load(saved)
    with pytest.raises(
        bg.StorageError, match=r"cannot be saved: No such file.*got path="
    ) as raised:
        fit.save(tmp_path / "no" / "such" / "folder" / "fit.nc")
    assert "\n" not in str(raised.value)
    with pytest.raises(bg.StorageError, match="cannot be saved"):
        fit.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_has_the_rights_of_any_other(saved, tmp_path):
    bg.load(saved).save(tmp_path / "fit.nc")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "fit.nc").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unicode_paths(saved, tmp_path):
    fit = bg.load(saved)
    assert_same(fit, round_trip(fit, tmp_path / "Größe 東京.nc"))


# -- copies by their owner --------------------------------------------------------------------


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_fits_can_be_copied(frame, sampled, copied):
    # With everything computed that a fit keeps.
    assert sampled.data is not None
    assert sampled.target is not None
    assert_same(sampled, copied(sampled), frame[:7])
    mine = bg.Model("y ~ doubled(x)", frame, link=MINE, context={"doubled": doubled}).fit("mle")
    assert_same(mine, copied(mine), frame[:7])


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_models_can_be_copied(frame, copied):
    model = bg.Model("y ~ bs(z, df=4)", frame, prior={"z": dist.StudentT(3.0, 0.0, 1.0)})
    again = copied(model)
    assert repr(again) == repr(model)
    assert repr(again.priors) == repr(model.priors)
    # The same programs run for both: the copy's link, family and sizes are equal.
    one, two = model.fit("mle"), again.fit("mle")
    np.testing.assert_array_equal(one.coef, two.coef)
    np.testing.assert_array_equal(one.predict(frame[:7]), two.predict(frame[:7]))


# -- the DataTree -----------------------------------------------------------------------------


def test_arviz_opens_the_file_unaided(sampled, tmp_path):
    import arviz as az

    path = tmp_path / "fit.nc"
    sampled.save(path)
    tree = az.from_netcdf(path)
    table = az.summary(tree)
    assert {"Intercept", "beta[x]", "beta[g[T.b]]"} <= set(table.index)
    assert az.loo(tree).elpd == pytest.approx(az.loo(sampled.data).elpd, rel=1e-12)


def test_coordinates_are_named(frame, sampled):
    posterior = sampled.data["posterior"]
    assert posterior["beta"].dims == ("chain", "draw", "term")
    assert posterior["term"].to_numpy().tolist() == list(sampled.design.terms)
    assert posterior["Intercept"].dims == ("chain", "draw")
    for group in ("observed_data", "constant_data"):
        assert sampled.data[group]["obs"].to_numpy().tolist() == list(frame.index)
    # Rows without weight have no likelihood; the others keep their names.
    live = frame.index[frame["copies"] > 0]
    assert sampled.data["log_likelihood"]["obs"].to_numpy().tolist() == list(live)
    mle = bg.Model("y ~ x + z", frame).fit("mle").data["point_estimate"]
    assert mle["beta"].sel(term="z").item() == mle["beta"].to_numpy()[1]
    assert mle["cov"].sel(coefficient="x", coefficient_="Intercept").item() == mle["cov"][1, 0]


def test_attributes_are_text_and_numbers(frame, sampled):
    robust = bg.Model("y ~ x", frame).fit("mle", cov="HC1")
    for fit in (sampled, robust):
        for group in fit.data.subtree:
            for name, value in group.attrs.items():
                assert isinstance(value, (str, int, float)), name
                assert not isinstance(value, bool), name
        words = fit.data.attrs
        assert (words["method"], words["link"]) == (fit.method, "logit")
    assert json.loads(robust.data.attrs["errors"])["cov"] == "HC1"
    assert json.loads(sampled.data.attrs["options"])["draws"] == 400
