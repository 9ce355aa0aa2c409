"""STUB"""


def model_named(n):
    return n
