"""Inference canisters: storage canisters that also run a model which they hold."""
