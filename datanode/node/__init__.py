"""The StorageNode port and what implements it."""
