"""The autoencoder as a transformer, and what every estimator builds on."""

from sklearn_ae.autoencoder._transformer import AutoencoderTransformer

__all__ = ["AutoencoderTransformer"]
