"""Swahili."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Swahili(Grammar):
    """Everything agrees with the class of the noun: classes 3, 5, 7 and 9 in the singular; 4, 6, 8 and 10 in the plural."""

    code = "sw"
    and_word, or_word = "na", "au"
    classes = (3, 5, 7, 9, 4, 6, 8, 10)
    """The order of the forms of every adjective and numeral that follows."""
    adjectives = {
        "red": ("mwekundu", "jekundu", "chekundu", "nyekundu", "myekundu", "mekundu", "vyekundu", "nyekundu"),
        "blue": ("bluu",) * 8,
        "green": ("kijani",) * 8,
        "yellow": ("manjano",) * 8,
        "black": ("mweusi", "jeusi", "cheusi", "nyeusi", "myeusi", "meusi", "vyeusi", "nyeusi"),
        "white": ("mweupe", "jeupe", "cheupe", "nyeupe", "myeupe", "meupe", "vyeupe", "nyeupe"),
        "small": ("mdogo", "dogo", "kidogo", "ndogo", "midogo", "madogo", "vidogo", "ndogo"),
        "big": ("mkubwa", "kubwa", "kikubwa", "kubwa", "mikubwa", "makubwa", "vikubwa", "kubwa"),
    }
    connected = {"blue", "green", "yellow"}
    """Colours that are nouns and follow 'of': 'kitu cha bluu'."""
    connectives = ("wa", "la", "cha", "ya", "ya", "ya", "vya", "za")
    numerals = {
        1: ("mmoja", "moja", "kimoja", "moja"),
        2: ("", "", "", "", "miwili", "mawili", "viwili", "mbili"),
        3: ("", "", "", "", "mitatu", "matatu", "vitatu", "tatu"),
    }
    many = ("", "", "", "", "mingi", "mengi", "vingi", "nyingi")
    nouns = {
        "circle": ("duara", "maduara"),
        "square": ("mraba", "miraba"),
        "triangle": ("pembetatu", "pembetatu"),
        "cross": ("msalaba", "misalaba"),
        "ring": ("pete", "pete"),
        "object": ("kitu", "vitu"),
        "curtain": ("pazia",),
    }
    noun_classes = {
        "circle": (5, 6),
        "square": (3, 4),
        "triangle": (9, 10),
        "cross": (3, 4),
        "ring": (9, 10),
        "object": (7, 8),
    }
    places = {"left": "kushoto", "right": "kulia", "top": "juu", "bottom": "chini"}
    relations = {"at_least": "angalau", "at_most": "si zaidi ya", "exactly": "tu"}
    function_words = {
        "left": "kushoto", "right": "kulia", "top": "juu", "bottom": "chini", "of": "wa la cha ya vya za",
        "is": "ni", "not": "si", "there_is": "kuna", "no": "hakuna", "and": "na", "or": "au",
        "one": "mmoja moja kimoja", "two": "miwili mawili viwili mbili", "three": "mitatu matatu vitatu tatu",
        "at_least": "angalau", "exactly": "tu", "more": "mingi mengi vingi nyingi zaidi", "than": "kuliko",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def agreement(self, pattern: Pattern, plural: bool) -> int:
        return self.classes.index(self.noun_classes[noun_of(pattern)][plural])

    def adjective(self, word: str, agreement: int) -> str:
        form = self.adjectives[word][agreement]
        return f"{self.connectives[agreement]} {form}" if word in self.connected else form

    def described(self, pattern: Pattern, plural: bool = False) -> str:
        agreement = self.agreement(pattern, plural)
        named = [self.adjective(word, agreement) for word in (pattern.size, pattern.colour) if word]
        return joined(self.nouns[noun_of(pattern)][plural], *named)

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjective(adjective, self.classes.index(7)) if adjective else self.described(pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.described(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} pazia"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"kitu cha {self.place(place)} ni {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"kitu cha {self.place(place)} si {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} au {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "kuna", self.described(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "hakuna", self.described(pattern))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        plural = number > 1
        numeral = self.numerals[number][self.agreement(pattern, plural)]
        counted = f"{self.described(pattern, plural)} {numeral}"
        if relation == "exactly":
            return f"kuna {counted} tu"
        return f"kuna {self.relations[relation]} {counted}"

    def more(self, first: Pattern, second: Pattern) -> str:
        many = self.many[self.agreement(first, True)]
        return f"{self.described(first, True)} ni {many} kuliko {self.described(second, True)}"
