"""A data node: what it is, how to read, prove and run one."""
