"""Torch modules: they know tensors only."""

from sklearn_ae.nn._autoencoder import Autoencoder, cost, plain_forward
from sklearn_ae.nn._callable_architecture import CallableArchitecture
from sklearn_ae.nn._conv import ConvArchitecture, ConvDecoder, ConvEncoder, ConvFilter
from sklearn_ae.nn._corruption import CORRUPTIONS, Corruption
from sklearn_ae.nn._generator_mode import GeneratorMode
from sklearn_ae.nn._head import Head, early_layers, freeze, thaw
from sklearn_ae.nn._latent import GaussianEncoder
from sklearn_ae.nn._levels import LevelFeatures, WienerEncoder
from sklearn_ae.nn._logistic_entropy_model import LogisticEntropyModel
from sklearn_ae.nn._mlp import (
    ACTIVATIONS,
    MLP,
    CorrectedLinear,
    MLPArchitecture,
)

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
    "GeneratorMode",
    "Head",
    "LevelFeatures",
    "LogisticEntropyModel",
    "MLPArchitecture",
    "WienerEncoder",
    "cost",
    "early_layers",
    "freeze",
    "plain_forward",
    "thaw",
]
