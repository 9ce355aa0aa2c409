"""One node at run time: the only place that sees raft, storage and rpc together."""
