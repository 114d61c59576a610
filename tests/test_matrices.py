"""The matrix of predictors: dense and sparse storage do the same, padding changes nothing."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import bayesglm as bg
from bayesglm.matrices import DenseColumns, SparseColumns, bucket, place
from bayesglm.precision import scope


@pytest.fixture(scope="module")
def both():
    """One wide factor and two numbers, dense and sparse, centred, with an intercept."""
    rng = np.random.default_rng(3)
    n, levels = 700, 120
    codes = rng.integers(levels, size=n)
    factor = np.zeros((n, levels))
    factor[np.arange(n), codes] = 1
    matrix = np.column_stack([rng.normal(size=(n, 2)), factor])
    center = matrix.mean(axis=0)
    with scope():
        dense = place(matrix, center, intercept=True, dtype=np.float64)
        sparse = place(sp.csc_array(matrix), center, intercept=True, dtype=np.float64)
        return jax.tree.map(jnp.asarray, dense), jax.tree.map(jnp.asarray, sparse), matrix


def test_bucket_sizes_grow_slowly():
    sizes = [bucket(n, 128) for n in range(1, 5_000)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert all(b <= 1.12 * a for a, b in itertools.pairwise(sizes) if b != a)


def test_dense_and_sparse_do_the_same(both):
    dense, sparse, matrix = both
    assert isinstance(dense, DenseColumns)
    assert isinstance(sparse, SparseColumns)
    assert dense.shape == sparse.shape
    rng = np.random.default_rng(4)
    k, n = dense.shape
    rows = np.concatenate([rng.uniform(size=len(matrix)), np.zeros(n - len(matrix))])
    square = rng.normal(size=(k, k))
    codes = np.arange(n) % 7
    with scope():
        beta, w, v = jnp.asarray(rng.normal(size=k)), jnp.asarray(rows), jnp.asarray(square)
        pairs = [
            (m.dot(beta), m.sums(w), m.gram(w), m.quadratic(v + v.T), m.group_sums(w, codes, 7))
            for m in (dense, sparse)
        ]
        for one, other in zip(*pairs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_operations_are_what_they_say(both):
    dense, _, matrix = both
    n, p = matrix.shape
    full = np.column_stack([np.ones(n), matrix - matrix.mean(axis=0)])
    w = np.linspace(0, 1, n)
    with scope():
        padded = jnp.asarray(np.concatenate([w, np.zeros(dense.shape[1] - n)]))
        gram = np.asarray(dense.gram(padded))[: p + 1, : p + 1]
    np.testing.assert_allclose(gram, (full.T * w) @ full, rtol=1e-9, atol=1e-9)


def test_padding_rows_repeat_the_first(both):
    for matrix in both[:2]:
        with scope():
            eta = np.asarray(matrix.dot(jnp.arange(matrix.shape[0], dtype=float)))
        np.testing.assert_allclose(eta[700:], eta[0])


def test_a_wide_factor_is_fitted_without_being_made_dense(monkeypatch):
    rng = np.random.default_rng(9)
    n, levels = 20_000, 400
    g = rng.integers(levels, size=n)
    x = rng.normal(size=n)
    effect = rng.normal(0, 0.5, levels)
    y = rng.binomial(1, 1 / (1 + np.exp(-(0.2 + x + effect[g]))))
    frame = {"y": y, "x": x, "g": np.char.add("g", g.astype(str))}
    wide = bg.Model("y ~ x + g", frame)
    assert sp.issparse(wide.design.matrix)
    narrow = bg.Model.from_arrays(wide.design.matrix.toarray(), y, names=wide.design.terms)
    monkeypatch.setattr(sp.csc_array, "toarray", None)
    for method, options in (("mle", {}), ("map", {}), ("mle", {"cov": "HC3"})):
        one, other = wide.fit(method, **options), narrow.fit(method, **options)
        np.testing.assert_allclose(one.coef, other.coef, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(wide.fit("map").predict(), narrow.fit("map").predict(), rtol=1e-6)
