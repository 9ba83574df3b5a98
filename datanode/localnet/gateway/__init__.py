"""The Internet Computer's HTTP interface, the administrative interface and the page."""
