"""Group-level effects in predictions, and as a table: known groups, new ones, none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

import numpy as np

from bayesglm import tables
from bayesglm.errors import SpecificationError, explain, suggest

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.design import Design
    from bayesglm.fit import Fit
    from bayesglm.grouping import Grouping, GroupRows
    from bayesglm.smoothing import Smooth

__all__ = [
    "GroupPoints",
    "Which",
    "chosen",
    "group_points",
    "group_table",
    "grouping_of",
    "known_groups",
    "shape_table",
]

type Which = Literal["all"] | Sequence[str] | None


@dataclass(frozen=True)
class GroupPoints:
    """The effects of one factor in every draw (or at the estimate, s = 1).

    Attributes
    ----------
    name : str
    effects : ndarray, shape (s, G, q)
        Link scale.
    roots : ndarray, shape (s, q, q)
        L with L L' their covariance between groups.
    """

    name: str
    effects: np.ndarray
    roots: np.ndarray

    def __getitem__(self, part: Any) -> GroupPoints:
        return GroupPoints(self.name, self.effects[part], self.roots[part])

    def eta(self, rows: GroupRows) -> np.ndarray:
        """Return the share of eta, shape (s, n), link scale."""
        effects = self.effects
        if rows.unseen:
            # Code -1 is the last place, -2 the one before it.
            effects = np.concatenate([effects, self._unseen(rows)[:, ::-1]], axis=1)
        found = effects[:, rows.codes, 0] * rows.matrix[:, 0]
        for j in range(1, effects.shape[2]):
            found += effects[:, rows.codes, j] * rows.matrix[:, j]
        return found

    def _unseen(self, rows: GroupRows) -> np.ndarray:
        s, _, q = self.effects.shape
        found = np.zeros((s, len(rows.unseen), q))
        # A point estimate stays in the middle; its variance is that of `variance`.
        if rows.new.kind == "sample" and s > 1:
            for place, name in enumerate(rows.unseen):
                # By its name, so that a group is the same in every block of rows.
                own = crc32(f"{self.name}={name}".encode())
                z = np.random.default_rng([rows.new.seed, own]).standard_normal((s, q))
                found[:, place] = np.einsum("spq,sq->sp", self.roots, z)
        return found

    def variance(self, rows: GroupRows) -> np.ndarray:
        """Return the variance of eta that new groups add to a point estimate, shape (n,)."""
        found = np.zeros(len(rows.codes))
        if rows.new.kind == "sample" and len(self.effects) == 1:
            new = rows.codes < 0
            found[new] = np.sum((rows.matrix[new] @ self.roots[0]) ** 2, axis=1)
        return found


def chosen(design: Design, groups: Which) -> tuple[str, ...]:
    """Return the names of the factors that are asked for.

    Raises
    ------
    SpecificationError
        For a factor that the model does not have.
    """
    known = [each.name for each in design.groups]
    if groups is None or groups == "all":
        return tuple(known) if groups == "all" else ()
    names = [groups] if isinstance(groups, str) else list(groups)
    for name in names:
        if name not in known:
            raise SpecificationError(
                explain(
                    f"the model has no group {name!r}{suggest(str(name), known)}",
                    advice=f"its groups are {', '.join(known)}" if known else "it has none",
                )
            )
    return tuple(name for name in known if name in names)


def known_groups(design: Design, groups: Which) -> dict[str, GroupRows]:
    """Return the training rows of the factors that are asked for, and of smooth terms."""
    names = chosen(design, groups)
    return {each.name: each.rows for each in design.varying if each.tied or each.name in names}


def group_points(fit: Fit) -> tuple[GroupPoints, ...]:
    """Return the effects of all factors and smooth terms, in every draw or at the estimate."""
    found = []
    for grouping in fit.design.varying:
        name = grouping.name
        effects, sd, cor = _values(fit, name)
        width = effects.shape[-1]
        effects = effects.reshape(-1, *effects.shape[-2:])
        sd = np.broadcast_to(sd.reshape(len(effects), -1), (len(effects), width))
        roots = sd[:, :, None] * np.eye(width)
        if cor is not None:
            matrices = cor.reshape(-1, width, width)
            # A correlation of 1 leaves nothing to the next effect.
            values, vectors = np.linalg.eigh(matrices)
            halves = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
            roots = sd[:, :, None] * halves
        found.append(GroupPoints(name, effects, roots))
    return tuple(found)


def _values(fit: Fit, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return effects, standard deviations and correlations, axes of draws first if any."""
    known: Mapping[str, np.ndarray] = fit.result.draws or fit.result.groups
    return known[name], known[f"sd_{name}"], known.get(f"cor_{name}")


def grouping_of(fit: Fit, name: str | None) -> Grouping:
    """Return a factor by its name, or the only one.

    Raises
    ------
    SpecificationError
        If there is no such factor, or several and no name.
    """
    known = [each.name for each in fit.design.groups]
    if name is None and len(known) == 1:
        return fit.design.groups[0]
    if name is None:
        raise SpecificationError(
            explain(
                "which group?" if known else "the model has no groups",
                advice=f"name one of {', '.join(known)}" if known else "write (1 | g) for them",
            )
        )
    (wanted,) = chosen(fit.design, [name])
    return next(each for each in fit.design.groups if each.name == wanted)


def group_table(fit: Fit, name: str | None, level: float) -> pd.DataFrame:
    """Return the effects of a factor's groups; see `Fit.group_table`."""
    import pandas as pd

    tables.check_level(level)
    grouping = grouping_of(fit, name)
    name = grouping.name
    effects, sd, _ = _values(fit, name)
    labels, terms = grouping.labels, grouping.terms
    if len(terms) == 1:
        index = pd.Index(labels, name=name)
    else:
        index = pd.MultiIndex.from_product([labels, terms], names=[name, "term"])
    if fit.result.draws:
        shape = effects.shape[:2]
        values = effects.reshape(*shape, -1)
        names = tuple(map(str, range(values.shape[-1])))
        table = tables.draws_table(names, values, level=level, exponentiate=False)
        if fit.result.certified:
            table = table.drop(columns=["r_hat", "ess_bulk", "ess_tail"])
        before = np.mean(sd**2, axis=(0, 1))
    else:
        from scipy.special import ndtri

        error = fit.result.groups.get(f"{name}_std_error", np.full(effects.shape, np.nan)).ravel()
        reach = ndtri(0.5 + level / 2) * error
        middle = effects.ravel()
        table = pd.DataFrame(
            {
                "estimate": middle,
                "std_error": error,
                "lower": middle - reach,
                "upper": middle + reach,
            }
        )
        before = sd**2
    table.index = index
    before = np.tile(np.broadcast_to(before, (len(terms),)), len(labels))
    with np.errstate(divide="ignore", invalid="ignore"):
        shrunk = np.where(before > 0, table["std_error"] ** 2 / before, 1.0)
    table.insert(4, "shrinkage", np.clip(shrunk, 0, 1))
    if len(grouping.rows.codes) == fit.design.n:
        mass = fit.design.weights * fit.design.trials
        counts = np.bincount(grouping.rows.codes, weights=mass, minlength=len(labels))
        table.insert(5, "trials", np.repeat(counts, len(terms)))
    return table


def shape_table(fit: Fit, level: float) -> pd.DataFrame | None:
    """Return how effects vary: standard deviations and correlations, link scale; None without."""
    import pandas as pd

    parts = [_shape_of(fit, each, level) for each in fit.design.varying]
    return pd.concat(parts) if parts else None


def _shape_of(fit: Fit, grouping: Grouping | Smooth, level: float) -> pd.DataFrame:
    import pandas as pd

    _, sd, cor = _values(fit, grouping.name)
    terms = grouping.terms
    names: tuple[str, ...] = (f"sd_{grouping.name}",)
    if not grouping.tied:
        names = tuple(f"sd_{grouping.name}[{term}]" for term in terms)
    pairs = _pairs(grouping) if cor is not None else []
    names += tuple(f"cor_{grouping.name}[{terms[a]}, {terms[b]}]" for a, b in pairs)
    places = tuple(np.array([pair[k] for pair in pairs], dtype=int) for k in (0, 1))
    if fit.result.draws:
        values = (
            sd if cor is None else np.concatenate([sd, cor[..., places[0], places[1]]], axis=-1)
        )
        return tables.draws_table(names, values, level=level, exponentiate=False)
    from scipy.special import ndtri

    error = fit.result.groups[f"sd_{grouping.name}_std_error"]
    reach = ndtri(0.5 + level / 2)
    with np.errstate(all="ignore"):
        # On the log scale, so that the interval has no negative end; where the error is larger than
        # the estimate that would span orders of magnitude.
        fold = np.exp(reach * error / sd)
        low = np.where(error > sd, 0.0, sd / fold)
        high = np.where(error > sd, sd + reach * error, sd * fold)
    blank = np.full(len(pairs), np.nan)
    middle = sd
    if cor is not None:
        # What does not vary is correlated with nothing.
        both = sd[places[0]] * sd[places[1]] > 0
        middle = np.concatenate([sd, np.where(both, cor[places], np.nan)])
    return pd.DataFrame(
        {
            "estimate": middle,
            "std_error": np.concatenate([error, blank]),
            "lower": np.concatenate([low, blank]),
            "upper": np.concatenate([high, blank]),
        },
        index=pd.Index(names, name="term"),
    )


def _pairs(grouping: Grouping | Smooth) -> list[tuple[int, int]]:
    """Return the pairs of effects that are correlated."""
    found, at = [], 0
    for size in grouping.blocks:
        found += [(at + a, at + b) for b in range(size) for a in range(b)]
        at += size
    return found
