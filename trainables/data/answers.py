"""Where a published answer stands in its context, and what is told of those that stand elsewhere; reads no file."""

from __future__ import annotations

from dataclasses import dataclass

#: A published answer may begin so many characters away from where it is said to: some publishers counted bytes or
#: combining signs otherwise. Farther away it is read where its text stands nearest too, and told.
_SHIFT = 8

#: At most this share of the questions of a training file is left out since their answers stand nowhere in them: with
#: more the file is taken for another than the catalogue means. XTREME's recipe leaves out every answer that does not
#: stand where it is said to; of TyDiQA's 49,881 training questions, another project counted 13,508 of them.
LEFT_OUT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """Answers of some questions in one language that do not stand where they are said to; `example` is one of them."""

    language: str
    questions: int
    moved: int = 0
    """Read where their text stands nearest."""
    placeless: int = 0
    """Text that stands nowhere in the context."""
    example: str = ""

    def told(self, split: str) -> str:
        """A remark; empty where there is nothing to tell."""
        if not self.moved and not self.placeless:
            return ""
        left_out = "left out, since they stand nowhere in their context"
        done = [
            f"{count:,} are {what}"
            for count, what in (
                (self.moved, "read where they stand nearest in their context"),
                (self.placeless, left_out if split == "train" else "scored by their text alone"),
            )
            if count
        ]
        return (
            f"{self.moved + self.placeless:,} of {self.questions:,} answers of {split} in {self.language!r} do not "
            f"stand where answer_start says ({self.example}): {'; '.join(done)}"
        )


def place_of(context: str, text: str, start: int) -> tuple[int, bool]:
    """Where an answer stands in its context, nearest to `start`, and whether that is far from there; -1 for nowhere.

    Of two places that are equally near the first.
    """
    if start >= 0 and context.startswith(text, start):
        return start, False
    found, place = -1, context.find(text)
    while place >= 0:
        if found < 0 or abs(place - start) < abs(found - start):
            found = place
        place = context.find(text, place + 1)
    return found, found < 0 or abs(found - start) > _SHIFT
