"""Remote objects: an interface reflected, a callee stub that hosts, a caller stub that calls."""
