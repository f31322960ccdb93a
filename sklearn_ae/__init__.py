"""Autoencoders as scikit-learn estimators."""

from sklearn_ae._outlier_detector import AEOutlierDetector
from sklearn_ae._transformer import AutoencoderTransformer

__version__ = "0.1.0"

__all__ = ["AEOutlierDetector", "AutoencoderTransformer", "__version__"]
