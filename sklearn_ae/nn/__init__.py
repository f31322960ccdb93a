"""Torch modules: they know tensors only."""

from sklearn_ae.nn._autoencoder import Autoencoder, CorrectedLinear
from sklearn_ae.nn._backward import by_hand, has_rules
from sklearn_ae.nn._corruption import CORRUPTIONS, Corruption
from sklearn_ae.nn._folded import folded
from sklearn_ae.nn._latent import GaussianEncoder
from sklearn_ae.nn._levels import LevelFeatures, WienerEncoder
from sklearn_ae.nn._mlp import ACTIVATIONS, MLP, ResidualMLP

__all__ = [
    "ACTIVATIONS",
    "CORRUPTIONS",
    "MLP",
    "Autoencoder",
    "CorrectedLinear",
    "Corruption",
    "GaussianEncoder",
    "LevelFeatures",
    "ResidualMLP",
    "WienerEncoder",
    "by_hand",
    "folded",
    "has_rules",
]
