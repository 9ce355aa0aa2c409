"""A class reflected once into the signatures of its methods; every fault named Class.method(x)."""


class Interface:
    """What a caller and a host agree on."""
