"""Pictures of what a model makes of rows; matplotlib is imported where one is drawn."""

from sklearn_ae.plots._latent_space import LatentSpaceDisplay
from sklearn_ae.plots._reconstruction import ReconstructionDisplay

__all__ = ["LatentSpaceDisplay", "ReconstructionDisplay"]
