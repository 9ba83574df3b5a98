"""The user, node and network of the command line's tests, for faults that strike whole commands."""

from tests.cli.conftest import canister, owner_pem, user

__all__ = ["canister", "owner_pem", "user"]
