"""Torch modules: they know tensors only."""

from sklearn_ae.nn._autoencoder import Autoencoder, CorrectedLinear
from sklearn_ae.nn._backward import by_hand, has_rules
from sklearn_ae.nn._conv import ConvDecoder, ConvEncoder, ConvFilter, Convolutions
from sklearn_ae.nn._corruption import CORRUPTIONS, Corruption
from sklearn_ae.nn._cost import cost
from sklearn_ae.nn._folded import folded
from sklearn_ae.nn._head import Head, early_layers, freeze, thaw
from sklearn_ae.nn._latent import GaussianEncoder
from sklearn_ae.nn._levels import LevelFeatures, WienerEncoder
from sklearn_ae.nn._logistic_prior import LogisticPrior
from sklearn_ae.nn._mlp import ACTIVATIONS, MLP, Perceptrons, ResidualMLP
from sklearn_ae.nn._own import Own

__all__ = [
    "ACTIVATIONS",
    "CORRUPTIONS",
    "MLP",
    "Autoencoder",
    "ConvDecoder",
    "ConvEncoder",
    "ConvFilter",
    "Convolutions",
    "CorrectedLinear",
    "Corruption",
    "GaussianEncoder",
    "Head",
    "LevelFeatures",
    "LogisticPrior",
    "Own",
    "Perceptrons",
    "ResidualMLP",
    "WienerEncoder",
    "by_hand",
    "cost",
    "early_layers",
    "folded",
    "freeze",
    "has_rules",
    "thaw",
]
