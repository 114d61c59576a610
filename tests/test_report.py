"""The report: complete, self-contained, and safe whatever stands in the data."""

from __future__ import annotations

import re
import stat
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesglm as bg
from bayesglm.cli import app
from bayesglm.reporting.blocks import interval, number

SECTIONS = [
    "summary",
    "model",
    "data",
    "estimates",
    "effects",
    "checks",
    "scores",
    "inference",
    "again",
]
VOID = {"meta", "link", "br", "img", "path", "use", "rect"}


class Page(HTMLParser):
    """The tags, texts and attributes of a page; it must be well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.sections: list[str] = []
        self.tags: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(path: Path) -> Page:
    found = Page(path.read_text(encoding="utf-8"))
    assert not found.open
    # Nothing is asked of a network: links lead into the page, images are inside it.
    for tag, name, value in found.attributes:
        if name in ("src", "href", "xlink:href", "action", "srcset"):
            assert value.startswith(("#", "data:")), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert "<script" not in text
    return found


@pytest.fixture(scope="module")
def challenger():
    return bg.Model("damage ~ temperature", bg.datasets.challenger())


@pytest.fixture(scope="module")
def mle(challenger):
    return challenger.fit("mle")


def test_a_report_of_one_fit(mle, tmp_path):
    path = bg.report(mle, tmp_path / "r.html")
    found = page(path)
    assert found.sections == SECTIONS  # maximum likelihood uses no priors
    assert found.tags["h1"] == 1
    assert found.tags["h2"] == len(SECTIONS)
    assert found.tags["svg"] >= 7
    for words in (
        "No problems found",
        "What “damage” depends on",
        "23",
        "7 events in 23 trials",
        "With each unit of temperature, P(damage) changes by \N{MINUS SIGN}0.033",
        "Odds ratio",
        "log odds ratio",
        "bg.Model('damage ~ temperature', data)",
    ):
        assert words in found.text, words
    # The numbers are those of the tables.
    row = mle.summary().loc["temperature"]
    told = interval(row.estimate, row.lower, row.upper, 3).partition(" (")
    assert f"{told[0]} {number(row.std_error)}" in found.text


def test_the_code_in_the_report_makes_the_fit_again(tmp_path):
    data = bg.datasets.titanic()
    model = bg.Model("survived ~ sex + pclass", data, trials="total", link="probit", prior="flat")
    fit = model.fit("mle", cov="HC3")
    found = bg.report(fit, tmp_path / "r.html").read_text()
    code = re.search(r"<code>(import bayesglm.*?)</code>", found, re.DOTALL)[1]
    code = code.replace("&#39;", "'").replace("&#34;", '"')
    names = {"data": data}
    exec(code, names)  # what a reader would paste
    pd.testing.assert_frame_equal(names["mle"].summary(), fit.summary())


def test_several_fits_stand_side_by_side(challenger, mle, tmp_path):
    fits = {"mle": mle, "map": challenger.fit("map"), "laplace": challenger.fit("laplace", seed=1)}
    found = page(bg.report(fits, tmp_path / "r.html", title="O-rings", level=0.9))
    assert found.sections == [*SECTIONS[:3], "priors", *SECTIONS[3:]]
    assert "O-rings" in found.text
    assert "90% interval" in found.text
    for words in ("Term mle map laplace", "k-hat", "Normal(0, 0.2173)", "Leave-one-out"):
        assert words in found.text, words


def test_different_links_have_no_picture_of_coefficients(challenger, mle, tmp_path):
    other = bg.Model("damage ~ temperature", bg.datasets.challenger(), link="probit").fit("mle")
    found = page(bg.report({"logit": mle, "probit": other}, tmp_path / "r.html"))
    assert "coefficients under different links are on different scales" in found.text


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
def test_text_from_the_data_stays_text(tmp_path):
    rng = np.random.default_rng(1)
    n = 80
    evil = "<script>alert(1)</script>"
    frame = pd.DataFrame(
        {
            evil: rng.normal(size=n),
            "</style><b>": rng.choice(['"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "&amp;"], n),
            "y": rng.choice(["<i>no</i>", "<u>yes</u>"], n),
        }
    )
    fit = bg.Model(f"y ~ `{evil}` + `</style><b>`", frame).fit("laplace")
    found = page(bg.report(fit, tmp_path / "r.html", title="<h1>&"))
    assert evil in found.text
    assert "{{ 7*7 }}" in found.text
    assert "<h1>&" in found.text
    assert not {"b", "i", "u"} & set(found.tags)


def test_findings_come_first_and_colour_the_verdict(tmp_path):
    data = {"y": [0, 0, 0, 1, 1, 1], "dose": [1.0, 2, 3, 5, 6, 7]}
    fit = bg.Model("y ~ dose", data).fit("map")
    found = page(bg.report(fit, tmp_path / "r.html"))
    assert "No warnings ; the notes say" in found.text
    assert found.text.index("separate the outcome") < found.text.rindex(
        "The question and the model"
    )
    with pytest.warns(bg.BayesGLMWarning, match="separation"):
        broken = bg.Model("y ~ dose", data).fit("mle", separation="warn")
    text = bg.report(broken, tmp_path / "r.html").read_text()
    assert 'class="verdict error"' in text
    assert "Do not use these numbers" in text


def test_families_arrays_weights_and_constants(tmp_path):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 2))
    y = rng.integers(2, size=60)
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(y=y, w=rng.integers(1, 4, 60))
    people = bg.datasets.titanic()
    for fit in (
        bg.Model.from_arrays(X, y).fit("map"),
        bg.Model("y ~ a + b", frame, family="gaussian").fit("mle"),
        bg.Model("y ~ 1", frame).fit("mle"),
        bg.Model("y ~ poly(a, 2) * b", frame, weights="w").fit("mle"),
        bg.Model("survived ~ sex * pclass", people, trials="total", link="cloglog").fit("mle"),
        bg.Model("y ~ a - 1", frame).fit("map"),
    ):
        page(bg.report(fit, tmp_path / "r.html"))


def test_a_fit_without_its_data_says_so(mle, tmp_path):
    mle.save(tmp_path / "f.nc", data=False)
    found = page(bg.report(bg.load(tmp_path / "f.nc"), tmp_path / "r.html"))
    assert "saved without its data" in found.text
    assert "temperature" in found.text


def test_a_loaded_fit_has_the_same_report(challenger, tmp_path):
    fit = challenger.fit("laplace", seed=1)
    fit.save(tmp_path / "f.nc")
    texts = [
        page(bg.report(one, tmp_path / "r.html")).text for one in (fit, bg.load(tmp_path / "f.nc"))
    ]
    made = r"Made by bayesglm, .*"
    assert re.sub(made, "", texts[0]) == re.sub(made, "", texts[1])


def test_what_cannot_be_reported_is_said(mle, tmp_path):
    for wrong in ({}, 3, {"a": 3}):
        with pytest.raises(bg.SpecificationError, match="a report is of a Fit"):
            bg.report(wrong, tmp_path / "r.html")
    other = bg.Model("y ~ x", {"x": [1.0, 2, 3, 4], "y": [0, 1, 0, 1]}).fit("mle")
    with pytest.raises(bg.SpecificationError, match="different outcomes"):
        bg.report({"a": mle, "b": other}, tmp_path / "r.html")
    with pytest.raises(bg.SpecificationError, match="level"):
        bg.report(mle, tmp_path / "r.html", level=95)
    assert not list(tmp_path.iterdir())


def test_the_old_report_stays_where_the_new_one_cannot_be_written(mle, tmp_path):
    with pytest.raises(bg.StorageError, match="cannot be written"):
        bg.report(mle, tmp_path / "nowhere" / "r.html")
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "r.html").mkdir()
    with pytest.raises(bg.StorageError, match="cannot be written"):
        bg.report(mle, folder / "r.html")
    assert [p.name for p in folder.iterdir()] == ["r.html"]


def test_the_command_line_writes_one(mle, tmp_path):
    mle.save(tmp_path / "one.nc")
    mle.with_cov("HC3").save(tmp_path / "two.nc")
    runner = CliRunner()
    done = runner.invoke(app, ["report", str(tmp_path / "one.nc")])
    assert done.exit_code == 0, done.output
    assert "one.html" in done.output
    page(tmp_path / "one.html")
    words = ["report", str(tmp_path / "one.nc"), str(tmp_path / "two.nc"), "--out",
             str(tmp_path / "both.html"), "--title", "Two"]  # fmt: skip
    assert runner.invoke(app, words).exit_code == 0
    assert "Term one two" in page(tmp_path / "both.html").text
    assert stat.S_ISREG((tmp_path / "both.html").stat().st_mode)


def test_a_report_changes_nothing_outside(mle, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bg.report(mle, tmp_path / "r.html")
    assert dict(mpl.rcParams) == before
