"""Whatever is handed over, the answer is a sound fit or an error of this package with a word for it.

The default suite tries 150 calls, `pytest -m slow` 2,000 by MLE, MAP and Laplace and 50 by NUTS (the
last 1,000 of the former and the latter are evidence that no change has to bring anew).
More, from another seed:

    BAYESGLM_FUZZ=10000 BAYESGLM_FUZZ_SEED=7 uv run pytest -n 0 -m slow tests/test_fuzz.py

What they found stands in test_bad_input.py as plain examples.
"""

from __future__ import annotations

import os

import pytest
from fuzzing import check
from hypothesis import HealthCheck, Phase, given, seed, settings
from strategies import cases

SEED = int(os.environ.get("BAYESGLM_FUZZ_SEED", "1"))
MANY = int(os.environ.get("BAYESGLM_FUZZ", "2000"))


def tries(number):
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        # Shrinking a find takes minutes; a plain example is written for it anyway.
        phases=[Phase.explicit, Phase.generate] + [Phase.shrink] * (number <= 200),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@seed(SEED)
@tries(150)
@given(case=cases())
def test_some_calls(case):
    check(case)


@pytest.mark.slow
@seed(SEED + 1_000)
@tries(MANY // 2)
@given(case=cases())
def test_many_calls(case):
    check(case)


@pytest.mark.slow
@pytest.mark.evidence
@seed(SEED + 2_000)
@tries(MANY - MANY // 2)
@given(case=cases())
def test_many_other_calls(case):
    check(case)


@pytest.mark.slow
@pytest.mark.evidence
@seed(SEED + 3_000)
@tries(max(MANY // 40, 50))
@given(case=cases(methods=("nuts",)))
def test_calls_of_the_sampler(case):
    check(case)
