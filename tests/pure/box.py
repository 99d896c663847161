"""A mailbox that is no actor: what a gang says stays in it."""

from __future__ import annotations

from collections.abc import Callable

from trainables.scores import Event


class Box:
    """A mailbox whose dispatcher has given the stage to another attempt, or has not."""

    def __init__(self, *, accepting: bool, stopping: bool = False) -> None:
        self.accepting, self.stopping = accepting, stopping
        self.events: list[Event] = []
        self.notices: list[str] = []

    def accepts(self, attempt: str) -> bool:
        return self.accepting

    def holds(self, attempt: str) -> bool:
        return self.accepting

    def wanted(self, digest: str) -> bool:
        return False

    def watch(self, attempt: str) -> Callable[[], bool]:
        return lambda: self.stopping

    def report(self, attempt: str, event: Event) -> None:
        self.events.append(event)

    def settle(self) -> None:
        pass

    def notice(self, text: str) -> None:
        self.notices.append(text)
