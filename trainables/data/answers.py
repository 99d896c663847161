"""Where a published answer stands in its context, and what is told of those that stand elsewhere; reads no file."""

from __future__ import annotations

from dataclasses import dataclass

#: A published answer may begin so many characters away from where it is said to: some publishers counted bytes or
#: combining signs otherwise. Farther away it is read where its text stands, if that is one place alone.
_SHIFT = 8

#: At most this share of the questions of a training file is left out since their answers stand in no one place: with
#: more the file is taken for another than the catalogue means. XTREME's recipe leaves out every answer that does not
#: stand where it is said to; of TyDiQA's 49,881 training questions, another project counted 13,508 of them.
LEFT_OUT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """Answers of some questions in one language that do not stand where they are said to; `example` is one of them."""

    language: str
    questions: int
    moved: int = 0
    """Read where their text stands: once in the context."""
    placeless: int = 0
    """Text that stands nowhere in the context, or several times."""
    example: str = ""

    def told(self, split: str) -> str:
        """A remark; empty where there is nothing to tell."""
        if not self.moved and not self.placeless:
            return ""
        left_out = "left out, since they stand nowhere in their context or several times"
        done = [
            f"{count:,} are {what}"
            for count, what in (
                (self.moved, "read where they stand in their context"),
                (self.placeless, left_out if split == "train" else "scored by their text alone"),
            )
            if count
        ]
        return (
            f"{self.moved + self.placeless:,} of {self.questions:,} answers of {split} in {self.language!r} do not "
            f"stand where answer_start says ({self.example}): {'; '.join(done)}"
        )


def place_of(context: str, text: str, start: int) -> tuple[int, bool]:
    """Where an answer stands in its context, and whether that is far from `start`; -1 where it is in no one place."""
    if start >= 0 and context[start : start + len(text)] == text:
        return start, False
    near = (start + shift for step in range(1, _SHIFT + 1) for shift in (-step, step))
    found = next((one for one in near if one >= 0 and context[one : one + len(text)] == text), -1)
    if found >= 0:
        return found, False
    first = context.find(text)
    return (first if first == context.rfind(text) else -1), True
