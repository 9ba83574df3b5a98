"""The write path and the command line."""
