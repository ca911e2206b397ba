"""A model in other programs' service: batches of simultaneous requests, and the web interface."""
