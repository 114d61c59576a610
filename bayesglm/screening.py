"""Many candidate predictors, or many outcomes, against one design; see `bayesglm.fit_many`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesglm.many_fits import ManyFits
    from bayesglm.settling import Job

__all__ = ["by_candidate", "by_outcome"]


def by_candidate(job: Job, data: Any, over: Sequence[str]) -> ManyFits:
    raise NotImplementedError


def by_outcome(job: Job, data: Any, outcomes: Sequence[str]) -> ManyFits:
    raise NotImplementedError
