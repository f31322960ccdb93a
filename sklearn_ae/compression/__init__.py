"""Lossy and lossless compression of rows."""

from sklearn_ae.compression._compressor import AutoencoderCompressor

__all__ = ["AutoencoderCompressor"]
