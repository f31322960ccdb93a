"""Table to matrix and back: numpy, scipy and scikit-learn only."""
