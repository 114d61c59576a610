"""Separation: against brute force in whole numbers, against other software, and in words."""

from __future__ import annotations

import json
import re
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesglm as bg
from bayesglm.errors import Status
from bayesglm.recession import recession
from bayesglm.separation import separation

REFERENCE = Path(__file__).parent / "reference"
LOGIT = bg.links.get_link("logit")


# -- the linear programme ------------------------------------------------------------------------


def rays(matrix):
    """Return every direction that k - 1 independent rows leave still: whole numbers, exact."""
    k = matrix.shape[1]
    if k == 1:
        return [np.array([1])]
    if k == 2:
        return [np.array([-row[1], row[0]]) for row in matrix]
    return [np.cross(a, b) for a, b in combinations(matrix, 2)]


def brute_force(matrix, sides):
    """Return the rows that some direction of the cone moves, from its extreme rays.

    A cone without lines (the matrix has full rank) is spanned by rays, each of which is orthogonal
    to k - 1 independent rows.
    """
    moved = np.zeros(len(matrix), dtype=bool)
    for ray in rays(matrix):
        for direction in (ray, -ray):
            along = matrix @ direction
            if along.any() and (along[sides == 0] == 0).all() and (sides * along >= 0).all():
                moved |= along != 0
    return moved


@st.composite
def outcomes(draw):
    k = draw(st.integers(1, 3))
    n = draw(st.integers(k, 9))
    entries = st.lists(st.integers(-3, 3), min_size=k, max_size=k)
    matrix = np.array(draw(st.lists(entries, min_size=n, max_size=n)))
    sides = np.array(draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n, max_size=n)))
    return matrix, sides


@settings(max_examples=400, deadline=None, derandomize=True)
@given(outcomes())
def test_the_cone_is_that_of_brute_force(case):
    matrix, sides = case
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        return
    moved = brute_force(matrix, sides)
    cone = recession(matrix.astype(float), sides)
    assert (cone is None) == (not moved.any())
    if cone is not None:
        np.testing.assert_array_equal(cone.rows, moved)
        assert (sides * (matrix @ cone.direction) >= -1e-6).all()
        # What the cone spans is what leaves the other rows still.
        still = matrix[~moved]
        for j, guilty in enumerate(cone.coefficients):
            unit = np.eye(matrix.shape[1])[[j]]
            free = np.linalg.matrix_rank(np.vstack([still, unit])) > np.linalg.matrix_rank(still)
            assert free == guilty


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("gap", [0.0, 1e-3])
def test_the_scale_of_a_column_does_not_matter(scale, gap):
    x = np.random.default_rng(0).uniform(size=300)
    y = x > 0.5
    x = np.where(y, x + gap, x)
    y[np.argmin(x)] = not gap
    found = separation(bg.Model("y ~ x", {"y": y, "x": x * scale}).design, LOGIT)
    assert (found is not None) == bool(gap)


def test_one_row_far_from_all_others_moves_its_column():
    """Beside 1 the others' 1e-9 are nothing, but not exactly: no direction leaves them still."""
    x = np.append(np.arange(1, 8) * 1e-9, 1.0)
    y = np.array([1, 0, 1, 0, 0, 0, 0, 1])
    found = separation(bg.Model("y ~ x", {"y": y, "x": x}).design, LOGIT)
    assert (found.rows, found.complete) == (1, False)
    assert "x" in found.terms


@pytest.mark.parametrize("event", [0, 1])
def test_what_the_first_rows_do_not_show_is_found_in_the_others(event):
    """Of 60,000 rows three stand for a level, one or all of them with one outcome."""
    rng = np.random.default_rng(1)
    n = 60_000
    x = rng.standard_normal(n)
    rare = np.zeros(n)
    rare[[7, 30_000, 59_999]] = 1
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(-x))).astype(int)
    y[rare == 1] = event
    model = bg.Model.from_arrays(np.column_stack([x, rare]), y, names=["x", "rare"])
    found = separation(model.design, LOGIT)
    assert (found.rows, found.terms, found.complete) == (3, ("rare",), False)
    y[7] = 1 - event
    mixed = bg.Model.from_arrays(np.column_stack([x, rare]), y, names=["x", "rare"])
    assert separation(mixed.design, LOGIT) is None


def test_wide_factors_stay_sparse():
    rng = np.random.default_rng(2)
    n = 3_000
    g = rng.integers(0, 300, n)
    data = {"g": [f"g{code:03d}" for code in g], "x": rng.standard_normal(n)}
    data["y"] = np.where(g == 17, 1, rng.integers(0, 2, n))
    # Each other level has both outcomes.
    for code in range(300):
        some = np.flatnonzero(g == code)
        if code != 17:
            data["y"][some[:2]] = [0, 1]
    design = bg.Model("y ~ g + x", data).design
    assert not isinstance(design.matrix, np.ndarray)
    found = separation(design, LOGIT)
    assert found.terms == ("g[T.g017]",)
    assert found.guilty == ("g = 'g017'",)


# -- other software ------------------------------------------------------------------------------

# Which of these are separated is known by linear programmes of SciPy (HiGHS), and by R, whose glm
# fits probabilities of 0 or 1 there. Columns that no direction moves: none, where complete.
MTCARS = [("am ~ wt", None), ("am ~ wt + hp + qsec", "complete"), ("vs ~ qsec + cyl", "complete")]
MTCARS += [("am ~ gear", "quasi-complete"), ("vs ~ cyl", None)]
# Horsepower, quarter mile (s), cylinders, gears: Henderson & Velleman (1981), Biometrics 37, with
# the columns of the table in `reference/mtcars.json`.
HP = [110, 110, 93, 110, 175, 105, 245, 62, 95, 123, 123, 180, 180, 180, 205, 215]
HP += [230, 66, 52, 65, 97, 150, 150, 245, 175, 66, 91, 113, 264, 175, 335, 109]
QSEC = [16.46, 17.02, 18.61, 19.44, 17.02, 20.22, 15.84, 20.0, 22.9, 18.3, 18.9, 17.4, 17.6, 18.0]
QSEC += [17.98, 17.82, 17.42, 19.47, 18.52, 19.9, 20.01, 16.87, 17.3, 15.41, 17.05, 18.9, 16.7]
QSEC += [16.9, 14.5, 15.5, 14.6, 18.6]
CYL = [
    6,
    6,
    4,
    6,
    8,
    6,
    8,
    4,
    4,
    6,
    6,
    8,
    8,
    8,
    8,
    8,
    8,
    4,
    4,
    4,
    4,
    8,
    8,
    8,
    8,
    4,
    4,
    4,
    8,
    6,
    8,
    4,
]
GEAR = [4, 4, 4, 3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5]
GEAR += [5, 4]


@pytest.mark.parametrize(("formula", "kind"), MTCARS)
def test_motor_cars(formula, kind):
    data = pd.DataFrame(json.loads((REFERENCE / "mtcars.json").read_text())["data"])
    model = bg.Model(formula, data.assign(hp=HP, qsec=QSEC, cyl=CYL, gear=GEAR))
    check(model, kind)


def check(model, kind):
    found = separation(model.design, model.spec.link)
    if kind is None:
        assert found is None
        assert model.fit("mle").status == Status.CONVERGED
        return
    assert found.complete == (kind == "complete")
    assert found.terms == ("Intercept", *model.design.terms)
    with pytest.raises(bg.SeparationError, match="separate the outcome"):
        model.fit("mle")


def test_irises():
    sklearn = pytest.importorskip("sklearn.datasets")
    irises = sklearn.load_iris()
    two = irises.target < 2
    for columns, kind in (([0, 2], "complete"), ([0, 1], "complete"), ([0], None)):
        X = irises.data[two][:, columns]
        check(bg.Model.from_arrays(X, (irises.target[two] == 0).astype(int)), kind)


def test_breast_cancer():
    sklearn = pytest.importorskip("sklearn.datasets")
    X, y = sklearn.load_breast_cancer(return_X_y=True)
    for columns, kind in ((2, None), (10, None), (30, "complete")):
        check(bg.Model.from_arrays(X[:, :columns], y), kind)


def test_spector():
    check(bg.Model("GRADE ~ GPA + TUCE + PSI", bg.datasets.spector()), None)


# -- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchit"])
def test_every_link_without_an_end_is_refused(link):
    x = np.linspace(-1, 1, 41)
    data = {"x": x, "y": (x > 0.12).astype(int), "z": np.sin(9 * x)}
    with pytest.raises(bg.SeparationError, match=r"x > 0\.13 in every row with the event"):
        bg.Model("y ~ z + x", data, link=link).fit("mle")


def test_bounded_links_reach_a_probability_of_one():
    """Under log p = 1 is reached at eta = 0; only eta of rows without events may fall for ever."""
    a = np.repeat([0, 1, 2], 20)
    y = np.where(a == 1, 0, np.tile([0, 1], 30))
    model = bg.Model("y ~ C(a)", {"a": a, "y": y}, link="log")
    found = separation(model.design, model.spec.link)
    assert found.terms == ("C(a)[T.1]",)
    events = bg.Model("y ~ C(a)", {"a": a, "y": np.where(a == 1, 1, y)}, link="log")
    assert separation(events.design, events.spec.link) is None
    linear = bg.Model("y ~ C(a)", {"a": a, "y": y}, link="identity")
    assert separation(linear.design, linear.spec.link) is None


# -- what a user reads ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(3)
    n = 240
    frame = pd.DataFrame(
        {
            "dose": rng.uniform(0, 10, n).round(2),
            "age": rng.integers(20, 80, n),
            "ward": rng.choice(["north", "south", "west"], n),
            "sex": rng.choice(["f", "m"], n),
        }
    )
    return frame.assign(u=rng.uniform(size=n))


def test_the_error_names_the_column_and_the_value(patients):
    data = patients.assign(died=(patients["dose"] > 6).astype(int))
    above = data.loc[data["died"] == 1, "dose"].min()
    below = data.loc[data["died"] == 0, "dose"].max()
    with pytest.raises(bg.SeparationError) as caught:
        bg.Model("died ~ age + dose", data).fit("mle")
    told = str(caught.value)
    limit = float(re.search(r"dose > (\S+) in every row with the event", told)[1])
    assert below < limit < above
    assert "age" not in told.split("; got")[0]
    assert 'prior="weak"' in told
    assert "completely" in told


def test_the_error_names_the_level(patients):
    died = (patients["ward"] == "west") | (patients["u"] < 0.5)
    many = (patients["ward"] == "west").sum()
    data = patients.assign(died=died.astype(int))
    with pytest.raises(bg.SeparationError) as caught:
        bg.Model("died ~ age + ward", data).fit("mle")
    told = str(caught.value)
    assert f"all {many} rows with ward = 'west' have the event" in told
    assert f"in {many} of 240 rows" in told
    assert "no_finite_estimate=['Intercept', 'ward[T.west]']" not in told
    assert "ward[T.west]" in told
    assert "leave ward = 'west' out" in told


def test_the_reference_level_is_named_too(patients):
    died = (patients["ward"] != "north") & (patients["u"] < 0.5)
    found = separation(bg.Model("died ~ ward", patients.assign(died=died)).design, LOGIT)
    assert found.guilty == ("ward = 'north'",)
    assert found.terms == ("Intercept", "ward[T.south]", "ward[T.west]")


def test_cells_of_crossed_factors(patients):
    cell = (patients["ward"] == "south") & (patients["sex"] == "m")
    data = patients.assign(died=np.where(cell, 0, patients["u"] < 0.5))
    found = separation(bg.Model("died ~ ward * sex", data).design, LOGIT)
    assert found.guilty == ("ward = 'south', sex = 'm'",)
    assert separation(bg.Model("died ~ ward + sex", data).design, LOGIT) is None


def test_columns_that_separate_together(patients):
    data = patients.assign(died=(patients["dose"] + patients["age"] / 10 > 10).astype(int))
    found = separation(bg.Model("died ~ ward + age + dose + sex", data).design, LOGIT)
    assert found.guilty == ("age, dose",)
    assert found.complete
    # The sentence is true of the rows.
    words = found.reasons[0].split(" is ")
    weight, limit = (float(part.split()[0]) for part in words)
    score = weight * data["age"] + data["dose"]
    assert (score[data["died"] == 1].min() > limit - 0.01) & (
        score[data["died"] == 0].max() < limit + 0.01
    )


def test_aggregated_rows():
    data = {"dose": [1, 2, 3, 4], "ill": [0, 0, 5, 6], "well": [5, 4, 0, 0]}
    with pytest.raises(bg.SeparationError, match=r"dose > 2\.5"):
        bg.Model("cbind(ill, well) ~ dose", data).fit("mle")
    data["well"][2] = 1
    # Only the row at 3 has both: the others lie on their sides of it.
    with pytest.raises(bg.SeparationError, match=r"dose >= 3 .* in 3 of 4|in 3 of 4 .*dose >= 3"):
        bg.Model("cbind(ill, well) ~ dose", data).fit("mle")


def test_rows_of_weight_zero_neither_separate_nor_join():
    data = {"x": [1.0, 2.0, 3.0, 4.0, 1.5], "y": [0, 0, 1, 1, 1], "w": [1, 1, 1, 1, 0]}
    assert separation(bg.Model("y ~ x", data, weights="w").design, LOGIT).nobs == 4
    assert separation(bg.Model("y ~ x", data).design, LOGIT) is None


# -- what a fit does -----------------------------------------------------------------------------


def test_warn_keeps_what_is_finite(patients):
    died = (patients["ward"] == "west") | (patients["u"] < 0.5)
    model = bg.Model("died ~ age + ward", patients.assign(died=died.astype(int)))
    with pytest.warns(bg.BayesGLMWarning, match=r"error \[separation\].*ward = 'west'"):
        fit = model.fit("mle", separation="warn")
    assert fit.status == Status.SEPARATED
    errors = fit.summary()["std_error"]
    assert np.isnan(errors["ward[T.west]"])
    # The others are those of the rows that are not separated (Geyer 2009, section 3.16.2).
    rest = patients.assign(died=died.astype(int))[patients["ward"] != "west"]
    alone = bg.Model("died ~ age + ward", rest).fit("mle")
    np.testing.assert_allclose(fit.coef[list(alone.terms[1:])], alone.coef[1:], rtol=1e-4)
    np.testing.assert_allclose(
        errors[list(alone.terms[1:])], alone.summary()["std_error"][1:], rtol=1e-4
    )


@pytest.mark.parametrize("method", ["map", "laplace"])
def test_proper_priors_get_a_note(patients, method):
    died = (patients["ward"] == "west") | (patients["u"] < 0.5)
    model = bg.Model("died ~ age + ward", patients.assign(died=died.astype(int)))
    fit = model.fit(method)
    (note,) = [finding for finding in fit.findings if finding.code == "separation"]
    assert note.severity == "note"
    assert note.where == "ward = 'west'"


def test_flat_priors_among_proper_ones(patients):
    """A posterior is improper only along directions that no proper prior bounds."""
    import numpyro.distributions as dist

    died = (patients["ward"] == "west") | (patients["u"] < 0.5)
    data = patients.assign(died=died.astype(int))
    prior = {"default": "flat", "ward[T.west]": dist.Normal(0, 2)}
    assert bg.Model("died ~ age + ward", data, prior=prior).fit("map").status == Status.CONVERGED
    prior = {"default": "weak", "ward[T.west]": None}
    with pytest.raises(bg.SeparationError, match="so no proper posterior exists"):
        bg.Model("died ~ age + ward", data, prior=prior, center=False).fit("nuts")
    # What falls with this coefficient is the intercept of centred columns, and its prior holds it.
    assert bg.Model("died ~ age + ward", data, prior=prior).fit("map").status == Status.CONVERGED


def test_an_estimate_that_exists_gets_no_word(patients):
    data = patients.assign(died=(patients["u"] < 0.5).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("mle", "map"):
            assert not bg.Model("died ~ age + ward + dose", data).fit(method).findings


def test_wrong_words(patients):
    model = bg.Model("died ~ age", patients.assign(died=(patients["u"] < 0.5).astype(int)))
    with pytest.raises(bg.SpecificationError, match=r'unknown separation.*"warn"'):
        model.fit("mle", separation="warning")
