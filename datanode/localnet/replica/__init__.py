"""Processing of admitted calls and queries."""
