"""How many examples a dear claim is tried on: a share of what the profile says, so that `make test-deep` reaches it."""

from hypothesis import settings


def of_examples(share: float, **more: object) -> settings:
    """Settings with that share of the profile's examples, at least one."""
    return settings(max_examples=max(1, round(share * settings().max_examples)), **more)
