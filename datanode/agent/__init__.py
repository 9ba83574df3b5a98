"""The IC HTTP interface: identities, envelopes, certificates, transport. Nothing of ours."""
