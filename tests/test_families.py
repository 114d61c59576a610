"""Families: the log density of y given eta, its derivatives, and the NumPyro distributions."""

from __future__ import annotations

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from scipy import stats

from bayesglm.errors import SpecificationError
from bayesglm.families import FAMILIES, BinomialLink, Family, get_family
from bayesglm.links import LINKS, Link, student_t
from bayesglm.precision import scope

BERNOULLI, GAUSSIAN = FAMILIES["bernoulli"], FAMILIES["gaussian"]
EVERY_LINK = pytest.mark.parametrize("link", [*LINKS.values(), student_t(4.0)], ids=str)
# y of t: no event, all events, some, and an empty row.
Y = np.array([0.0, 1.0, 0.0, 3.0, 2.0, 0.0])
T = np.array([1.0, 1.0, 3.0, 3.0, 5.0, 0.0])


def interior(link: Link) -> np.ndarray:
    return link.eta(np.array([0.03, 0.2, 0.45, 0.6, 0.85, 0.98]))


def derivatives(link, eta, y, trials, weights=None):
    """Return rows, reverse-mode gradient of the weighted sum, and forward-over-forward curvature."""
    weights = jnp.ones_like(eta) if weights is None else weights

    def rows(e):
        return BERNOULLI.log_prob(e, y, trials, link)

    ones = jnp.ones_like(eta)

    def slope(e):
        return jax.jvp(rows, (e,), (ones,))[1]

    gradient = jax.grad(lambda e: (weights * rows(e)).sum())
    return (
        rows(eta),
        gradient(eta),
        jax.jvp(slope, (eta,), (ones,))[1],
        jax.jvp(gradient, (eta,), (ones,))[1],
    )


RUN = jax.jit(derivatives, static_argnums=0)


@EVERY_LINK
def test_log_prob_is_the_binomial_without_its_coefficient(link):
    eta = interior(link)
    with scope("float64"):
        rows = np.asarray(RUN(link, jnp.asarray(eta), Y, T)[0])
        p = np.asarray(link.inverse(jnp.asarray(eta)))
    coefficient = BERNOULLI.log_coefficient(Y, T)
    np.testing.assert_allclose(rows + coefficient, stats.binom.logpmf(Y, T, p), rtol=1e-12)
    np.testing.assert_allclose(coefficient[:3], 0, atol=1e-15)


@EVERY_LINK
def test_derivatives_follow_the_links_in_both_modes(link):
    eta, weights = interior(link), np.array([0.5, 2.0, 3.0, 0.7, 1.1, 4.0])
    with scope("float64"):
        found = RUN(link, jnp.asarray(eta), Y, T, weights)
        _, gradient, second, forward_over_reverse = map(np.asarray, found)
        a, b = map(np.asarray, BERNOULLI.outcome_scores(jnp.asarray(eta), link))
        bend_a, bend_b = map(np.asarray, link.curvatures(jnp.asarray(eta)))
    np.testing.assert_allclose(gradient, weights * (Y * a + (T - Y) * b), rtol=1e-13, atol=1e-15)
    exact = Y * bend_a + (T - Y) * bend_b
    np.testing.assert_allclose(second, exact, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(forward_over_reverse, weights * exact, rtol=1e-12, atol=1e-14)


@EVERY_LINK
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_never_nan_wherever_eta_is(link, precision):
    lower, upper = link.domain
    far = [0.0, 1.0, 40.0, 800.0, 1e6, 1e20]
    eta = np.array([*far, *(-np.array(far)), 0.5, *(e for e in link.domain if np.isfinite(e))])
    eta = np.unique(eta).astype(precision)
    for y, trials in zip(Y, T, strict=True):
        with scope(precision):
            full = jnp.full(eta.shape, y, precision), jnp.full(eta.shape, trials, precision)
            rows, gradient, second, mixed = map(np.asarray, RUN(link, jnp.asarray(eta), *full))
            information = np.asarray(BERNOULLI.information(jnp.asarray(eta), full[1], link))
        inside = (eta >= lower) & (eta <= upper)
        for values in (rows, gradient, second, mixed, information):
            assert not np.isnan(values).any()
            assert values.dtype == precision
        assert np.isfinite(gradient).all() or link.name in {"cloglog", "loglog"}
        assert (rows <= 0).all()
        assert (information >= 0).all()
        assert (information[~inside] == 0).all()
        if trials == 0:
            assert (rows == 0).all()
        else:
            assert (rows[~inside] == -np.inf).all()


def test_an_event_that_is_certain_leaves_nothing():
    # p = 1 at the closed end of the domain: log(1-p) = -inf must not touch rows with y = trials.
    with scope("float64"):
        for name, eta in (("log", 0.0), ("identity", 1.0), ("cloglog", 800.0)):
            rows, gradient, second, mixed = RUN(
                LINKS[name], jnp.full(2, eta), jnp.array([1.0, 3.0]), jnp.array([1.0, 3.0])
            )
            assert (rows == 0).all()
            assert np.isfinite([gradient, second, mixed]).all()


def test_a_users_infinite_slope_is_masked_in_reverse_mode():
    mine = Link("mine", log_p=jnp.log, log_q=lambda e: jnp.log1p(-e), domain=(0.0, 1.0))
    with scope("float64"):
        rows, gradient, second, mixed = RUN(
            mine, jnp.array([0.0, 1.0, 0.25]), jnp.array([0.0, 1.0, 1.0]), jnp.ones(3)
        )
    np.testing.assert_allclose(rows, [0, 0, np.log(0.25)])
    np.testing.assert_allclose(gradient, [-1, 1, 4])
    np.testing.assert_allclose(second, [-1, -1, -16])
    np.testing.assert_allclose(mixed, second)


def test_counts_may_be_whole_numbers_and_eta_a_plain_number():
    rows = BERNOULLI.log_prob(0, np.array([0, 1]), np.array([1, 1]), LINKS["logit"])
    np.testing.assert_allclose(rows, np.log(0.5), rtol=1e-6)
    gradient = jax.grad(
        lambda e: BERNOULLI.log_prob(e, np.array([0, 3]), np.array([1, 4]), LINKS["logit"]).sum()
    )(0.0)
    assert float(gradient) == pytest.approx(0.5)


@EVERY_LINK
def test_information_is_the_expected_curvature(link):
    with scope("float64"):
        eta = jnp.asarray(interior(link))
        p = np.asarray(link.inverse(eta))
        bend_p, bend_q = map(np.asarray, link.curvatures(eta))
        a, b = map(np.asarray, BERNOULLI.outcome_scores(eta, link))
        information = np.asarray(BERNOULLI.information(eta, T, link))
    np.testing.assert_allclose(information, -T * (p * bend_p + (1 - p) * bend_q), rtol=1e-9)
    np.testing.assert_allclose(information, T * (p * a**2 + (1 - p) * b**2), rtol=1e-12)
    np.testing.assert_allclose(p * a + (1 - p) * b, 0, atol=1e-14)  # scores have mean 0


def test_information_keeps_its_digits_in_the_tails():
    with scope("float64"):
        eta = jnp.array([-700.0, -300.0, 300.0, 700.0])
        information = BERNOULLI.information(eta, jnp.ones(4), LINKS["logit"])
        np.testing.assert_allclose(information, np.exp(-np.abs(eta)), rtol=1e-12)
        # f²/(pq) ~ eta²  x  the small tail, for probit
        probit = BERNOULLI.information(jnp.array([-30.0, 30.0]), jnp.ones(2), LINKS["probit"])
        np.testing.assert_allclose(probit, 30 * stats.norm.pdf(30), rtol=2e-3)


def test_distribution_is_a_numpyro_distribution():
    with scope("float64"):
        eta, trials = jnp.asarray(interior(LINKS["probit"])), jnp.asarray(T)
        d = BERNOULLI.distribution(eta, trials, LINKS["probit"], aggregated=True)
        p = stats.norm.cdf(np.asarray(eta))
        np.testing.assert_allclose(
            d.log_prob(jnp.asarray(Y)), stats.binom.logpmf(Y, T, p), rtol=1e-10
        )
        np.testing.assert_allclose(d.mean, T * p, rtol=1e-12)
        np.testing.assert_allclose(d.variance, T * p * (1 - p), rtol=1e-12, atol=1e-15)
        plain = BERNOULLI.distribution(eta, trials, LINKS["probit"])
        expected = BERNOULLI.log_prob(eta, Y, trials, LINKS["probit"])
        np.testing.assert_allclose(plain.log_prob(jnp.asarray(Y)), expected)
        assert np.asarray(d.support(jnp.asarray(Y))).all()
        assert not np.asarray(d.support(jnp.asarray(T + 1))).any()

        leaves, tree = jax.tree.flatten(d)
        assert [leaf.shape for leaf in leaves] == [(6,), (6,)]
        again = jax.tree.unflatten(tree, leaves)
        assert (again.link, again.aggregated) == (LINKS["probit"], True)
        through = jax.jit(lambda one: one)(d)
        np.testing.assert_allclose(through.mean, d.mean)
        copied = pickle.loads(pickle.dumps(copy.deepcopy(d)))
        np.testing.assert_allclose(copied.mean, d.mean)
        mapped = jax.vmap(lambda e: BinomialLink(e, trials, link=student_t(3)).log_prob(trials))
        assert mapped(jnp.stack([eta, eta])).shape == (2, 6)


@pytest.mark.parametrize("aggregated", [False, True])
def test_samples_have_the_right_moments(aggregated):
    trials = np.array([1.0, 1.0, 1.0]) if not aggregated else np.array([2.0, 10.0, 40.0])
    d = BERNOULLI.distribution(
        jnp.array([-2.0, 0.1, 1.0]), jnp.asarray(trials), LINKS["cloglog"], aggregated=aggregated
    )
    draws = np.asarray(d.sample(jax.random.key(0), (20_000,)))
    assert draws.shape == (20_000, 3)
    assert ((draws >= 0) & (draws <= trials)).all()
    assert (draws == np.round(draws)).all()
    error = np.sqrt(np.asarray(d.variance) / len(draws))
    assert (np.abs(draws.mean(0) - d.mean) < 4.5 * error).all()
    np.testing.assert_allclose(draws.var(0), d.variance, rtol=0.08)


def test_works_as_a_site_of_a_model():
    def model(y=None):
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        numpyro.sample("y", BERNOULLI.distribution(slope * x, ones, LINKS["logit"]), obs=y)

    x, ones = jnp.array([-1.0, 0.5, 2.0]), jnp.ones(3)
    y = jnp.array([0.0, 1.0, 1.0])
    trace = handlers.trace(handlers.substitute(model, {"slope": 0.7})).get_trace(y)
    site = trace["y"]
    value = site["fn"].log_prob(site["value"])
    np.testing.assert_allclose(value, BERNOULLI.log_prob(0.7 * x, y, ones, LINKS["logit"]))
    drawn = handlers.trace(handlers.seed(model, 0)).get_trace()["y"]["value"]
    assert set(np.unique(drawn)) <= {0.0, 1.0}


def test_gaussian_is_the_normal():
    link = LINKS["identity"]
    assert GAUSSIAN.has_sigma
    assert GAUSSIAN.links == ("identity",)
    with scope("float64"):
        # Here the identity link is not partial: eta is anything.
        eta, y = jnp.array([-3.0, 0.5, 7.0]), jnp.array([0.0, 1.0, 1.0])
        for sigma in (None, 0.4, jnp.array([0.4, 1.0, 2.0])):
            scale = 1.0 if sigma is None else np.asarray(sigma)
            rows = GAUSSIAN.log_prob(eta, y, jnp.ones(3), link, sigma)
            np.testing.assert_allclose(rows, stats.norm.logpdf(y, eta, scale), rtol=1e-12)
            information = GAUSSIAN.information(eta, jnp.ones(3), link, sigma)
            np.testing.assert_allclose(information, np.ones(3) / np.square(scale))
        d = GAUSSIAN.distribution(eta, jnp.ones(3), link, sigma=0.4)
        assert isinstance(d, dist.Normal)
        np.testing.assert_allclose(d.log_prob(y), stats.norm.logpdf(y, eta, 0.4), rtol=1e-12)
    assert (GAUSSIAN.log_coefficient(np.ones(3), np.ones(3)) == 0).all()


def test_get_family():
    assert get_family("bernoulli") is BERNOULLI
    assert get_family(GAUSSIAN) is GAUSSIAN
    assert all(isinstance(f, Family) and f.name == name for name, f in FAMILIES.items())
    with pytest.raises(SpecificationError, match='did you mean "bernoulli"'):
        get_family("bernouli")
    with pytest.raises(SpecificationError, match="unknown family"):
        get_family(None)
