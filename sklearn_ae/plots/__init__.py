"""Displays of reconstructions and latent spaces; drawing needs matplotlib."""

from sklearn_ae.plots._latent_space import LatentSpaceDisplay
from sklearn_ae.plots._reconstruction import ReconstructionDisplay

__all__ = ["LatentSpaceDisplay", "ReconstructionDisplay"]
