"""Where the voxels of an image lie: its shape and affine, and which voxels of two grids meet.

Voxels are counted as a NIfTI file stores them, the first axis fastest. What the voxels hold is not known here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped

SAME_PLACE = 0.01  # edges of a voxel: two grids whose corners are nearer than that are one grid
# Grids of 1 and 2 mm meet halfway between voxels. A hair beyond the half rounds them all to the same side, where
# rounding errors of the affine would else decide voxel by voxel.
HALF = 0.5 + 1e-6


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of an image: ``affine`` takes their three indices, from 0, to mm."""

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]

    @property
    def num_voxels(self) -> int:
        """How many voxels there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def edge_mm(self) -> float:
        """The shortest edge of a voxel in mm."""
        return float(np.linalg.norm(self.affine[:3, :3], axis=0).min())

    def distance_mm(self, other_affine: Float64[np.ndarray, "4 4"]) -> float:
        """How far the most distant corner of this grid would move if its affine were ``other_affine``."""
        ends = [(0, length - 1) for length in self.shape]
        corners = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64)
        moved = corners @ (self.affine - other_affine).T
        return float(np.linalg.norm(moved[:, :3], axis=1).max())

    def same_as(self, other: Grid) -> bool:
        """Whether both have the same voxels in the same places."""
        return self.shape == other.shape and self.distance_mm(other.affine) < SAME_PLACE * self.edge_mm

    def voxels_at(self, indices: Int[np.ndarray, "N 3"], other: Grid) -> Int64[np.ndarray, "N"]:
        """The voxels of this grid that the centres of ``other``'s voxels fall into; -1 outside."""
        to_here = np.linalg.solve(self.affine, other.affine)
        places = np.floor(indices @ to_here[:3, :3].T + (to_here[:3, 3] + HALF)).astype(np.int64)
        inside = ((places >= 0) & (places < self.shape)).all(axis=1)
        return np.where(inside, places @ self.strides, -1)

    @property
    def strides(self) -> Int64[np.ndarray, "3"]:
        """What a step along each axis adds to the number of a voxel."""
        return np.array([1, self.shape[0], self.shape[0] * self.shape[1]], dtype=np.int64)

    def sample(self, volume: Shaped[np.ndarray, "X Y Z"], other: Grid) -> Shaped[np.ndarray, "V"]:
        """For every voxel of this grid the value of ``volume``, which lies on ``other``, at its centre; 0 outside.

        Nearest neighbour, so that labels stay labels.
        """
        values = np.zeros(self.num_voxels, dtype=volume.dtype)
        flat = volume.ravel(order="F")
        per_slice = self.shape[0] * self.shape[1]
        first, second = np.meshgrid(np.arange(self.shape[0]), np.arange(self.shape[1]), indexing="ij")
        indices = np.stack([first.ravel(order="F"), second.ravel(order="F"), np.zeros(per_slice, np.int64)], axis=1)
        for number in range(self.shape[2]):  # by slices: coordinates take 15 times the memory of the labels
            indices[:, 2] = number
            found = other.voxels_at(indices, self)
            part = values[number * per_slice : (number + 1) * per_slice]
            part[found >= 0] = flat[found[found >= 0]]
        return values
