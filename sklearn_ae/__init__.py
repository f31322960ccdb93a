"""Autoencoders as scikit-learn estimators."""

from sklearn_ae.autoencoder import AutoencoderTransformer
from sklearn_ae.compression import AutoencoderCompressor, stream_info
from sklearn_ae.detection import AEOutlierDetector
from sklearn_ae.semi_supervised import (
    AutoencoderClassifier,
    AutoencoderRegressor,
    SemiSupervisedSplit,
)

__version__ = "0.1.0"

__all__ = [
    "AEOutlierDetector",
    "AutoencoderClassifier",
    "AutoencoderCompressor",
    "AutoencoderRegressor",
    "AutoencoderTransformer",
    "SemiSupervisedSplit",
    "__version__",
    "stream_info",
]
