"""Autoencoders as scikit-learn estimators."""

from sklearn_ae._classifier import AutoencoderClassifier
from sklearn_ae._compressor import AutoencoderCompressor
from sklearn_ae._outlier_detector import AEOutlierDetector
from sklearn_ae._regressor import AutoencoderRegressor
from sklearn_ae._transformer import AutoencoderTransformer

__version__ = "0.1.0"

__all__ = [
    "AEOutlierDetector",
    "AutoencoderClassifier",
    "AutoencoderCompressor",
    "AutoencoderRegressor",
    "AutoencoderTransformer",
    "__version__",
]
