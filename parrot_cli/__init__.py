"""The command line: options, one call into the core, one display each; the only place that prints."""
