"""JobTuner: job ads in, a proven and served occupation model out."""

__version__ = "0.1.0"
__all__ = ["__version__"]
