"""The version, for the package and for what is said to servers."""

__all__ = ("__version__",)

__version__ = "0.1.0"
