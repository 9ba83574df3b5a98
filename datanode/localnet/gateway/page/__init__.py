"""The page at `/`: what the network holds and what it billed, as plain HTML for a person."""
