"""The command line of Parrot: the only part that prints."""
