"""fabric: provision, serve and measure a local language model."""

__version__ = "0.1.0"
