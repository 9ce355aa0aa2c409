"""Peers that mean harm, against a host that runs: what honest callers notice of them."""
