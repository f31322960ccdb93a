"""What estimators share whose ``transform`` gives codes."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array


class CodesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Names, dtypes and widths of codes of estimators with an ``_inference``."""

    def _checked_code(self, Z):
        """Codes as an array, refused if they are not of this estimator's width."""
        Z = check_array(Z, dtype=[np.float64, np.float32], input_name="X")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but the code of this "
                f"{type(self).__name__} has n_components_={self._n_features_out}."
            )
        return Z

    @property
    def _n_features_out(self):
        return self._inference.module.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
