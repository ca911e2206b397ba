"""Samples in LLaVA's format, their images, batches of them, and the embedded picture-text set."""
