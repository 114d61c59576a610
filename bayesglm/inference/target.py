"""The target of inference: the model's structure and its data, laid out and padded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, ImproperUniform, biject_to, constraints

from bayesglm.errors import InferenceError, explain
from bayesglm.generative import Data, Structure
from bayesglm.grouped import Grouped, GroupedPart, bind_groups
from bayesglm.inference.coordinates import Coordinates
from bayesglm.matrices import MIN_COLUMNS, MIN_ROWS, bucket, pad_rows, place
from bayesglm.merging import merge
from bayesglm.neural import Neural, bind
from bayesglm.precision import dtype
from bayesglm.predictors import Flat, Linear, LinearPart, Site, stack
from bayesglm.shaped import SUPPORTS
from bayesglm.shards import on_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.sharding import Mesh

    from bayesglm.design import Design
    from bayesglm.families import Family
    from bayesglm.inputs import Inputs
    from bayesglm.link import Link
    from bayesglm.networks import Network
    from bayesglm.priors import Priors

__all__ = ["Target", "against", "build"]

# Beyond it, an unconstrained coefficient has run to the edge of its support.
EDGE = 15.0


@dataclass(frozen=True)
class Target:
    """One model on one data set, ready for any method.

    Attributes
    ----------
    structure : Structure
        The static part: words and sizes.
    data : Data
        NumPy arrays, padded; `arrays` has them for JAX.
    names : tuple of str
        The reported coefficients, ``Intercept`` first.
    n, p : int
        Rows (equal ones merged) and coefficients without padding.
    intercept : bool
        Whether the first place is an intercept.
    center : ndarray, shape (p,)
        What was subtracted from the columns.
    offset_center : float
        What was subtracted from the offset (link scale).
    sd : ndarray, shape (p,)
        Standard deviations of the columns, 1 where a column is constant.
    effective : float
        sum of weights times trials.
    log_coefficient : float
        sum of weights times the log binomial coefficient.
    merged : bool
        Whether equal rows were taken together: their density is without that coefficient.
    left_out : float
        What must be added to the density: the coefficient of merged rows, the sum of a reference.
    copies : ndarray, shape (padded n,), or None
        Equal rows that each stands for, where sampling weights need to know.
    cluster : ndarray of int, shape (n,), or None
        Codes of the clusters that were asked for.
    flat_priors : bool
        Whether every population-level prior is flat (maximum likelihood).
    precision : str
        ``"float64"`` or ``"float32"``.
    mesh : Mesh or None
        The devices that the rows are spread over; see `bayesglm.shards`.
    """

    structure: Structure
    data: Data
    names: tuple[str, ...]
    n: int
    p: int
    intercept: bool
    center: np.ndarray
    offset_center: float
    sd: np.ndarray
    effective: float
    log_coefficient: float
    merged: bool
    left_out: float
    copies: np.ndarray | None
    cluster: np.ndarray | None
    flat_priors: bool
    precision: str
    device: Data | None = None
    mesh: Mesh | None = None

    @property
    def arrays(self) -> Data:
        """The data as JAX arrays; to be asked for inside the precision scope of a method."""
        return on_device(self.data, self.mesh) if self.device is None else self.device

    def placed(self) -> Target:
        """Return the target with its JAX arrays made once, inside the precision scope."""
        return replace(self, device=self.arrays)

    @property
    def size(self) -> int:
        """Length of the flat vector, padding included."""
        return self.structure.size

    @property
    def networks(self) -> tuple[tuple[Neural, Any], ...]:
        """The networks beside the linear part, each with its arrays."""
        pairs = zip(self.structure.predictors, self.data.parts, strict=True)
        return tuple((p, part) for p, part in pairs if isinstance(p, Neural))

    @property
    def groups(self) -> tuple[tuple[Grouped, GroupedPart], ...]:
        """The factors with group-level effects, each with its arrays; the largest is the last."""
        pairs = zip(self.structure.predictors, self.data.parts, strict=True)
        return tuple((p, part) for p, part in pairs if isinstance(p, Grouped))

    @property
    def breadth(self) -> int:
        """Numbers held for each row and draw while the model is evaluated, roughly."""
        leaves = (leaf for network, _ in self.networks for leaf in network.leaves)
        return 1 + sum(leaf.shape[-1] for leaf in leaves if len(leaf.shape) > 1)

    @property
    def linear(self) -> bool:
        """Whether eta is linear in the flat vector and nothing but coefficients is unknown."""
        return self.rowwise and not self.structure.shape

    @property
    def rowwise(self) -> bool:
        """Whether the rows depend on a linear eta and on the link's shape alone."""
        real = all(_real(block) for block in self.data.parts[0].blocks)
        alone = len(self.structure.predictors) == 1 and not self.structure.family.has_sigma
        return real and alone

    @property
    def some_flat(self) -> bool:
        """Whether some coefficient has a flat prior, so that the mode may be at infinity."""
        part = self.data.parts[0]
        blocks = [*part.blocks, *([part.intercept] if self.intercept else [])]
        return any(
            isinstance(block, Flat) and bool((np.asarray(block.padding) == 0).any())
            for block in blocks
        )

    @property
    def prior_scales(self) -> np.ndarray:
        """Scale of each unknown's prior (1 where it has none), shape (size,)."""
        found = np.ones(self.size)
        part = self.data.parts[0]
        if part.intercept is not None:
            found[0] = float(getattr(part.intercept, "scale", 1.0))
        for block, site in zip(
            part.blocks, self.structure.predictors[0].sites[-len(part.blocks) :], strict=True
        ):
            found[np.array(site.places)] = np.asarray(getattr(block, "scale", 1.0))
        for predictor, arrays in self.networks:
            found[predictor.first : predictor.first + predictor.size] = predictor.scales(arrays)
        return found

    @property
    def places(self) -> np.ndarray:
        """Places of the reported coefficients (intercept first) in the flat vector."""
        return np.arange(int(self.intercept) + self.p)

    def coordinates(self, name: str) -> Coordinates:
        """Return the map of ``"flat"``, ``"reported"`` or ``"standardised"`` coordinates."""
        scale, shift = np.ones(self.size), np.zeros(self.size)
        first = int(self.intercept)
        if name == "reported" and self.intercept:
            shift[1 : 1 + self.p] = self.center
        elif name == "standardised":
            scale[first : first + self.p] = 1 / self.sd
        return Coordinates(jnp.asarray(scale), jnp.asarray(shift))

    def locate(self, init: Any) -> np.ndarray:
        """Return the flat vector of reported coefficients (Intercept first, link scale).

        Raises
        ------
        InferenceError
            If ``init`` has the wrong length, is not finite, or lies outside a prior's support.
        """
        theta = np.asarray(init, dtype=float)
        wanted = int(self.intercept) + self.p
        if theta.shape != (wanted,) or not np.isfinite(theta).all():
            raise InferenceError(
                explain(
                    f"init must be a vector of {wanted} finite numbers, the intercept first",
                    init=init,
                )
            )
        flat = np.zeros(self.size)
        flat[:wanted] = theta
        if self.intercept:
            flat[0] += self.center @ theta[1:] + self.offset_center
        for site in self.structure.sites:
            block = self._prior_of(site.name)
            if block is not None and not _real(block):
                at = np.array(site.places)
                raw = np.asarray(biject_to(block.support).inv(jnp.asarray(flat[at])))
                if not np.isfinite(raw).all():
                    raise InferenceError(
                        explain("init lies outside the support of a prior", init=init)
                    )
                flat[at] = raw
        return flat

    def _prior_of(self, site: str) -> Distribution | None:
        blocks = self.data.parts[0].blocks
        if site == "beta":
            return blocks[0]
        return blocks[int(site[5:])] if site.startswith("beta_") else None

    def at_edge(self, flat: np.ndarray) -> tuple[str, ...]:
        """Return the coefficients that lie on the edge of their prior's support.

        An unconstrained value runs to infinity there: its sigmoid is within 3e-7 of the end.
        """
        found = []
        for site in self.structure.sites:
            block = self._prior_of(site.name)
            if block is None or _real(block):
                continue
            places = np.array(site.places)
            values = flat[places]
            one_sided = np.isposinf(np.asarray(getattr(block.support, "upper_bound", np.inf)))
            ends = (values < -EDGE) | (~one_sided & (values > EDGE))
            found += [self.names[j] for j in places[ends] if j < len(self.names)]
        return tuple(found)

    def to_reported(self) -> np.ndarray:
        """Return the (p', size) matrix J with reported = J flat + const, for real supports."""
        jacobian = np.zeros((len(self.places), self.size))
        jacobian[self.places, self.places] = 1
        if self.intercept:
            jacobian[0, 1 : 1 + self.p] = -self.center
        return jacobian


def _real(distribution: Distribution) -> bool:
    return distribution.support in (constraints.real, constraints.real_vector)


def build(
    design: Design,
    priors: Priors,
    *,
    family: Family,
    link: Link,
    networks: Sequence[Network] = (),
    precision: str = "float64",
    flat: bool = False,
    merged: bool = True,
    padded: bool = True,
    sampling: bool = False,
    cluster: np.ndarray | None = None,
) -> Target:
    """Lay a design and its priors out for inference.

    Parameters
    ----------
    design : Design
        The data.
    priors : Priors
        The priors in numbers; with ``flat`` only their centring is used.
    family, link : Family, Link
        What y is, and how eta becomes a probability.
    networks : sequence of Network
        One for each of the design's ``inputs``.
    precision : {"float64", "float32"}
        Precision of every array.
    flat : bool
        Replace the population-level priors by flat ones (maximum likelihood).
    merged : bool
        Take equal rows of the design together; the likelihood is the same.
    padded : bool
        Lengthen rows and columns to sizes that compiled programs share.
    sampling : bool
        Merge rows of equal (sampling) weights only.
    cluster : ndarray of int, shape (rows of the design,), optional
        Codes of clusters; rows of different ones are not merged.
    """
    number = dtype(precision)
    p, first = len(design.terms), int(design.intercept)
    # Every padding column would cost a column of the marginal likelihood's Hessian.
    padded = padded and not design.varying
    columns = bucket(p + first, MIN_COLUMNS) if padded else p + first
    center = np.asarray(priors.center, dtype=float)
    given, together = merge(
        *(design.matrix, design.y, design.trials, design.weights, design.offset),
        merged=merged,
        sampling=sampling,
        numeric=family.has_sigma,
        cluster=cluster,
        apart=[each for group in design.varying for each in group.keys],
        copies=design.copies,
    )
    rows = bucket(len(given.y), MIN_ROWS) if padded else len(given.y)
    matrix = place(
        given.matrix, center, intercept=design.intercept, dtype=number, shape=(columns, rows)
    )
    chosen = [None] * p if flat else list(priors.beta)
    blocks, batches = stack(chosen, columns - first, flat=flat)
    baseline = None if flat else priors.intercept
    linear = Linear(design.intercept, columns - first, blocks)
    padded_center = np.zeros(columns - first)
    padded_center[:p] = center
    part = LinearPart(
        matrix=matrix,
        intercept=(baseline or Flat(0.0)) if design.intercept else None,
        blocks=batches,
        center=_host(padded_center, number),
        offset_center=_host(priors.offset_center, number),
    )
    sigma = _sigma(priors, flat) if family.has_sigma else None
    predictors: list[Any] = [linear]
    parts: list[Any] = [part]
    sites, size = list(linear.sites), columns
    for network, inputs in zip(networks, design.inputs, strict=True):
        added = bind(
            network,
            pad_rows(inputs.matrix.T, rows).T,
            pad_rows(against(network, inputs, given.matrix, design.intercept, center), rows),
            pad_rows(given.weights * given.trials, rows, fill=0.0),
            first=size,
            link=link,
            flat=flat,
            number=number,
        )
        predictors.append(added[0])
        parts.append(added[1])
        sites += added[0].sites
        size += added[0].size
    for group, prior in sorted(
        zip(design.varying, priors.groups, strict=True), key=lambda pair: pair[0].size
    ):
        known = group.rows if given.at is None else group.rows[given.at]
        bound = bind_groups(group, known, prior, first=size, flat=flat, number=number)
        predictors.append(bound[0])
        parts.append(bound[1])
        sites += bound[0].sites
        size += bound[0].size
    if family.has_sigma:
        sites.append(Site("sigma", (size,), ()))
        size += 1
    for name, _ in priors.shape:
        sites.append(Site(name, (size,), ()))
        size += 1
    # The binomial coefficients of merged rows would be others than those of the data.
    counts = design.aggregated and not together
    structure = Structure(family, link, tuple(predictors), counts, tuple(sites), size)
    data = Data(
        y=_host(pad_rows(given.y, rows), number),
        trials=_host(pad_rows(given.trials, rows), number),
        weights=_host(pad_rows(given.weights, rows, fill=0.0), number),
        offset=_host(pad_rows(given.offset - priors.offset_center, rows), number),
        parts=tuple(parts),
        sigma=sigma,
        shape=tuple(_shape_prior(name, prior, flat) for name, prior in priors.shape),
    )
    sd = np.array([column.sd for column in design.columns])
    coefficient = 0.0
    if design.aggregated:
        per_row = family.log_coefficient(design.y, design.trials)
        coefficient = float(np.sum(design.weights * per_row))
    return Target(
        structure=structure,
        data=data,
        names=(("Intercept",) if design.intercept else ()) + tuple(design.terms),
        n=len(given.y),
        p=p,
        intercept=design.intercept,
        center=center,
        offset_center=float(priors.offset_center),
        sd=np.where(sd > 0, sd, 1.0),
        effective=design.effective,
        log_coefficient=coefficient,
        merged=together,
        left_out=coefficient if together else 0.0,
        copies=None if given.copies is None else pad_rows(given.copies, rows),
        cluster=given.cluster,
        flat_priors=flat or priors.is_flat,
        precision=precision,
    )


def against(
    network: Network, inputs: Inputs, matrix: Any, intercept: bool, center: np.ndarray
) -> np.ndarray:
    """Return what a network is orthogonalised against, shape (k, n): constant, shared columns."""
    n = matrix.shape[0]
    if not network.orthogonal:
        return np.zeros((0, n))
    shared = list(inputs.shared)
    columns = matrix[:, shared]
    dense = columns if isinstance(columns, np.ndarray) else columns.toarray()
    return np.vstack([np.ones((int(intercept), n)), (dense - center[shared]).T])


def _host(values: Any, number: type[np.floating[Any]]) -> Any:
    """Return a NumPy array where an Array is declared: it becomes one inside a precision scope."""
    return np.asarray(values, number)


def _shape_prior(name: str, prior: Distribution, flat: bool) -> Distribution:
    return ImproperUniform(SUPPORTS[name], (), ()) if flat else prior


def _sigma(priors: Priors, flat: bool) -> Distribution:
    if flat or priors.sigma is None:
        return ImproperUniform(constraints.positive, (), ())
    return priors.sigma
