"""Classification and regression with few labels."""

from sklearn_ae.semi_supervised._classifier import AutoencoderClassifier
from sklearn_ae.semi_supervised._regressor import AutoencoderRegressor

__all__ = ["AutoencoderClassifier", "AutoencoderRegressor"]
