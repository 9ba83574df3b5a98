"""The Internet Computer's HTTP interface, and what is beside it."""
