"""Questions put to the library and its rivals: ``python -m benchmarks --help``."""
