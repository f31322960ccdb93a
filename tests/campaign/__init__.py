"""A campaign against the estimators: ``python -m tests.campaign``; not of pytest."""
