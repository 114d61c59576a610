"""Reports as a reader sees them: in Chromium, wide and narrow, light, dark and printed."""

from __future__ import annotations

import os
import shutil

import pytest

import bayesglm as bg

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "no Chromium here: `apt-get install chromium`, then this test runs"
WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="`uv run --group browser` has it")
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    launches = bg.Model("damage ~ temperature", bg.datasets.challenger())
    people = bg.Model("survived ~ sex * pclass", bg.datasets.titanic(), trials="total")
    three = {method: people.fit(method, seed=1) for method in ("mle", "map", "laplace")}
    simulated = bg.datasets.simulate(400, seed=1)
    network = bg.Model("y ~ x1", simulated, add=[bg.Network("~ x2", hidden=(4,))])
    found = {
        "challenger": launches.fit("nuts", seed=1),
        "titanic": three,
        "network": network.fit("map", seed=1),
    }
    return {name: bg.report(fit, folder / f"{name}.html") for name, fit in found.items()}


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", ["challenger", "titanic", "network"])
def test_a_report_in_the_browser(browser, reports, name, device, scheme, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        viewport={"width": WIDTHS[device], "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = reports[name].as_uri()
    page.goto(address, wait_until="networkidle")
    outside = [url for url in asked if url != address and not url.startswith("data:")]
    assert not outside
    assert not told
    sections = page.eval_on_selector_all("section", "all => all.map(s => s.id)")
    for section in (
        "summary",
        "model",
        "data",
        "estimates",
        "effects",
        "checks",
        "scores",
        "again",
    ):
        assert section in sections
    # Every picture has a size, and nothing is wider than the window.
    sizes = page.eval_on_selector_all(
        "figure svg, figure img", "all => all.map(s => s.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 6
    assert sum(size > 50 for size in sizes) >= 6
    wide, window = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= window
    page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    folder = os.environ.get("BAYESGLM_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}-{device}-{scheme}.png", full_page=True)
    context.close()


def test_a_printed_report_shows_what_is_folded(browser, reports, tmp_path):
    page = browser.new_page()
    page.goto(reports["challenger"].as_uri())
    page.emulate_media(media="print")
    page.pdf(path=tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").stat().st_size > 20_000
    assert page.eval_on_selector("nav", "n => getComputedStyle(n).display") == "none"
    page.close()
