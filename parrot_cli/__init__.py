"""The command line: options, one call into the core, one display each; all printing is here."""
