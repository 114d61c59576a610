"""Pictures show what the numbers are: what is drawn is read back from the axes."""

from __future__ import annotations

import io
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn import metrics

import bayesglm as bg
from bayesglm.canvas import label_of


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """300 rows: two numbers, a factor with an odd name, weights of all kinds."""
    rng = np.random.default_rng(5)
    n = 300
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(0, 10, size=n),
            "g": rng.choice(["a", "b", "c"], n),
        }
    )
    eta = -0.3 + frame["x"] + 0.5 * (frame["g"] == "b")
    return frame.assign(y=rng.binomial(1, 1 / (1 + np.exp(-eta))))


@pytest.fixture(scope="module")
def model(people):
    return bg.Model("y ~ x * g + z", people)


@pytest.fixture(scope="module")
def mle(model):
    return model.fit("mle")


@pytest.fixture(scope="module")
def post(model):
    return model.fit("laplace", seed=1)


def drawn(fig: Figure) -> bytes:
    """Write a figure, which draws every text: a bad label shows only then."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.savefig(buffer, format="svg")
    return buffer.getvalue()


def line(ax: Axes, place: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, y = ax.lines[place].get_data()
    return np.asarray(x, float), np.asarray(y, float)


# Every function with what it takes, on a fit with draws.
PLOTS = {
    "coefficients": lambda fit, **words: bg.plots.coefficients(fit, **words),
    "effects": lambda fit, **words: bg.plots.effects(fit, "x", by="g", **words),
    "effects of a factor": lambda fit, **words: bg.plots.effects(fit, "g", by="x", **words),
    "calibration": lambda fit, **words: bg.plots.calibration(fit, **words),
    "separation": lambda fit, **words: bg.plots.separation(fit, **words),
    "residuals": lambda fit, **words: bg.plots.residuals(fit, **words),
    "residuals over x": lambda fit, **words: bg.plots.residuals(fit, "x", **words),
    "residuals over g": lambda fit, **words: bg.plots.residuals(fit, "g", **words),
    "predictive": lambda fit, **words: bg.plots.predictive(fit, by="g", **words),
    "roc": lambda fit, **words: bg.plots.roc(fit, **words),
    "precision_recall": lambda fit, **words: bg.plots.precision_recall(fit, **words),
    "decision_curve": lambda fit, **words: bg.plots.decision_curve(fit, **words),
}
PANELS = {
    "prior_posterior": lambda fit, **words: bg.plots.prior_posterior(fit, **words),
    "trace": lambda fit, **words: bg.plots.trace(fit, **words),
}


@pytest.mark.parametrize("name", [*PLOTS, *PANELS])
def test_returns_a_figure_of_the_size_asked_for_and_leaves_matplotlib_alone(post, name):
    before = dict(mpl.rcParams)
    fig = (PLOTS | PANELS)[name](post, figsize=(5, 4))
    assert isinstance(fig, Figure)
    assert tuple(fig.get_size_inches()) == (5, 4)
    assert drawn(fig)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", PLOTS)
def test_draws_into_given_axes(post, name):
    fig = Figure()
    left, right = fig.subplots(1, 2)
    assert PLOTS[name](post, ax=right) is fig
    assert not left.has_data()
    assert right.has_data()


def test_every_public_plot_is_tried_here():
    tried = {name.split()[0] for name in (*PLOTS, *PANELS)}
    # The last is in test_groups.py.
    assert set(bg.plots.__all__) == tried | {"loss", "link_comparison", "groups"}


def test_a_figure_shows_itself_in_a_notebook_without_pyplot(mle):
    assert bg.plots.coefficients(mle)._repr_png_().startswith(b"\x89PNG")
    assert bg.slopes(mle, by=True).plot()._repr_png_().startswith(b"\x89PNG")


def test_ax_must_be_axes(mle):
    with pytest.raises(bg.SpecificationError, match="ax must be a matplotlib Axes; got ax='int'"):
        bg.plots.coefficients(mle, ax=3)


def test_coefficients_are_those_of_the_summary(model, mle, post):
    fig = bg.plots.coefficients({"mle": mle, "laplace": post}, exponentiate=True)
    (ax,) = fig.axes
    terms = list(mle.terms[1:])
    for place, fit in enumerate((mle, post)):
        table = fit.summary(exponentiate=True).loc[terms]
        np.testing.assert_allclose(line(ax, place)[0], table["estimate"])
        segments = np.array(ax.collections[place].get_segments())
        np.testing.assert_allclose(segments[:, 0, 0], table["lower"])
        np.testing.assert_allclose(segments[:, 1, 0], table["upper"])
    assert [t.get_text() for t in ax.get_yticklabels()] == [label_of(t) for t in terms]
    assert ax.get_xlabel() == "odds ratio"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mle", "laplace"]


def test_coefficients_of_different_links_are_refused(people):
    fits = {k: bg.Model("y ~ x", people, link=k).fit("mle") for k in ("logit", "probit")}
    with pytest.raises(bg.SpecificationError, match="link_comparison"):
        bg.plots.coefficients(fits)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda fit: bg.plots.coefficients(fit, ["xx"]), "no term 'xx'"),
        (lambda fit: bg.plots.coefficients({}), "fits must be a Fit"),
        (lambda fit: bg.plots.effects(fit, "nope"), "no variable 'nope'"),
        (lambda fit: bg.plots.effects(fit, "x", by="x"), "a variable stands twice"),
        (lambda fit: bg.plots.residuals(fit, "nope"), "no variable 'nope'"),
        (lambda fit: bg.plots.trace(fit), "a point fit has no draws"),
        (lambda fit: bg.plots.prior_posterior(fit), "maximum likelihood has no prior"),
        (lambda fit: bg.plots.roc({}), "there is no fit to draw"),
    ],
)
def test_what_cannot_be_drawn_is_said(mle, call, words):
    with pytest.raises(bg.SpecificationError, match=words):
        call(mle)


def test_effects_are_predictions_with_their_band(mle):
    fig = bg.plots.effects(mle, "x", at={"g": "b"}, rug=False)
    (ax,) = fig.axes
    x, p = line(ax)
    table = bg.predictions(mle, bg.grid(mle, x=list(x), g="b"))
    np.testing.assert_allclose(p, table["estimate"])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(table["lower"].min())
    assert band[:, 1].max() == pytest.approx(table["upper"].max())
    assert ax.get_ylabel() == "P(y)"
    assert "g = b" in ax.get_title(loc="left")


def test_effects_beyond_the_data(mle):
    (ax,) = bg.plots.effects(mle, "x", limits=(-9, 9), rug=False).axes
    assert line(ax)[0][[0, -1]].tolist() == [-9, 9]
    for limits in ((3, 1), (0,), (0, np.inf)):
        with pytest.raises(bg.SpecificationError, match="limits must be two numbers"):
            bg.plots.effects(mle, "x", limits=limits)
    with pytest.raises(bg.SpecificationError, match="limits are for numbers"):
        bg.plots.effects(mle, "g", limits=(0, 1))


def test_effects_by_a_number_take_its_quantiles(mle, people):
    (ax,) = bg.plots.effects(mle, "x", by="z", rug=False).axes
    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    quantiles = people["z"].quantile([0.1, 0.5, 0.9], interpolation="nearest")
    assert shown == [f"{q:.4g}" for q in quantiles]


def test_roc_has_the_area_and_the_points_of_scikit_learn(mle, people):
    (ax,) = bg.plots.roc(mle).axes
    p, y = mle.predict(), people["y"]
    x, height = line(ax)
    fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    np.testing.assert_allclose(x, fpr, atol=1e-12)
    np.testing.assert_allclose(height, tpr, atol=1e-12)
    assert ax.get_legend().get_texts()[0].get_text() == f"AUC {metrics.roc_auc_score(y, p):.3f}"


def test_precision_and_recall_are_those_of_scikit_learn(mle, people):
    (ax,) = bg.plots.precision_recall(mle).axes
    recall, precision = line(ax)
    theirs, found, _ = metrics.precision_recall_curve(people["y"], mle.predict())
    # scikit-learn ends with a point (0, 1) that no row stands for.
    np.testing.assert_allclose(recall[::-1], found[:-1][-len(recall) :])
    np.testing.assert_allclose(precision[::-1], theirs[:-1][-len(recall) :])


def test_curves_of_rows_held_out(mle):
    folds = bg.kfold(mle, 5, seed=1)
    inside, outside = (bg.plots.roc(one).axes[0] for one in (mle, folds))
    assert line(inside)[1].mean() > line(outside)[1].mean()
    bg.plots.calibration(folds)
    (ax,) = bg.plots.decision_curve({"held out": folds}).axes
    np.testing.assert_array_equal(line(ax)[1], folds.decision_curve()["model"])
    with pytest.raises(bg.SpecificationError, match="rows only"):
        bg.plots.roc(folds, newdata={"x": [1.0]})


def test_the_separation_plot_keeps_the_events(mle, people):
    (ax,) = bg.plots.separation(mle).axes
    (image,) = ax.images
    share = np.asarray(image.get_array())
    assert share.mean() == pytest.approx(people["y"].mean())
    assert share[0, -200:].mean() > share[0, :200].mean()


def test_residuals_average_to_those_of_the_rows(mle, people):
    (ax,) = bg.plots.residuals(mle, "g").axes
    averages = (people["y"] - mle.predict()).groupby(people["g"]).mean()
    np.testing.assert_allclose(line(ax, 1)[1], averages, atol=1e-12)
    # Over a number: bins of all rows, none lost.
    (ax,) = bg.plots.residuals(mle, "z").axes
    assert len(line(ax, 1)[0]) == 17  # about the root of 300 rows


def test_link_comparison_has_an_estimate_for_each_link_and_effect(model):
    found = bg.compare_links(model, ["logit", "probit"])
    (ax,) = bg.plots.link_comparison(found).axes
    for place, name in enumerate(("logit", "probit")):
        np.testing.assert_allclose(line(ax, place)[0], found.effects[name])


def test_priors_are_drawn_as_they_are(people):
    from scipy import stats

    fit = bg.Model("y ~ x", people).fit("map")
    ax = bg.plots.prior_posterior(fit).axes[0]
    x, density = line(ax)
    np.testing.assert_allclose(density, stats.norm.pdf(x, 0, float(fit.priors.beta[0].scale)))


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
def test_loss_falls(model):
    (ax,) = bg.plots.loss(model.fit("mle", optimizer="lbfgs")).axes
    gaps = line(ax)[1]
    assert gaps[0] > gaps[np.isfinite(gaps)][-1]
    with pytest.raises(bg.SpecificationError, match="no steps"):
        bg.plots.loss(model.fit("nuts", draws=50, warmup=50, chains=1, seed=1))


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
def test_names_of_all_kinds_are_shown_as_they_are(people):
    odd = people.rename(columns={"x": "price $a$ <b>", "g": "$\\frac$"})
    odd["$\\frac$"] = odd["$\\frac$"].map({"a": "$x^", "b": "<script>", "c": "_{}"})
    fit = bg.Model("y ~ `price $a$ <b>` + `$\\frac$`", odd).fit("laplace")
    for fig in (
        bg.plots.coefficients(fit),
        bg.plots.effects(fit, "price $a$ <b>", by="$\\frac$"),
        bg.plots.effects(fit, "$\\frac$"),
        bg.plots.residuals(fit, "$\\frac$"),
        bg.plots.predictive(fit, by="$\\frac$"),
        bg.plots.trace(fit),
        bg.plots.prior_posterior(fit),
        bg.slopes(fit, by=True).plot(),
        bg.predictions(fit, by="$\\frac$").plot(),
    ):
        text = drawn(fig).decode()
        assert "<script>" not in text


def test_aggregated_weighted_and_gaussian_data():
    people = bg.datasets.titanic()
    fit = bg.Model("survived ~ sex + pclass", people, trials="total").fit("mle")
    for name, plot in PLOTS.items():
        if "x" not in name.split() and "g" not in name.split() and "effects" not in name:
            assert drawn(plot(fit) if name != "predictive" else bg.plots.predictive(fit, by="sex"))
    assert drawn(bg.plots.effects(fit, "pclass", by="sex"))
    line = bg.Model("y ~ x", {"x": [0.0, 1, 2, 3], "y": [0, 1, 0, 1]}, family="gaussian").fit("mle")
    assert drawn(bg.plots.effects(line, "x"))
    with pytest.raises(bg.SpecificationError, match="yes/no"):
        bg.plots.residuals(line)


def test_many_rows_are_drawn_in_bounded_size():
    rng = np.random.default_rng(1)
    n = 200_000
    X = rng.normal(size=(n, 2))
    y = rng.binomial(1, 1 / (1 + np.exp(-X[:, 0])))
    fit = bg.Model("y ~ x1 + x2", pd.DataFrame(X, columns=["x1", "x2"]).assign(y=y)).fit("mle")
    for plot in (
        lambda: bg.plots.calibration(fit),
        lambda: bg.plots.separation(fit),
        lambda: bg.plots.residuals(fit, "x1"),
        lambda: bg.plots.effects(fit, "x1"),
    ):
        assert len(drawn(plot())) < 500_000
