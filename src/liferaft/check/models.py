"""STUB"""


def model_named(n):
    return n
class KeyValue: ...
