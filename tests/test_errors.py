import re

from syncnet_python import errors


def tree(kind: type[errors.SyncNetError] = errors.SyncNetError) -> list[type[errors.SyncNetError]]:
    """Every class of the module below `kind`; layers above may add their own."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(found for child in children for found in tree(child))]


def test_codes_are_distinct_and_machine_readable() -> None:
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)


def test_every_error_that_is_raised_says_what_to_do() -> None:
    leaves = [kind for kind in tree() if not kind.__subclasses__()]
    assert all(kind.advice.endswith(".") for kind in leaves)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"\b[A-Z]\w+", errors.__doc__.partition("`code`")[0]))
    assert {kind.__name__ for kind in tree()} <= drawn
