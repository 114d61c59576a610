"""The coordinates of inference.

Inference knows three sets of coordinates:

* *flat*: the unconstrained vector of the NumPyro sites (centred intercept, coefficients with
  their padding, log sigma, the link's shape). Newton, Laplace and NUTS work here.
* *reported*: what the user sees (Intercept on the scale of the data, coefficients). `gd`, `adam`
  and transformations of the user's own run here.
* *standardised*: flat, each coefficient times its column's sd. L-BFGS runs here.

The last two are affine in the first, so a change of coordinates is one `Coordinates` record.
"""

from __future__ import annotations

from typing import NamedTuple

from jax import Array

__all__ = ["Coordinates"]


class Coordinates(NamedTuple):
    """The affine map flat = scale * v + e_0 (shift · v), for the first place e_0."""

    scale: Array
    shift: Array

    def flat(self, v: Array) -> Array:
        """Map a vector of these coordinates to the flat ones."""
        moved = self.scale * v
        return moved.at[0].add(self.shift @ v)

    def inverse(self, flat: Array) -> Array:
        """Map a flat vector to these coordinates; the first place has shift 0."""
        v = flat / self.scale
        return v.at[0].add(-(self.shift @ v) / self.scale[0])
