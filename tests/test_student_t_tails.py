"""Student's t with a learned df against mpmath, SciPy, quadrature and closed forms."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import integrate, special, stats

from bayesglm.links import student_t as fixed
from bayesglm.precision import in_double, scope
from bayesglm.student_t_tails import log_pair, log_tail, parts

DFS = (0.5, 1.0, 1.7, 4.0, 9.0, 30.0, 80.0, 200.0, 1e4)
# Dense around where the expansions meet: between 0.7 and 3.2.
SIDE = np.concatenate(
    [np.geomspace(1e-9, 0.3, 6), np.linspace(0.6, 4, 35), np.geomspace(5, 1e6, 15)]
)
ETA = np.concatenate([-SIDE[::-1], [0.0], SIDE])
ORDERS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


def exact(eta, df):
    """Return log(1 - F), by mpmath."""
    eta, df = mpf(eta), mpf(df)
    a, half, s = df / 2, mpf("0.5"), eta * eta / df
    beta = mp.beta(a, half)
    if abs(eta) < 1:
        series = mp.hyp2f1(1, a + half, half * 3, s / (1 + s))
        small = half - mp.sqrt(s) * (1 + s) ** (-a - half) / beta * series
    else:
        series = mp.hyp2f1(half, 1, a + 1, -1 / s)
        small = (1 + s) ** (-a) * mp.sqrt((1 + s) / s) / (df * beta) * series
    return mp.log(small) if eta >= 0 else mp.log1p(-small)


def exact_derivative(eta, df, order):
    if order[1] == 0:
        return mpmath.diff(lambda x: exact(x, df), mpf(eta), order[0])
    if order[0] == 0:
        return mpmath.diff(lambda v: exact(eta, v), mpf(df), order[1])
    return mpmath.diff(exact, (mpf(eta), mpf(df)), order)


def derivative(function, order):
    """Return a derivative of an elementwise function, by forward differentiation."""
    for argument, times in enumerate(order):
        for _ in range(times):
            function = partial(_moved, function, argument)
    return function


def _moved(function, argument, *at):
    tangents = [jnp.zeros_like(x) for x in at]
    tangents[argument] = jnp.ones_like(at[argument])
    return jax.jvp(function, at, tuple(tangents))[1]


def in_eta(function, times):
    """Return a derivative in eta alone, df being no variable."""
    for _ in range(times):
        function = partial(_moved_in_eta, function)
    return function


def _moved_in_eta(function, eta, df):
    return jax.jvp(lambda x: function(x, df), (eta,), (jnp.ones_like(eta),))[1]


@jax.jit
def _every_derivative(eta, df):
    return {order: derivative(log_tail, order)(eta, df) for order in ORDERS}


def every_derivative(eta, df):
    # All tests have as many rows, and the same types, so that one program serves them.
    return _every_derivative(jnp.asarray(eta), jnp.asarray(df, eta.dtype))


@jax.jit
def slope_in_df(eta, df):
    return jax.grad(lambda v: log_tail(eta, v).sum())(df)


@pytest.mark.parametrize("df", DFS)
@in_double
def test_values_are_right_to_rounding(df):
    log_p, log_q = map(np.asarray, log_pair(ETA, df))
    with mp.workdps(40):
        expected = np.array([float(exact(e, df)) for e in ETA])
    normal = np.abs(expected) > 1e-300
    np.testing.assert_allclose(log_q[normal], expected[normal], rtol=1e-12)
    assert (np.abs(log_q[~normal]) < 1e-300).all()
    np.testing.assert_array_equal(log_p, np.asarray(log_tail(-ETA, df)))


@pytest.mark.parametrize("df", DFS)
@in_double
def test_values_agree_with_scipy(df):
    eta = np.linspace(-8, 8, 97)
    log_p, log_q = map(np.asarray, log_pair(eta, df))
    np.testing.assert_allclose(log_p, np.log(special.stdtr(df, eta)), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(log_q, stats.t.logsf(eta, df), rtol=1e-9, atol=1e-13)


# Tolerances: first derivatives, second ones, third ones.
RIGHT = {1: 1e-11, 2: 1e-10, 3: 1e-8}


@pytest.mark.parametrize("df", [0.5, 1.0, 4.0, 30.0, 200.0])
@in_double
def test_derivatives_up_to_the_third_are_right(df):
    found = every_derivative(ETA, df)
    with mp.workdps(50):
        for order, values in found.items():
            # Far out two parts of one cancel nearly all, to 1e-18. At 0 mpmath finds no exact 0.
            room = mpf("1e-16") if order == (1, 2) else mpf("1e-60")
            for e, value in zip(ETA[::7], values[::7], strict=True):
                right = exact_derivative(e, df, order)
                error = abs(mpf(float(value)) - right)
                assert error < RIGHT[sum(order)] * abs(right) + room, (order, e, value, right)


@pytest.mark.parametrize("df", [0.7, 3.0, 12.0, 150.0])
@in_double
def test_slope_in_df_is_the_integral_of_the_differentiated_density(df):
    def slope_of_density(t):
        constant = special.digamma((df + 1) / 2) - special.digamma(df / 2) - 1 / df
        inner = np.log1p(t * t / df) - (df + 1) / df * t * t / (df + t * t)
        return stats.t.pdf(t, df) * (constant - inner) / 2

    for eta in (0.1, 0.8, 2.0, 4.0):
        # From 0, where F is 1/2 whatever df is.
        moved = integrate.quad(slope_of_density, 0, eta, epsabs=1e-15, epsrel=1e-12)[0]
        got = slope_in_df(eta, df)
        assert float(got) == pytest.approx(-moved / stats.t.sf(eta, df), rel=1e-8)


@in_double
def test_cauchy_and_two_degrees_of_freedom_have_closed_forms():
    eta = np.concatenate([-np.geomspace(1e-8, 1e4, 40), np.geomspace(1e-8, 1e6, 40)])
    one, two = (np.asarray(log_tail(eta, df)) for df in (1.0, 2.0))
    np.testing.assert_allclose(one, np.log(np.arctan2(1, eta) / np.pi), rtol=1e-9)
    root = np.sqrt(2 + eta * eta)
    # (1 - eta / root) / 2, without its cancellation.
    np.testing.assert_allclose(
        two,
        np.where(eta > 0, -np.log(root * (root + eta)), np.log((1 - eta / root) / 2)),
        rtol=1e-7,
    )
    slopes = np.asarray(parts(eta, 2.0)[3])
    np.testing.assert_allclose(slopes, -1 / root**3 / np.exp(two), rtol=1e-12)


@in_double
def test_large_df_approaches_the_normal_and_so_does_its_slope():
    eta, df = np.linspace(-5, 8, 60), 1e6
    limit = stats.norm.logsf(eta)
    # The first term in 1/df of Fisher's expansion.
    term = np.exp(stats.norm.logpdf(eta) - limit) * (eta**3 + eta) / 4
    value, slope = jax.jvp(partial(log_tail, eta), (df,), (1.0,))
    np.testing.assert_allclose(value, limit + term / df, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(slope * -df * df, term, rtol=3e-4, atol=1e-6)


@in_double
def test_reverse_and_forward_agree_and_sum_over_rows():
    eta, df = jnp.asarray(ETA), jnp.asarray(3.3)

    def total(eta, df):
        log_p, log_q = log_pair(eta, df)
        return (log_p - 2 * log_q).sum()

    reverse = jax.jit(jax.hessian(total, (0, 1)))(eta, df)
    forward = jax.jit(jax.jacfwd(jax.jacfwd(total, (0, 1)), (0, 1)))(eta, df)
    twice = jax.jit(jax.jacrev(jax.grad(total, (0, 1)), (0, 1)))(eta, df)
    for other in (forward, twice):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-14), reverse, other)

    third = jax.jit(lambda e, v: in_eta(log_tail, 3)(e, v))(eta, df)
    back = jax.grad(jax.grad(jax.grad(log_tail)))
    np.testing.assert_allclose(third, jax.jit(jax.vmap(back, (0, None)))(eta, df), rtol=1e-11)
    np.testing.assert_allclose(third, every_derivative(eta, df)[3, 0], rtol=1e-11)
    # Reverse over the second derivative in df, as a marginal likelihood of df takes it.
    curve = jax.jit(jax.grad(lambda v: derivative(log_tail, (0, 2))(eta, v).sum()))
    np.testing.assert_allclose(curve(df), every_derivative(eta, df)[0, 3].sum(), rtol=1e-11)


@in_double
def test_batches_and_shapes():
    eta, dfs = jnp.linspace(-6.0, 6.0, 7), jnp.array([0.6, 2.0, 50.0])
    rows = jax.vmap(log_tail, (None, 0))(eta, dfs)
    slopes = jax.vmap(slope_in_df, (None, 0))(eta, dfs)
    for df, row, slope in zip(dfs, rows, slopes, strict=True):
        np.testing.assert_allclose(row, log_tail(eta, df), rtol=1e-14)
        np.testing.assert_allclose(slope, slope_in_df(eta, df), rtol=1e-12)
    np.testing.assert_allclose(log_tail(eta[:3], dfs), jnp.diagonal(rows[:, :3]), rtol=1e-14)
    assert log_tail(1, 2).shape == ()
    assert log_tail(jnp.zeros((2, 3)), 2.0).shape == (2, 3)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("df", [0.5, 3.0, 200.0, 1e4])
def test_everything_is_finite_everywhere(df, precision):
    side = np.geomspace(1e-30, 1e75 if precision == "float64" else 1e8, len(SIDE))
    eta = np.concatenate([-side, [0.0], side]).astype(precision)
    with scope(precision):
        eta = jnp.asarray(eta)
        found = (*parts(eta, df), *every_derivative(eta, df).values())
        found = [np.asarray(value) for value in found]
    assert all(value.dtype == precision and np.isfinite(value).all() for value in found)


@pytest.mark.parametrize("df", [0.5, 3.0, 200.0])
def test_single_precision_is_as_good_as_it_can_be(df):
    def values(eta):
        found = every_derivative(eta, df)
        return [np.asarray(v) for v in (*log_pair(eta, df), found[1, 0], found[0, 1])]

    single = values(eta := ETA.astype("float32"))
    with scope():
        double = values(eta.astype(float))
    for got, right in zip(single, double, strict=True):
        np.testing.assert_allclose(got, right, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("df", DFS)
@in_double
def test_parts_and_curvature_agree_with_the_link_of_fixed_df(df):
    link, eta = fixed(df), jnp.asarray(ETA)
    for got, right in zip(parts(eta, df), link.parts(eta), strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-12, atol=1e-300)
    _, bends = jax.jvp(lambda e: parts(e, df)[2:], (eta,), (jnp.ones_like(eta),))
    for got, right in zip(bends, link.curvatures(eta), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-300)


ORDINARY = st.floats(-1e3, 1e3, allow_nan=False)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    low=st.lists(ORDINARY, min_size=8, max_size=8),
    gap=st.floats(0, 10),
    df=st.floats(0.5, 200),
)
@in_double
def test_monotone_and_complementary(low, gap, df):
    low = np.array(low)
    (p, q), (p_up, q_up) = log_pair(low, df), log_pair(low + gap, df)
    # To rounding: the logarithms are right to 1e-12.
    assert (p_up >= p * (1 + 1e-12)).all()
    assert (q_up <= q * (1 - 1e-12)).all()
    np.testing.assert_allclose(np.exp(p) + np.exp(q), 1, atol=1e-13)
