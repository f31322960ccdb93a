"""Lossy and lossless compression of rows."""

from sklearn_ae.compression._compressor import AutoencoderCompressor
from sklearn_ae.compression._container import StreamInfo, stream_info

__all__ = ["AutoencoderCompressor", "StreamInfo", "stream_info"]
