"""Torch modules: they know tensors only."""

from sklearn_ae.nn._autoencoder import Autoencoder, CorrectedLinear
from sklearn_ae.nn._backward import has_rules, manual_backward
from sklearn_ae.nn._callable_architecture import CallableArchitecture
from sklearn_ae.nn._conv import ConvArchitecture, ConvDecoder, ConvEncoder, ConvFilter
from sklearn_ae.nn._corruption import CORRUPTIONS, Corruption
from sklearn_ae.nn._cost import cost
from sklearn_ae.nn._folded import fused_affine
from sklearn_ae.nn._head import Head, early_layers, freeze, thaw
from sklearn_ae.nn._latent import GaussianEncoder
from sklearn_ae.nn._levels import LevelFeatures, WienerEncoder
from sklearn_ae.nn._logistic_entropy_model import LogisticEntropyModel
from sklearn_ae.nn._mlp import ACTIVATIONS, MLP, MLPArchitecture, ResidualMLP

__all__ = [
    "ACTIVATIONS",
    "CORRUPTIONS",
    "MLP",
    "Autoencoder",
    "CallableArchitecture",
    "ConvArchitecture",
    "ConvDecoder",
    "ConvEncoder",
    "ConvFilter",
    "CorrectedLinear",
    "Corruption",
    "GaussianEncoder",
    "Head",
    "LevelFeatures",
    "LogisticEntropyModel",
    "MLPArchitecture",
    "ResidualMLP",
    "WienerEncoder",
    "cost",
    "early_layers",
    "freeze",
    "fused_affine",
    "has_rules",
    "manual_backward",
    "thaw",
]
