"""Links against mpmath, in both precisions, far into both tails; every link of the registry."""

from __future__ import annotations

import copy
import pickle
from functools import cache, partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from bayesglm.errors import SpecificationError
from bayesglm.links import LINKS as NAMED
from bayesglm.links import Link, get_link, student_t
from bayesglm.precision import scope

DIGITS = 60
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
DFS = (0.5, 1.0, 2.5, 7.0, 30.0, 1000.0)


# Each reference gives p, q, f and f' of an mpmath number.
def _logit(x):
    p, q = 1 / (1 + mp.exp(-x)), 1 / (1 + mp.exp(x))
    return p, q, p * q, p * q * (q - p)


def _probit(x):
    f = mp.npdf(x)
    return mp.erfc(-x / mp.sqrt(2)) / 2, mp.erfc(x / mp.sqrt(2)) / 2, f, -x * f


def _cloglog(x):
    t = mp.exp(x)
    f = mp.exp(x - t)
    return -mp.expm1(-t), mp.exp(-t), f, f * (1 - t)


def _loglog(x):
    p, q, f, slope = _cloglog(-x)
    return q, p, f, -slope


def _cauchit(x):
    f = 1 / (mp.pi * (1 + x * x))
    return mp.atan2(1, -x) / mp.pi, mp.atan2(1, x) / mp.pi, f, -2 * x / (1 + x * x) * f


def _log(x):
    return mp.exp(x), -mp.expm1(x), mp.exp(x), mp.exp(x)


def _identity(x):
    return x, 1 - x, mpf(1), mpf(0)


def _student_t(df, x):
    df, a, half = mpf(df), mpf(df) / 2, mpf("0.5")
    s = x * x / df
    beta = mp.beta(a, half)
    if abs(x) < 1:
        small = half - mp.sqrt(s) * (1 + s) ** (-a - half) / beta * mp.hyp2f1(
            1, a + half, half * 3, s / (1 + s)
        )
    else:
        small = (1 + s) ** (-a) * mp.sqrt((1 + s) / s) / (df * beta)
        small *= mp.hyp2f1(half, 1, a + 1, -1 / s)
    p, q = (1 - small, small) if x >= 0 else (small, 1 - small)
    f = (1 + s) ** (-a - half) / (mp.sqrt(df) * beta)
    return p, q, f, -(df + 1) * x / (df + x * x) * f


REFERENCE = {
    "logit": _logit,
    "probit": _probit,
    "cloglog": _cloglog,
    "loglog": _loglog,
    "cauchit": _cauchit,
    "log": _log,
    "identity": _identity,
    "student_t": partial(_student_t, 4.0),
}
LINKS = {**NAMED, "student_t": student_t(4.0)}
# How far out the grids go: past the eta where both logarithms have ended as 0 or -inf.
FARTHEST = {"logit": 760.0, "probit": 60.0, "cloglog": 760.0, "loglog": 760.0, "log": 760.0}

REGISTRY = [pytest.param(link, REFERENCE[name], id=name) for name, link in LINKS.items()]
CASES = REGISTRY + [
    pytest.param(student_t(df), partial(_student_t, df), id=f"student_t({df:g})") for df in DFS
]
SOME = [*REGISTRY, CASES[-2]]
PRECISIONS = pytest.mark.parametrize("precision", ["float64", "float32"])


def test_every_link_of_the_registry_has_a_reference():
    assert set(REFERENCE) == set(LINKS)
    assert all(link.name == name for name, link in LINKS.items())


@cache
def grid(link: Link, precision: str) -> np.ndarray:
    """Return eta: dense in the centre, geometric towards 0 and outwards, inside the domain."""
    outermost = min(FARTHEST.get(link.name, 1e300), 1e300 if precision == "float64" else 1e37)
    rng = np.random.default_rng(0)
    steps = np.concatenate(
        [
            np.geomspace(1e-12, 1, 15),
            rng.uniform(0, 4, 60),
            rng.uniform(0, 12, 30),
            rng.uniform(12, 40, 20),
            np.geomspace(1, outermost, 70),
            # Where p or q leaves the normal numbers.
            [36.7, 37.5, 38.0, 87.2, 87.4, 103.9, 707.9, 708.3, 709.7, 745.0],
        ]
    )
    steps = steps[steps <= outermost]
    if link.name == "identity":
        eta = np.concatenate([np.geomspace(1e-30, 0.5, 60), 1 - np.geomspace(1e-7, 0.5, 60)])
    elif link.name == "log":
        eta = -np.concatenate([steps, np.geomspace(1e-30, 1, 30)])
    else:
        eta = np.concatenate([[0.0], steps, -steps])
    return eta.astype(precision)


@cache
def _run(name: str):
    return jax.jit(lambda link, eta: getattr(link, name)(eta), static_argnums=0)


def evaluate(name: str, link: Link, eta: np.ndarray):
    with scope(eta.dtype.name):
        answer = _run(name)(link, jnp.asarray(eta))
    values = [np.asarray(part) for part in answer]
    assert all(value.dtype == eta.dtype for value in values)
    return values


def exact_log(part, rest):
    """Return log(part) for part + rest = 1."""
    if rest < mpf(10) ** -20:
        return -rest - rest**2 / 2 - rest**3 / 3
    return mp.log(part) if part < 0.9 else mp.log1p(-rest)


def wrong(value, exact, precision) -> float:
    """Return the relative error, 0 where the exact value is not a normal number."""
    limits = np.finfo(precision)
    if abs(exact) < mpf(float(limits.tiny)):
        return 0.0 if abs(value) <= 2 * limits.tiny else np.inf
    if abs(exact) > mpf(float(limits.max)):
        return 0.0 if not np.isnan(value) and abs(value) > limits.max / 2 else np.inf
    return float(abs(mpf(float(value)) / exact - 1)) if np.isfinite(value) else np.inf


@PRECISIONS
@pytest.mark.parametrize(("link", "reference"), CASES)
def test_logarithms_are_right_to_rounding(link, reference, precision):
    eta = grid(link, precision)
    log_p, log_q = evaluate("pair", link, eta)
    worst = []
    with mp.workdps(DIGITS):
        for e, value_p, value_q in zip(eta, log_p, log_q, strict=True):
            p, q, _, _ = reference(mpf(float(e)))
            worst.append((wrong(value_p, exact_log(p, q), precision), "log p", float(e)))
            worst.append((wrong(value_q, exact_log(q, p), precision), "log q", float(e)))
    assert max(worst) < (TOLERANCE[precision],), max(worst)


@PRECISIONS
@pytest.mark.parametrize(("link", "reference"), CASES)
def test_slopes_and_curvatures_are_right(link, reference, precision):
    eta = grid(link, precision)
    _, _, a, b = evaluate("parts", link, eta)
    bend_a, bend_b = evaluate("curvatures", link, eta)
    slope_tolerance = {"float64": 2e-12, "float32": 5e-5}[precision]
    curvature_tolerance = {"float64": 1e-10, "float32": 1e-3}[precision]
    limits = np.finfo(precision)
    with mp.workdps(120):
        for i in np.flatnonzero(np.abs(eta) <= 60):
            e = eta[i]
            p, q, f, f_slope = reference(mpf(float(e)))
            for which, got, got_bend, exact, exact_bend in (
                ("p", a[i], bend_a[i], f / p, f_slope / p - (f / p) ** 2),
                ("q", b[i], bend_b[i], -f / q, -f_slope / q - (f / q) ** 2),
            ):
                if limits.tiny < abs(exact) < limits.max:
                    assert wrong(got, exact, precision) < slope_tolerance, (which, e, got)
                if limits.tiny < min(abs(exact), abs(exact_bend)) and abs(exact_bend) < limits.max:
                    # Where the curvature changes sign there is nothing to be relative to.
                    room = curvature_tolerance * abs(exact_bend) + 8 * limits.eps * exact**2
                    assert abs(mpf(float(got_bend)) - exact_bend) < room, (which, e, got_bend)


@pytest.mark.parametrize(("link", "reference"), SOME)
def test_autodiff_of_every_order_and_both_modes(link, reference):
    eta = link.eta(np.linspace(0.02, 0.98, 7)) + 0.001 * (link.name != "identity")

    @jax.jit
    def derivatives(x):
        ones = jnp.ones_like(x)
        out = []
        for function in (link.log_p, link.log_q):
            first = jax.grad(lambda e, g=function: g(e).sum())  # reverse
            second = lambda e, g=first: jax.jvp(g, (e,), (ones,))[1]  # noqa: E731  forward over it
            third = lambda e, g=second: jax.jvp(g, (e,), (ones,))[1]  # noqa: E731
            back = jax.grad(lambda e, g=first: g(e).sum())  # reverse over reverse
            out.append((first(x), second(x), third(x), back(x)))
        return out

    with scope("float64"):
        found = derivatives(jnp.asarray(eta))
        slopes, bends = link.parts(eta)[2:], link.curvatures(eta)
    for which in (0, 1):
        first, second, third, back = map(np.asarray, found[which])
        np.testing.assert_allclose(first, slopes[which], rtol=1e-14)
        np.testing.assert_allclose(second, bends[which], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(back, bends[which], rtol=1e-12, atol=1e-15)
        with mp.workdps(40):
            exact = [
                mpmath.diff(lambda x, i=which: mp.log(reference(x)[i]), mpf(e), 3) for e in eta
            ]
        np.testing.assert_allclose(third, np.array(exact, float), rtol=1e-9, atol=1e-12)


@PRECISIONS
@pytest.mark.parametrize(("link", "reference"), SOME)
def test_derivatives_are_finite_inside_the_domain(link, reference, precision):
    eta = np.concatenate([grid(link, precision), [e for e in link.domain if np.isfinite(e)]])
    eta = eta.astype(precision)
    values = evaluate("pair", link, eta)
    assert not any(np.isnan(v).any() or (v > 0).any() for v in values)
    slopes = evaluate("parts", link, eta)[2:]
    for slope, bend in zip(slopes, evaluate("curvatures", link, eta), strict=True):
        assert np.isfinite(slope).all(), eta[~np.isfinite(slope)]
        # 1/eta² of the identity link may overflow; nothing else may.
        held = np.isfinite(bend) | (np.abs(slope) > np.sqrt(np.finfo(precision).max))
        assert held.all(), eta[~held]
        assert not np.isnan(bend).any()

    @jax.jit
    def third(x):
        ones = jnp.ones_like(x)
        return jax.jvp(link.curvatures, (x,), (ones,))[1]

    with scope(precision):
        assert all(not np.isnan(np.asarray(v)).any() for v in third(jnp.asarray(eta)))


@pytest.mark.parametrize("link", [LINKS["probit"], LINKS["cauchit"], student_t(2.5)], ids=str)
def test_far_curvature_keeps_its_sign_and_size(link):
    eta = -np.array([1e2, 1e4, 1e8, 1e12, 1e16, 1e100])
    bend, other = evaluate("curvatures", link, eta)
    # log p ~ -eta²/2 for probit; ~ -df log|eta| for the power laws.
    df = dict(link.parameters).get("df", 1.0)
    exact = -np.ones_like(eta) if link.name == "probit" else df / eta / eta
    keep = np.abs(eta) > 1e3 * (1 + df)
    np.testing.assert_allclose(bend[keep], exact[keep], rtol=1e-4)
    assert (np.abs(other) < 1e-2).all()


ORDINARY = st.floats(-1e3, 1e3, allow_nan=False)


@pytest.mark.parametrize(("link", "reference"), SOME)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(pairs=st.lists(st.tuples(ORDINARY, st.floats(0, 10)), min_size=16, max_size=16))
def test_monotone_and_complementary(link, reference, pairs):
    low = np.array([a for a, _ in pairs])
    high = low + np.array([d for _, d in pairs])
    lower, upper = link.domain
    low, high = np.clip(low, lower, upper), np.clip(high, lower, upper)
    p_low, q_low = evaluate("pair", link, low)
    p_high, q_high = evaluate("pair", link, high)
    # To rounding: 1e-12 is the accuracy of the logarithms.
    assert (p_high >= p_low * (1 + 1e-12)).all()
    assert (q_high <= q_low * (1 - 1e-12)).all()
    np.testing.assert_allclose(np.exp(p_low) + np.exp(q_low), 1, atol=1e-14)


@pytest.mark.parametrize(("link", "reference"), SOME)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(logs=st.lists(st.floats(-40, 0), min_size=8, max_size=8))
def test_inverse_of_eta_is_the_identity(link, reference, logs):
    p = np.exp(np.array(logs)) * 0.999
    eta = link.eta(p)
    with scope("float64"):
        back = np.asarray(_run("inverse")(link, jnp.asarray(eta)))
    np.testing.assert_allclose(back, p, rtol=1e-10)
    assert isinstance(link.eta(0.25), float)


@pytest.mark.parametrize(("link", "reference"), SOME)
def test_half_and_its_density(link, reference):
    p, _, f, _ = reference(mpf(link.half))
    assert float(p) == pytest.approx(0.5, rel=1e-14)
    assert link.density_half == pytest.approx(float(f), rel=1e-13)


def test_half_of_the_named_links():
    expected = {
        "logit": (0.0, 0.25),
        "probit": (0.0, 1 / np.sqrt(2 * np.pi)),
        "cloglog": (np.log(np.log(2)), np.log(2) / 2),
        "loglog": (-np.log(np.log(2)), np.log(2) / 2),
        "cauchit": (0.0, 1 / np.pi),
        "log": (np.log(0.5), 0.5),
        "identity": (0.5, 1.0),
        "student_t": (0.0, 0.375),
    }
    assert set(expected) == set(LINKS)
    for name, link in LINKS.items():
        assert (link.half, link.density_half) == pytest.approx(expected[name], abs=1e-14)


def test_eta_keeps_small_probabilities_and_takes_the_ends():
    for name, link in LINKS.items():
        ends = link.eta([0.0, 1.0])
        assert tuple(ends) == link.domain, name
    assert LINKS["cauchit"].eta(1e-200) == pytest.approx(-1e200 / np.pi, rel=1e-14)
    assert LINKS["logit"].eta(0.5 + 1e-12) == pytest.approx(4 * ((0.5 + 1e-12) - 0.5), rel=1e-14)
    with pytest.raises(SpecificationError, match="must lie in"):
        LINKS["logit"].eta(1.5)


@pytest.mark.parametrize("name", ["log", "identity"])
def test_partial_links_end_where_their_domain_does(name):
    link = LINKS[name]
    assert link.partial
    outside = np.array([-0.1, 1.1]) if name == "identity" else np.array([1e-9, 3.0])
    assert all((part == -np.inf).all() for part in evaluate("pair", link, outside))
    assert all((part == 0).all() for part in evaluate("parts", link, outside)[2:])
    end = np.array([link.domain[1]])
    log_p, log_q, _, _ = evaluate("parts", link, end)
    assert (log_p[0], log_q[0]) == (0.0, -np.inf)
    assert not any(LINKS[other].partial for other in set(LINKS) - {"log", "identity"})


def test_links_are_values():
    for link in [*LINKS.values(), student_t(2.5)]:
        for twin in (copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
            assert twin == link
            assert hash(twin) == hash(link)
        assert get_link(link.label) == link
        assert repr(link) == f"Link({link.label!r})"
    assert student_t(4) == student_t(4.0)
    assert hash(student_t(4)) == hash(student_t(4.0))
    assert student_t(4) != student_t(5)
    assert len(set(LINKS.values())) == len(LINKS)


def test_equal_links_share_compiled_programs():
    traced = []

    @partial(jax.jit, static_argnums=0)
    def run(link, eta):
        traced.append(link)
        return link.log_p(eta)

    for link in (student_t(3), student_t(3.0), Link("mine", inverse=_logistic)):
        run(link, jnp.ones(2))
    run(Link("mine", inverse=_logistic), jnp.ones(2))
    assert len(traced) == 2


def test_get_link():
    assert get_link("probit") is LINKS["probit"]
    assert get_link(LINKS["log"]) is LINKS["log"]
    assert get_link("student_t(7)") == get_link("student_t(df=7)") == student_t(7)
    with pytest.raises(SpecificationError, match='did you mean "probit"') as caught:
        get_link("probitt")
    assert all(name in str(caught.value) for name in LINKS)
    for bad in (0, -1, np.nan, np.inf, "4", True, None):
        with pytest.raises(SpecificationError, match="df must be"):
            student_t(bad)
    for bad in ("student_t(1.2.3)", "student_t(four)", "student_t(df=-1)", "student_t(inf)"):
        with pytest.raises(SpecificationError, match="df must be"):
            get_link(bad)
    for bad in (None, 3, "student_t()"):
        with pytest.raises(SpecificationError, match="unknown link"):
            get_link(bad)


# Links of a user, written in jax.numpy.
def _logistic(eta):
    return 1 / (1 + jnp.exp(-eta))


def _gumbel_log_p(eta):
    return -jnp.exp(-eta)


def _gumbel_log_q(eta):
    return jnp.log(-jnp.expm1(-jnp.exp(-eta)))


def test_a_link_by_its_logarithms_equals_the_built_in_one():
    mine = Link("mine", log_p=_gumbel_log_p, log_q=_gumbel_log_q)
    assert not mine.builtin
    assert not mine.partial
    assert mine.findings() == ()
    assert pickle.loads(pickle.dumps(mine)) == copy.deepcopy(mine) == mine
    assert mine.half == pytest.approx(LINKS["loglog"].half, rel=1e-14)
    assert mine.density_half == pytest.approx(LINKS["loglog"].density_half, rel=1e-13)
    p = np.array([1e-8, 0.2, 0.9])
    np.testing.assert_allclose(mine.eta(p), LINKS["loglog"].eta(p), rtol=1e-13)
    eta = np.linspace(-3, 5, 9)
    for name in ("pair", "parts", "curvatures"):
        ours, theirs = evaluate(name, mine, eta), evaluate(name, LINKS["loglog"], eta)
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    with scope("float64"):
        slope = jax.jit(jax.vmap(jax.grad(mine.log_q)))(jnp.asarray(eta))
        np.testing.assert_allclose(mine.inverse(eta), LINKS["loglog"].inverse(eta), rtol=1e-12)
    np.testing.assert_allclose(slope, evaluate("parts", mine, eta)[3], rtol=1e-12)


def test_a_link_by_its_inverse_says_where_precision_ends():
    mine = Link("mine", inverse=_logistic)
    (finding,) = mine.findings()
    assert (finding.code, finding.severity) == ("inverse-only", "note")
    # 1 + exp(-eta) rounds to 1 from eta = -log(2^-53) on; exp(-eta) overflows at 709.8.
    assert finding.value == pytest.approx(53 * np.log(2), rel=1e-3)
    assert "below eta = -70" in finding.message
    assert "36.7" in finding.message
    eta = np.array([-800.0, -5.0, 0.0, 5.0, 50.0, 800.0])
    smooth = Link("mine", inverse=jax.nn.sigmoid)
    for ours in (*evaluate("parts", smooth, eta), *evaluate("curvatures", smooth, eta)):
        assert not np.isnan(ours).any()
    log_p, log_q = evaluate("pair", mine, eta)
    np.testing.assert_allclose(
        log_p[1:4], evaluate("pair", LINKS["logit"], eta)[0][1:4], rtol=1e-12
    )
    assert log_q[-1] == -np.inf
    assert mine.eta(0.75) == pytest.approx(np.log(3), rel=1e-12)
    assert LINKS["logit"].findings() == ()


def test_a_users_partial_link():
    mine = Link("mine", log_p=jnp.log, log_q=lambda e: jnp.log1p(-e), domain=(0.0, 1.0))
    assert mine.partial
    assert mine.findings() == ()
    assert mine.eta(0.3) == pytest.approx(0.3, rel=1e-14)
    log_p, log_q, a, b = evaluate("parts", mine, np.array([-1.0, 0.5, 2.0]))
    assert log_p[0] == log_q[0] == log_p[2] == log_q[2] == -np.inf
    np.testing.assert_allclose([a, b], [[0, 2, 0], [0, -2, 0]])


def test_a_heavy_tailed_users_link_is_searched_far_out():
    cauchit = LINKS["cauchit"]
    mine = Link("mine", log_p=cauchit.log_p, log_q=cauchit.log_q)
    p = np.array([1e-12, 0.5, 0.999999])
    np.testing.assert_allclose(mine.eta(p), cauchit.eta(p), rtol=1e-10, atol=1e-15)


def test_wrong_links_are_refused_or_reported():
    with pytest.raises(SpecificationError, match="both logarithms, or its inverse"):
        Link("mine", log_p=_gumbel_log_p)
    with pytest.raises(SpecificationError, match="plain word"):
        Link("my link", inverse=_logistic)
    with pytest.raises(SpecificationError, match="functions of eta"):
        Link("mine", inverse=0.5)
    (finding,) = Link("mine", log_p=_gumbel_log_p, log_q=jax.nn.log_sigmoid).findings()
    assert (finding.code, finding.severity) == ("link-inconsistent", "error")
    with pytest.raises(SpecificationError, match="does not reach"):
        _ = Link("mine", inverse=lambda eta: 0.4 * _logistic(eta)).half
