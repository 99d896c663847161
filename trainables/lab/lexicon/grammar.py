"""What every language must be able to say; knows no language.

Inside a grammar a sentence is a string of words with one space between them, the comma being a word of its own, also
in languages that write no spaces: so the words of every sentence are known, and only `written` turns them into text.
"""

from abc import ABC, abstractmethod
from functools import cached_property

from trainables.lab.world import Both, Count, Either, Exists, Formula, Is, More, Not, Pattern, There, ThereAmong

COMMA = ","


class Grammar(ABC):
    """One language. The tables of a subclass hold its words; every form in them belongs to exactly one concept."""

    code: str
    comma = COMMA
    """How a comma is written; a space, where that is the custom, is no word."""
    spaces = True
    """Whether words are written with spaces between them."""
    adjectives: dict[str, tuple[str, ...]]
    """Forms of the adjective of each colour and size; a form of several words is written with spaces."""
    nouns: dict[str, tuple[str, ...]]
    """Forms of the noun of each shape, of 'object' and of 'curtain'."""
    function_words: dict[str, str]
    """Every other concept, with its forms separated by spaces."""

    @cached_property
    def forms(self) -> dict[str, str]:
        """Every written word and comma that the language can produce → its concept."""
        concepts = {mark: "comma" for mark in self.comma.split()}
        entries = [*self.adjectives.items(), *self.nouns.items()]
        entries += [(concept, (words,)) for concept, words in self.function_words.items()]
        for concept, forms in entries:
            for word in " ".join(forms).split():
                if concepts.setdefault(word, concept) != concept:
                    raise ValueError(f"{self.code}: {word!r} is both {concepts[word]!r} and {concept!r}; keep one")
        return concepts

    def written(self, words: str) -> str:
        text = words.replace(f" {COMMA}", COMMA) if self.spaces else words.replace(" ", "")
        return text.replace(COMMA, self.comma)

    def say(self, formula: Formula) -> str:
        """The formula as words with spaces between them."""
        match formula:
            case Is(place=place, pattern=pattern):
                return self.is_so(place, pattern)
            case Not(claim=Is(place=place, pattern=pattern)):
                return self.is_not(place, pattern)
            case There(place=place, pattern=pattern):
                return self.there(self.place(place), pattern)
            case Not(claim=There(place=place, pattern=pattern)):
                return self.there_no(self.place(place), pattern)
            case ThereAmong(first_place=first, second_place=second, pattern=pattern):
                return self.there(f"{self.place(first)} {self.or_word} {self.place(second)}", pattern)
            case Exists(pattern=pattern):
                return self.there("", pattern).strip()
            case Not(claim=Exists(pattern=pattern)):
                return self.there_no("", pattern).strip()
            case Both(first=first, second=second):
                return f"{self.say(first)} {self.and_word} {self.say(second)}"
            case Either(place=place, first=first, second=second):
                return self.either(place, first, second)
            case Count(relation=relation, number=number, pattern=pattern):
                return self.count(relation, number, pattern)
            case More(first=first, second=second):
                return self.more(first, second)
        raise TypeError(f"{self.code} has no words for {formula!r}")

    and_word: str
    or_word: str

    @abstractmethod
    def place(self, place: str) -> str:
        """'on the left'."""

    @abstractmethod
    def clause(self, place: str, pattern: Pattern) -> str:
        """The part of a description about one place: 'on the left a small red circle'."""

    @abstractmethod
    def curtain_clause(self, place: str) -> str:
        """'on the left a curtain'."""

    @abstractmethod
    def is_so(self, place: str, pattern: Pattern) -> str:
        """'the object on the left is red', 'the object on the left is a red circle'."""

    @abstractmethod
    def is_not(self, place: str, pattern: Pattern) -> str:
        """'the object on the left is not red'."""

    @abstractmethod
    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        """'the object on the left is red or blue': two colours or two shapes."""

    @abstractmethod
    def there(self, where: str, pattern: Pattern) -> str:
        """'there is a red circle on the left'; `where` is empty, one place, or two joined with 'or'."""

    @abstractmethod
    def there_no(self, where: str, pattern: Pattern) -> str:
        """'there is no red circle on the left'; `where` is empty or one place."""

    @abstractmethod
    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        """'there are at least two red objects'; relation as in Count, number 1 to 3."""

    @abstractmethod
    def more(self, first: Pattern, second: Pattern) -> str:
        """'there are more red objects than blue objects'."""

    def question(self, attribute: str, place: str) -> str:
        """'what colour is the object on the left'; English alone has questions so far."""
        raise LookupError(f"the lab asks no questions in {self.code!r} yet; ask in 'en'")


def noun_of(pattern: Pattern) -> str:
    """The concept of the noun: what has no named shape is called an object."""
    return pattern.shape or "object"


def lone_adjective(pattern: Pattern) -> str | None:
    """The concept of the adjective where the pattern is nothing else: such a pattern is said as 'is red'."""
    named = [getattr(pattern, name) for name in pattern.attributes]
    return named[0] if len(named) == 1 and pattern.shape is None else None


def joined(*words: str) -> str:
    """The words with one space between them, empty ones left out."""
    return " ".join(word for word in words if word)
