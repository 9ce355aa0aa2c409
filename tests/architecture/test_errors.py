"""The tree of exceptions is the one that its module draws."""

import re

from liferaft import errors


def test_the_tree_equals_its_drawing() -> None:
    drawn = set(re.findall(r"^ *[|` ]*-- (\w+)", errors.__doc__ or "", flags=re.MULTILINE))
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value is not errors.LiferaftError
    }

    assert real == drawn


def test_every_error_says_what_it_means() -> None:
    silent = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and not (vars(value).get("__doc__") or "").strip()
    ]

    assert [] == silent
