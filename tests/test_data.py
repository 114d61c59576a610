"""Data in and data in again: kinds of tables, outcomes, weights, missing values, new data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesglm as bg

FORMULA = "y ~ x + g + b"


def make(n=120, seed=11) -> pd.DataFrame:
    """Rows with an interior optimum, in an index of their own."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.uniform(1, 5, n),
            "z": rng.normal(size=n),
            "g": np.resize(list("abc"), n),
            "b": np.resize([True, False, False, True], n),
            "k": np.resize([2, 0, 3, 1, 1], n),
        },
        index=pd.Index(range(1_000, 1_000 + 3 * n, 3), name="row"),
    )
    t = rng.integers(1, 5, n)
    p = 1 / (1 + np.exp(1.5 - 0.5 * frame["x"]))
    return frame.assign(
        y=rng.binomial(1, p), t=t, events=rng.binomial(t, p), w=rng.integers(0, 3, n)
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make()


@pytest.fixture(scope="module")
def reference(frame):
    return bg.Model(FORMULA, frame).fit("mle")


# -- kinds of tables --------------------------------------------------------------------------


def kinds(frame: pd.DataFrame) -> dict[str, object]:
    table = frame.reset_index(drop=True)
    return {
        "pandas": frame,
        "nullable": table.convert_dtypes(),
        "pyarrow dtypes": table.convert_dtypes(dtype_backend="pyarrow"),
        "categories": table.astype({"g": "category"}),
        "objects": table.astype(object),
        "small numbers": table.astype({"y": "uint8", "b": "boolean", "x": "float64"}),
        "polars": pl.DataFrame(table.to_dict("list")),
        "polars lazy": pl.DataFrame(table.to_dict("list")).lazy(),
        "polars categories": pl.DataFrame(table.to_dict("list")).with_columns(
            pl.col("g").cast(pl.Categorical)
        ),
        "arrow": pa.table(table.to_dict("list")),
        "dict of lists": table.to_dict("list"),
        "dict of arrays": {name: table[name].to_numpy() for name in table},
        "dict of Series": {name: frame[name] for name in frame},
        "dict of polars Series": {name: pl.Series(table[name].to_list()) for name in table},
        "dict of arrow arrays": {name: pa.array(table[name].to_list()) for name in table},
    }


@pytest.mark.parametrize("kind", list(kinds(make(4))))
def test_every_kind_of_table_gives_the_same_fit_and_predictions(frame, reference, kind):
    data = kinds(frame)[kind]
    fit = bg.Model(FORMULA, data).fit("mle")
    assert fit.terms == ("Intercept", "x", "g[T.b]", "g[T.c]", "b")
    np.testing.assert_allclose(fit.coef, reference.coef, rtol=1e-12)
    np.testing.assert_allclose(fit.predict(data), reference.predict(), rtol=1e-12)
    np.testing.assert_allclose(reference.predict(data), reference.predict(), rtol=1e-12)


def test_files_give_the_same_fit(frame, reference, tmp_path):
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_csv(tmp_path / "data.csv.gz", index=False)
    frame.to_csv(tmp_path / "data.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "data.parquet")
    for path in sorted(tmp_path.iterdir()):
        for given_path in (path, str(path)):
            fit = bg.Model(FORMULA, given_path).fit("mle")
            np.testing.assert_allclose(fit.coef, reference.coef, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "no such file"),
        ("data.xlsx", b"PK", "must end in"),
        ("empty.csv", b"", "cannot be read"),
        ("header.csv", b"x,y\n", "no rows"),
        ("twice.csv", b"x,y,x\n1,0,2\n2,1,3\n", "unique"),
        ("broken.csv.gz", b"\x1f\x8b\x08\x00", "cannot be read"),
        ("broken.parquet", b"PAR1 no", "cannot be read"),
        ("latin.csv", b"x,y\n\xff\xfe\xe9,1\n", "cannot be read"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(bg.DataError, match=words):
        bg.Model("y ~ x", path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ones((3, 2)), "from_arrays"),
        ([{"x": 1, "y": 0}], "from_arrays"),
        (None, "DataFrame or a dict"),
        (7, "DataFrame or a dict"),
        (pd.Series([1, 2]), "DataFrame or a dict"),
        ({}, "no column"),
        ({"x": [], "y": []}, "no rows"),
        (pd.DataFrame({"x": [], "y": []}), "no rows"),
        ({"x": [1, 2], "y": [0, 1, 1]}, "differ in length"),
        ({"x": [[1, 2], [3, 4]], "y": [0, 1]}, "one dimension"),
        (pd.DataFrame([[1, 0, 2]], columns=["x", "y", "x"]), "unique"),
        ({1: [1.0, 2], "1": [2.0, 1], "y": [0, 1]}, "unique"),
        ({"x": [1, 2], "yy": [0, 1]}, 'did you mean "yy"'),
        ({"x": [1.0, "a"], "y": [0, 1]}, "types=\\['float', 'str'\\]"),
        ({"x": pd.date_range("2020", periods=2), "y": [0, 1]}, "numbers, text, booleans"),
        ({"x": [1j, 2j], "y": [0, 1]}, "numbers, text, booleans"),
        ({"x": [1.0, 2], "y": [0, 1], "__weights": [1, 1]}, "reserved"),
        ({"x": [1e200, 2], "y": [0, 1]}, "too large"),
    ],
)
def test_data_that_are_no_table_are_refused(data, words):
    with pytest.raises(bg.DataError, match=words):
        bg.Model("y ~ x", data)


def test_series_of_different_orders_are_not_put_side_by_side(frame):
    shuffled = frame["x"].sample(frac=1, random_state=1)
    with pytest.raises(bg.DataError, match=r"different indices.*to_numpy"):
        bg.Model("y ~ x", {"x": shuffled, "y": frame["y"]})
    # An index with repeats is no obstacle where it is the same.
    twice = frame.set_index(np.zeros(len(frame), int))
    model = bg.Model("y ~ x + c", {"x": twice["x"], "y": twice["y"], "c": 1.0}, weights=twice["w"])
    np.testing.assert_array_equal(model.design.matrix[:, 0], frame["x"])


def test_a_model_leaves_the_data_alone(frame):
    before = frame.copy()
    bg.Model("y ~ scale(x) + poly(z, 2) + C(k)", frame, weights="w").fit("map").predict(frame[:3])
    pd.testing.assert_frame_equal(frame, before)


# -- outcomes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words", "event", "other"),
    [
        ([0, 1], {}, "1", "0"),
        ([0.0, 1.0], {}, "1", "0"),
        ([False, True], {}, "True", "False"),
        (["no", "yes"], {}, "yes", "no"),
        (["sick", "healthy"], {"event": "sick"}, "sick", "healthy"),
        ([1, 2], {"event": 2}, "2", "1"),
        ([1, 2], {"event": 1}, "1", "2"),
        ([1, 2], {"event": "2"}, "2", "1"),
        ([-1.0, 1.0], {"event": 1}, "1", "-1"),
        ([True, False], {"event": False}, "False", "True"),
        (pd.Categorical(["z", "a"], categories=["z", "a"]), {}, "a", "z"),
        (pd.Categorical(["z", "a"], categories=["z", "q", "a", "end"]), {}, "a", "z"),
        (pd.Categorical([2, 1], categories=[2, 1]), {}, "1", "2"),
        (pd.array([0, 1], dtype="Int64"), {}, "1", "0"),
        (pd.array([False, True], dtype="boolean"), {}, "True", "False"),
        (pd.array(["no", "yes"], dtype="string"), {}, "yes", "no"),
        (np.array([0, 1], dtype=object), {}, "1", "0"),
    ],
)
def test_which_value_is_the_event(frame, values, words, event, other):
    # The value given second is the event by its place, unless event= says otherwise.
    picked = pd.Series(values).take(np.asarray(frame["y"])).set_axis(frame.index)
    model = bg.Model("q ~ x", frame.assign(q=picked), **words)
    assert (model.design.outcome.event, model.design.outcome.other) == (event, other)
    expected = picked.astype(str).isin([event, event + ".0"])
    np.testing.assert_array_equal(model.design.y, expected.to_numpy(float))
    assert f"y = {event}" in str(model.fit("mle")).replace("q = ", "y = ")


@pytest.mark.parametrize(
    ("values", "words", "message"),
    [
        ([1, 2], {}, r"numbers other than 0 and 1.*event=2"),
        ([-1, 1], {}, r"numbers other than 0 and 1.*event=1"),
        ([1, 2], {"event": 3}, r"never equals the event; got event=3; its values are \['1', '2'\]"),
        ([1, 2], {"event": [2]}, "one value"),
        ([1, 2], {"event": float("nan")}, "one value"),
        (["a", "b", "c"], {}, r"3 values.*q == 'c'"),
        (["a", "b", "c"], {"event": "c"}, "3 values"),
        ([0, 1, 2], {}, r"3 values.*q == 2"),
        (["no", "no"], {}, r"one value only.*event="),
        (["no", 1], {}, "different types"),
        ([1j, 0j], {}, "unclear"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), {}, "unclear"),
    ],
)
def test_outcomes_without_a_clear_event_are_refused(frame, values, words, message):
    q = pd.Series(np.resize(np.asarray(values, object), len(frame))).infer_objects()
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model("q ~ x", frame.assign(q=q.to_numpy()), **words)


def test_one_class_is_an_answer_under_priors_only(frame):
    cases = {
        "numbers": (np.zeros(len(frame)), {}, "1"),
        "event given": (["no"] * len(frame), {"event": "yes"}, "yes"),
        # The last category is the event, also where it does not occur.
        "categories": (pd.Categorical(["no"] * len(frame), ["no", "yes"]), {}, "yes"),
        "truth": ([False] * len(frame), {}, "True"),
    }
    for values, words, event in cases.values():
        model = bg.Model("q ~ x", frame.assign(q=values), **words)
        assert model.design.outcome.event == event
        assert not model.design.y.any()
        with pytest.raises(bg.InferenceError, match="no events"):
            model.fit("mle")
        with pytest.warns(bg.BayesGLMWarning, match="one-class"):
            fit = model.fit("map")
        assert (fit.predict() < 0.5).all()


# -- weights, trials, offsets ------------------------------------------------------------------


def same_fit(one, other, *, loss=True):
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-8)
    errors = (fit.summary()["std_error"] for fit in (one, other))
    np.testing.assert_allclose(*errors, rtol=1e-8)
    if loss:
        assert one.loss == pytest.approx(other.loss, rel=1e-11)


def test_a_weight_is_so_many_copies_of_a_row(frame):
    copies = frame.loc[frame.index.repeat(frame["w"])]
    formula = "y ~ x + scale(z) + g"
    # The state of scale() is learned unweighted on the rows that count, so it stays the same.
    state = frame[frame["w"] > 0]["z"]
    copied = copies.assign(z=(copies["z"] - state.mean()) / state.std())
    weighted = bg.Model(formula, frame, weights="w").fit("mle")
    same_fit(weighted, bg.Model("y ~ x + z + g", copied).fit("mle"))
    assert weighted.nobs == (frame["w"] > 0).sum()
    for values in (frame["w"], frame["w"].to_numpy(), frame["w"].tolist(), frame["w"] * 1.0):
        same_fit(weighted, bg.Model(formula, frame, weights=values).fit("mle"))


def test_weight_zero_is_absence_for_encoding_and_priors_too(frame):
    gone = np.arange(len(frame)) % 3 == 1
    w = np.where(gone, 0, 1 + (np.arange(len(frame)) % 2))
    odd = frame.copy()
    odd.loc[gone, "x"] *= 50
    odd.loc[gone, "z"] -= 7
    formula = "y ~ poly(x, 2) + scale(z) + cr(z, df=3)"
    full = bg.Model(formula, odd, weights=w)
    rest = bg.Model(formula, odd[~gone], weights=w[~gone])
    same_fit(full.fit("map"), rest.fit("map"))
    assert full.design.columns == rest.design.columns
    np.testing.assert_allclose(full.design.matrix[~gone], rest.design.matrix, rtol=1e-12)
    # The rows stay in the design, as predictions show.
    assert len(full.fit("map").predict()) == len(frame)


@pytest.mark.parametrize(
    ("formula", "column", "value", "words"),
    [
        ("y ~ g", "g", "unseen", {}),
        ("y ~ C(k)", "k", 99, {}),
        ("y ~ bs(x, df=4)", "x", 99.0, {}),
        ("y ~ log(x)", "x", 0.0, {}),
        ("y ~ x", "x", np.nan, {}),
        ("y ~ x", "y", 7, {}),
        ("y ~ x + offset(log(t))", "t", 0, {}),
        ("events ~ x", "t", 0, {"trials": "t"}),
    ],
)
def test_what_is_wrong_with_a_row_of_weight_zero_does_not_matter(
    frame, formula, column, value, words
):
    w = np.ones(len(frame))
    w[:2] = 0
    odd = frame.copy()
    odd[column] = odd[column].where(w > 0, value)
    model = bg.Model(formula, odd, weights=w, **words)
    same_fit(model.fit("map"), bg.Model(formula, frame[2:], **words).fit("map"))
    codes = [finding.code for finding in model.design.findings]
    assert codes in (["left-out"], ["dropped"])


def test_aggregated_rows_are_the_expanded_ones(frame):
    frame = frame[:45]
    rows = frame.loc[frame.index.repeat(frame["t"])]
    assert len(rows) <= 128  # so that both share their compiled programs
    rank = rows.groupby(level=0).cumcount()
    expanded = bg.Model("y ~ x + g", rows.assign(y=(rank < rows["events"]).astype(int))).fit("mle")
    for trials in ("t", frame["t"], frame["t"].to_numpy(), frame["t"].tolist()):
        same_fit(bg.Model("events ~ x + g", frame, trials=trials).fit("mle"), expanded)
    same_fit(bg.Model("cbind(events, t - events) ~ x + g", frame).fit("mle"), expanded)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"weights": "ww"}, r"no column 'ww'.*did you mean"),
        ({"weights": "g"}, "'g' must hold numbers"),
        ({"weights": lambda d: d["w"] - 1.0}, r"negative.*smallest=-1"),
        ({"weights": lambda d: 0 * d["w"]}, "nor all 0"),
        ({"weights": lambda d: d["w"][:5]}, r"one value for each of 120 rows.*\(5,\)"),
        ({"weights": lambda d: d[["w"]]}, "one value for each"),
        ({"weights": 2.0}, "one value for each"),
        ({"weights": lambda d: d["w"].reset_index(drop=True)}, r"index of weights differs"),
        ({"weights": lambda d: d["w"][::-1]}, r"index of weights.*to_numpy\(\)"),
        ({"weights": lambda d: d["w"].where(d["w"] > 0)}, r"infinite values in weights \(\d+\)"),
        ({"weights": lambda d: d["w"] + 0j}, "'weights' must hold numbers"),
        ({"offset": lambda d: d["z"][::-1]}, "index of offset differs"),
        ({"offset": lambda d: d["z"].where(d["z"] > 0)}, r"infinite values in offset"),
        ({"offset": "g"}, "'g' must hold numbers"),
        ({"offset": lambda d: np.full(len(d), np.inf)}, r"infinite values in offset \(120\)"),
        ({"trials": lambda d: d["t"][::-1]}, "index of trials differs"),
        ({"trials": lambda d: 0 * d["t"]}, r"between 0 and the trials"),
        ({"trials": "t", "event": 1}, "counts of events need no event"),
        ({"trials": lambda d: d["t"].where(d["t"] > 1)}, r"infinite values in trials"),
        ({"weights_kind": "freq"}, 'did you mean "frequency"'),
        ({"missing": "skip"}, "use one of 'error', 'drop'"),
        ({"trials": "t", "family": "gaussian"}, "no counts"),
    ],
)
def test_wrong_weights_trials_and_offsets_are_named(frame, words, message):
    given_words = {k: v(frame) if callable(v) else v for k, v in words.items()}
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model("events ~ x" if "trials" in words else "y ~ x", frame, **given_words)


def test_offsets_as_column_array_and_term_agree(frame):
    fits = [
        bg.Model("y ~ x", frame, offset="z").fit("mle"),
        bg.Model("y ~ x", frame, offset=frame["z"]).fit("mle"),
        bg.Model("y ~ x", frame, offset=frame["z"].tolist()).fit("mle"),
        bg.Model("y ~ x + offset(z)", frame).fit("mle"),
    ]
    for fit in fits[1:]:
        same_fit(fits[0], fit)
    new = frame[["x", "z"]][5:9]
    for fit in (fits[0], fits[3]):
        np.testing.assert_allclose(fit.predict(new), fits[0].predict()[5:9], rtol=1e-12)
        with pytest.raises(bg.DataError, match="no column 'z'"):
            fit.predict({"x": [1.0]})
        with pytest.raises(bg.DataError, match=r"z \(1\)"):
            fit.predict({"x": 1.0, "z": np.nan})
    with pytest.raises(bg.DataError, match="offset as an array"):
        fits[1].predict(new)


# -- missing values ---------------------------------------------------------------------------


def holes(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    bad = frame[["y", "x", "g", "b"]].copy()
    rows = bad.index[[1, 4]]
    match kind:
        case "nan":
            bad.loc[rows, "x"] = np.nan
        case "infinite":
            bad.loc[rows, "x"] = [np.inf, -np.inf]
        case "None":
            bad["x"] = bad["x"].astype(object)
            bad.loc[rows, "x"] = None
        case "NA":
            bad["x"] = bad["x"].astype("Float64")
            bad.loc[rows, "x"] = pd.NA
        case "arrow":
            bad["x"] = bad["x"].astype("double[pyarrow]")
            bad.loc[rows, "x"] = pd.NA
    return bad


@pytest.mark.parametrize("kind", ["nan", "infinite", "None", "NA", "arrow"])
def test_missing_values_are_counted_then_dropped_on_request(frame, kind):
    bad = holes(kind, frame)
    bad["g"] = bad["g"].where(bad.index != bad.index[7])
    bad["b"] = bad["b"].astype(object).where(bad.index != bad.index[7], None)
    message = r"missing or infinite values in x \(2\), g \(1\), b \(1\); use missing=\"drop\""
    with pytest.raises(bg.DataError, match=message):
        bg.Model(FORMULA, bad)
    model = bg.Model(FORMULA, bad, missing="drop")
    rest = frame.drop(frame.index[[1, 4, 7]])
    same_fit(model.fit("mle"), bg.Model(FORMULA, rest).fit("mle"))
    (finding,) = model.design.findings
    assert finding.code == "dropped"
    assert "3 of 120 rows" in finding.message
    assert "x (2), g (1), b (1)" in finding.message
    assert list(model.frame.index) == list(rest.index)
    # Columns that the model does not use may have holes.
    assert bg.Model("y ~ b", bad.assign(b=frame["b"])).design.n == len(frame)


def test_missing_outcomes_weights_and_times(frame):
    holed = frame.assign(
        y=frame["y"].astype("Int64").where(frame["k"] > 0),
        w=frame["w"].where(frame["t"] > 1),
        day=pd.Series(pd.date_range("2020", periods=len(frame)), index=frame.index).where(
            frame["t"] > 1
        ),
    )
    with pytest.raises(bg.DataError, match=r"y \(24\)"):
        bg.Model("y ~ x", holed)
    with pytest.raises(bg.DataError, match=r"day \(\d+\)"):
        bg.Model("k == 1 ~ day", holed)
    dropped = bg.Model("y ~ x", holed, weights="w", missing="drop")
    keep = (frame["k"] > 0) & (frame["t"] > 1)
    same_fit(dropped.fit("mle"), bg.Model("y ~ x", frame[keep], weights="w").fit("mle"))
    arrays = bg.Model("y ~ x", holed, weights=holed["w"], missing="drop")
    np.testing.assert_array_equal(arrays.design.weights, dropped.design.weights)
    with pytest.raises(bg.DataError, match="every row"):
        bg.Model("y ~ x", frame.assign(x=np.nan), missing="drop")


# -- constant, aliased, wide ---------------------------------------------------------------------


def test_columns_without_information_are_named_by_the_mle(frame):
    flat = frame.assign(one=2.0, copy=3 * frame["x"] - 1, level="only")
    for formula, words in (("y ~ x + one", "one"), ("y ~ x + copy", "copy = 3 x - 1")):
        with pytest.raises(bg.InferenceError, match=words):
            bg.Model(formula, flat).fit("mle")
    model = bg.Model("y ~ x + level", flat)
    assert model.design.terms == ("x",)
    assert [finding.code for finding in model.design.findings] == ["one-level"]
    with pytest.raises(bg.DataError, match=r"scale\(one\)"):
        bg.Model("y ~ scale(one)", flat)


def test_a_wide_factor_stays_sparse_here_and_in_new_data():
    rng = np.random.default_rng(2)
    n, levels = 1_200, 150
    g = np.resize([f"g{i:03d}" for i in range(levels)], n)
    frame = pd.DataFrame({"y": rng.integers(0, 2, n), "x": rng.normal(size=n), "g": g})
    model = bg.Model("y ~ x + g", frame)
    assert sp.issparse(model.design.matrix)
    assert model.design.matrix.shape == (n, levels)
    numbered = frame.assign(g=frame["g"].str[1:].astype(int))
    assert sp.issparse(bg.Model("y ~ x + C(g)", numbered).design.matrix)
    fit = model.fit("map")
    np.testing.assert_allclose(fit.predict(frame[40:60]), fit.predict()[40:60], rtol=1e-10)
    np.testing.assert_allclose(
        fit.predict({"x": 0.5, "g": ["g000", "g149"]}, kind="link"),
        fit.coef["Intercept"] + 0.5 * fit.coef["x"] + [0, fit.coef["g[T.g149]"]],
        rtol=1e-10,
    )
    with pytest.raises(bg.DataError, match="not there in training"):
        fit.predict({"x": 0.5, "g": "g150"})


# -- new data -----------------------------------------------------------------------------------


CURVED = {
    "poly": "y ~ poly(x, 2)",
    "scale": "y ~ scale(x) + center(z)",
    "bs": "y ~ bs(x, df=4)",
    "cr": "y ~ cr(x, df=4)",
    "C": "y ~ C(k, Treatment(2)) + C(g, contr.sum)",
    "I": "y ~ I(x > 3) + np.where(z > 0, x, 1)",
    "all": "y ~ scale(x) * g",
}


@pytest.mark.parametrize("name", CURVED)
def test_one_row_is_encoded_as_in_training(frame, name):
    fit = bg.Model(CURVED[name], frame).fit("map")
    fitted = fit.predict()
    single = [float(fit.predict(frame[i : i + 1])[0]) for i in range(5)]
    np.testing.assert_allclose(single, fitted[:5], rtol=1e-10)
    backwards = frame.sort_index(ascending=False)
    np.testing.assert_allclose(fit.predict(backwards), fitted[::-1], rtol=1e-10)
    repeated = frame.iloc[[3, 3, 0]]
    np.testing.assert_allclose(fit.predict(repeated), fitted[[3, 3, 0]], rtol=1e-10)
    assert fit.predict(frame[:0]).shape == (0,)
    scalars = dict(frame[["x", "z", "g", "k"]].iloc[2])
    np.testing.assert_allclose(fit.predict(scalars), fitted[2:3], rtol=1e-10)


def test_shapes_of_new_data(reference):
    def link(data):
        return reference.predict(data, kind="link")

    coef = reference.coef
    one = coef["Intercept"] + 2 * coef["x"] + coef["g[T.b]"]
    many = one + np.array([0, coef["x"], 2 * coef["x"]])
    np.testing.assert_allclose(link({"x": 2, "g": "b", "b": False}), [one])
    np.testing.assert_allclose(link({"x": range(2, 5), "g": "b", "b": False}), many)
    np.testing.assert_allclose(link({"x": np.array(2.0), "g": "b", "b": False}), [one])
    extra = {"x": (2, 3, 4), "g": "b", "b": False, "unused": ["p", None, "q"]}
    np.testing.assert_allclose(link(extra), many)
    np.testing.assert_allclose(link(pl.DataFrame({"x": [2, 3, 4]}).with_columns(
        g=pl.lit("b"), b=pl.lit(False)).lazy()), many)  # fmt: skip


def test_an_intercept_alone_predicts_for_any_table(frame):
    fit = bg.Model("y ~ 1", frame).fit("mle")
    table = pl.DataFrame({"a": [1, 2]})
    for data, rows in (({}, 1), ({"a": [1, 2]}, 2), (frame[:3], 3), (table, 2), (table.lazy(), 2)):
        np.testing.assert_allclose(fit.predict(data), np.full(rows, frame["y"].mean()))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": 1.0, "b": True}, "no column 'g'"),
        ({"X": 1.0, "g": "a", "b": True}, "no column 'x'"),
        ({"x": 1.0, "g": "d", "b": True}, r"'g' has levels.*\['d'\].*\['a', 'b', 'c'\]"),
        ({"x": 1.0, "g": ["a", None], "b": True}, r"g \(1\)"),
        ({"x": [1.0, np.nan], "g": "a", "b": True}, r"x \(1\)"),
        ({"x": [1.0, np.inf], "g": "a", "b": True}, r"x \(1\)"),
        ({"x": "1", "g": "a", "b": True}, "'x' must hold numbers"),
        ({"x": 1.0, "g": "a", "b": 2}, "'b' must hold True or False.*value=2"),
        ({"x": 1.0, "g": "a", "b": "True"}, "'b' must hold"),
        ({"x": [1.0, 2], "g": ["a"] * 3, "b": True}, "differ in length"),
        (np.ones((1, 3)), "DataFrame or a dict"),
        ([1.0], "DataFrame or a dict"),
        ("new.csv", "DataFrame or a dict"),
    ],
)
def test_wrong_new_data_are_named(reference, data, words):
    with pytest.raises(bg.DataError, match=words):
        reference.predict(data)


def test_levels_unseen_inside_c_are_refused(frame):
    fit = bg.Model("y ~ C(k)", frame).fit("mle")
    for value in (9, 1.5):
        with pytest.raises(bg.DataError, match=f"not there in training.*{value}"):
            fit.predict({"k": [1, value]})


def test_beyond_the_training_range(frame):
    inside, outside = {"x": [2.0, 3.0]}, {"x": [2.0, 60.0]}
    low, high = frame["x"].min(), frame["x"].max()
    spline = bg.Model("y ~ bs(x, df=4)", frame).fit("mle")
    message = rf"beyond the knots.*from {low:g} to {high:g}"
    with pytest.raises(bg.DataError, match=message):
        spline.predict(outside)
    for formula in (
        "y ~ poly(x, 2)",
        "y ~ cr(x, df=3)",
        "y ~ bs(x, df=4, extrapolation='clip')",
        "y ~ x + poly(np.log(x), 2):z",
    ):
        fit = bg.Model(formula, frame).fit("map")
        fit.predict(inside | {"z": 0.0})
        with pytest.warns(bg.BayesGLMWarning, match=r"extrapolation.*x leaves its training range"):
            fit.predict(outside | {"z": 0.0})
    # Straight lines go on without a word.
    bg.Model("y ~ scale(x) + np.log(x)", frame).fit("mle").predict(outside)


def test_columns_may_come_in_another_dtype(frame):
    fit = bg.Model("y ~ b + k + C(k)", frame).fit("map")
    expected = fit.predict({"b": [True, False], "k": [1, 0]})
    for b, k in (
        ([1, 0], [1.0, 0.0]),
        ([1.0, 0.0], np.array([1, 0], dtype="uint8")),
        (np.array([True, False], dtype=object), pd.array([1, 0], dtype="Int64")),
        # A comparison makes numbers into truth values: they are 0 and 1 again.
        (pd.array([True, False], dtype="boolean"), [True, False]),
        (pd.Series([True, False], dtype="bool[pyarrow]"), np.array([1, 0], dtype=object)),
    ):
        np.testing.assert_allclose(fit.predict({"b": b, "k": k}), expected, rtol=1e-12)


def test_categories_in_another_order_or_number(frame):
    coded = frame.assign(
        g=pd.Categorical(frame["g"], categories=["c", "a", "b", "never"]),
        k=pd.Categorical(frame["k"]),
        b=pd.Categorical(frame["b"]),
    )
    model = bg.Model("y ~ g + k + b", coded)
    assert model.design.terms[:2] == ("g[T.a]", "g[T.b]")
    fit = model.fit("map")
    expected = fit.predict(coded[:6])
    for g in (
        coded["g"][:6].cat.remove_unused_categories().cat.reorder_categories(["a", "b", "c"]),
        pd.Categorical(frame["g"][:6], categories=["zz", "b", "a", "c"]),
        coded["g"][:6].astype(str).to_numpy(),
    ):
        for k, b in ((frame["k"][:6].to_numpy(), frame["b"][:6].to_numpy(int)),
                     (frame["k"][:6].to_numpy(float), frame["b"][:6].to_numpy())):  # fmt: skip
            new = {"g": np.asarray(g) if isinstance(g, pd.Series) else g, "k": k, "b": b}
            np.testing.assert_allclose(fit.predict(new), expected, rtol=1e-12)
    with pytest.raises(bg.DataError, match="never"):
        fit.predict({"g": "never", "k": 1, "b": True})


# -- arrays ---------------------------------------------------------------------------------------


def test_arrays_of_every_kind_agree_with_the_formula(frame):
    fit = bg.Model("y ~ x + z", frame).fit("mle")
    X = frame[["x", "z"]].to_numpy()
    given_kinds = {
        "array": X,
        "lists": X.tolist(),
        "objects": X.astype(object),
        "DataFrame": frame[["x", "z"]],
        "nullable": frame[["x", "z"]].astype("Float64"),
        "polars": pl.DataFrame({"x": X[:, 0], "z": X[:, 1]}),
        "arrow": pa.table({"x": X[:, 0], "z": X[:, 1]}),
    }
    for kind, matrix in given_kinds.items():
        y = frame["y"].to_numpy() if kind in ("polars", "arrow") else frame["y"]
        other = bg.Model.from_arrays(matrix, y).fit("mle")
        same_fit(other, fit)
        named = kind in ("DataFrame", "nullable", "polars", "arrow")
        assert other.terms[1:] == (("x", "z") if named else ("x1", "x2"))
        for new in (X[:4], sp.csr_array(X[:4]), X[:4].tolist()):
            np.testing.assert_allclose(other.predict(new), fit.predict()[:4], rtol=1e-10)
        if named:
            swapped = frame[["z", "x"]][:4]
            np.testing.assert_allclose(other.predict(swapped), fit.predict()[:4], rtol=1e-10)
            np.testing.assert_allclose(
                other.predict({"x": 2.0, "z": [0, 1]}), fit.predict({"x": 2.0, "z": [0, 1]})
            )
    # test_matrices fits sparse ones.
    for matrix in (sp.csr_array(X), sp.coo_array(X), sp.csc_matrix(X), sp.dok_array(X)):
        design = bg.Model.from_arrays(matrix, frame["y"]).design
        np.testing.assert_array_equal(design.matrix.toarray(), X)
    own = bg.Model.from_arrays(X, frame["y"], names=["age", "dose"], intercept=False).fit("mle")
    same_fit(own, bg.Model("y ~ 0 + x + z", frame).fit("mle"))
    assert own.terms == ("age", "dose")
    words = {"weights": frame["w"], "trials": frame["t"], "offset": frame["z"]}
    same_fit(
        bg.Model.from_arrays(X[:, :1], frame["events"], **words).fit("mle"),
        bg.Model("events ~ x", frame, **words).fit("mle"),
    )


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda X, y: (X[:, 0], y), {}, "two dimensions"),
        (lambda X, y: (X, y[:5]), {}, "one value for each of 120 rows"),
        (lambda X, y: (X[:0], y[:0]), {}, "no rows"),
        (lambda X, y: (X[:, :0], y), {"intercept": False}, "no coefficients"),
        (lambda X, y: (np.where(X > 4, np.nan, X), y), {}, "x1 has missing or infinite"),
        (lambda X, y: (sp.csr_array(np.where(X > 4, np.inf, X)), y), {}, "x1 has missing"),
        (lambda X, y: (X.astype(str).astype(object) + "a", y), {}, "X must hold numbers"),
        (lambda X, y: (X + 1j, y), {}, "complex"),
        (lambda X, y: (X, y.where(y > 0)), {}, "infinite values in y"),
        (lambda X, y: (pd.DataFrame(X, index=y.index), y[::-1]), {}, "index of y differs"),
        (lambda X, y: (X, y), {"weights": pd.Series(np.ones(120))}, "index of weights differs"),
        (lambda X, y: (X, y), {"names": ["a"]}, "names must be 2 different words"),
        (lambda X, y: (X, y), {"names": ["a", "a"]}, "different words"),
        (lambda X, y: (X, y), {"names": ["a", "Intercept"]}, "none of them Intercept"),
        (lambda X, y: (X, y), {"missing": "drop"}, "for tables"),
        (lambda X, y: (X, y + 1), {}, "event=2"),
    ],
)
def test_wrong_arrays_are_named(frame, change, words, message):
    X, y = change(frame[["x", "z"]].to_numpy(), frame["y"])
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model.from_arrays(X, y, **words)


def test_wrong_new_arrays_are_named(frame):
    X = frame[["x", "z"]].to_numpy()
    fit = bg.Model.from_arrays(X, frame["y"]).fit("mle")
    for new, message in (
        (np.ones(2), "2 columns"),
        (np.ones((4, 3)), "2 columns"),
        ([["a", "b"]], "must hold numbers"),
        ([[1.0, np.nan]], "x2 has missing"),
        ({"x1": 1.0}, "no column 'x2'"),
    ):
        with pytest.raises(bg.DataError, match=message):
            fit.predict(new)
    offset = bg.Model.from_arrays(X, frame["y"], offset=frame["z"]).fit("mle")
    with pytest.raises(bg.DataError, match="offset as an array"):
        offset.predict(X)


# -- invariances ----------------------------------------------------------------------------------


few = settings(max_examples=6, deadline=None)
INVARIANT = "y ~ poly(x, 2) + g"


def fitted(frame, **words):
    with warnings.catch_warnings():
        # Small weights may leave one class in few rows; MAP answers.
        warnings.simplefilter("ignore", bg.BayesGLMWarning)
        return bg.Model(INVARIANT, frame, **words).fit("map")


@few
@given(seed=st.integers(0, 10_000), n=st.integers(20, 120))
def test_the_order_of_rows_changes_nothing(seed, n):
    frame = make(n, seed)
    order = np.random.default_rng(seed).permutation(n)
    one, other = fitted(frame, weights="w"), fitted(frame.iloc[order], weights="w")
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.predict()[order], other.predict(), rtol=1e-7)


@few
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.6))
def test_weight_zero_is_dropping_the_row(seed, share):
    frame = make(100, seed)
    w = (np.random.default_rng(seed).random(100) > share).astype(int)
    w[:20] = 1
    one, other = fitted(frame, weights=w), fitted(frame[w > 0])
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-6, atol=1e-9)
    assert one.loss == pytest.approx(other.loss, rel=1e-9)
    assert one.nobs == other.nobs


@few
@given(seed=st.integers(0, 10_000), copies=st.integers(2, 4))
def test_a_weight_is_repeating_the_row(seed, copies):
    frame = make(30, seed)
    one = bg.Model("y ~ x + g", frame, weights=np.full(30, copies)).fit("map")
    other = bg.Model("y ~ x + g", pd.concat([frame] * copies)).fit("map")
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-6, atol=1e-9)


@few
@given(
    seed=st.integers(0, 10_000),
    names=st.lists(st.text(min_size=1, max_size=6), min_size=3, max_size=3, unique=True),
)
def test_the_names_of_levels_change_nothing_else(seed, names):
    frame = make(60, seed)
    names = sorted(names)  # the baseline is the first
    renamed = frame.assign(g=frame["g"].map(dict(zip("abc", names, strict=True))))
    one, other = fitted(frame), fitted(renamed)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-7, atol=1e-10)
    assert other.terms[-2:] == tuple(f"g[T.{name}]" for name in names[1:])
    np.testing.assert_allclose(other.predict(renamed), one.predict(), rtol=1e-7)
