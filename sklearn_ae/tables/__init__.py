"""Table to matrix and back: numpy, pandas and scikit-learn only."""
