"""Outlier and novelty detection."""

from sklearn_ae.detection._outlier_detector import AEOutlierDetector

__all__ = ["AEOutlierDetector"]
