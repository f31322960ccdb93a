"""Classification and regression with few labels."""

from sklearn_ae.semi_supervised._classifier import AutoencoderClassifier
from sklearn_ae.semi_supervised._regressor import AutoencoderRegressor
from sklearn_ae.semi_supervised._split import SemiSupervisedSplit

__all__ = ["AutoencoderClassifier", "AutoencoderRegressor", "SemiSupervisedSplit"]
