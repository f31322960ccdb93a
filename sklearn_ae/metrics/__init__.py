"""Reconstruction metrics of images and signals.

LPIPS runs in torch with weights from torchmetrics:
``pip install "sklearn-ae[images]"``.
"""

from sklearn_ae.metrics._lpips import learned_perceptual_image_patch_similarity
from sklearn_ae.metrics._psnr import peak_signal_noise_ratio
from sklearn_ae.metrics._scorer import make_reconstruction_scorer
from sklearn_ae.metrics._ssim import structural_similarity

__all__ = [
    "learned_perceptual_image_patch_similarity",
    "make_reconstruction_scorer",
    "peak_signal_noise_ratio",
    "structural_similarity",
]
