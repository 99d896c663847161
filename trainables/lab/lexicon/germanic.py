"""English and German."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class English(Grammar):
    code = "en"
    and_word, or_word = "and", "or"
    adjectives = {
        **{word: (word,) for word in ("red", "blue", "green", "yellow", "black", "white")},
        **{word: (word,) for word in ("small", "big")},
    }
    nouns = {
        "circle": ("circle", "circles"),
        "square": ("square", "squares"),
        "triangle": ("triangle", "triangles"),
        "cross": ("cross", "crosses"),
        "ring": ("ring", "rings"),
        "object": ("object", "objects"),
        "curtain": ("curtain",),
    }
    places = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
    numbers = {1: "one", 2: "two", 3: "three"}
    function_words = {
        "left": "left", "right": "right", "top": "top", "bottom": "bottom",
        "on": "on at", "the": "the", "a": "a", "is": "is are", "there_is": "there", "not": "not", "no": "no",
        "and": "and", "or": "or", "one": "one", "two": "two", "three": "three", "exactly": "exactly",
        "at_least": "least", "at_most": "most", "more": "more", "than": "than",
        "what": "what", "colour": "colour", "shape": "shape", "size": "size",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def some(self, pattern: Pattern, plural: bool = False) -> str:
        return joined(pattern.size or "", pattern.colour or "", self.nouns[noun_of(pattern)][plural])

    def predicate(self, pattern: Pattern) -> str:
        return lone_adjective(pattern) or f"a {self.some(pattern)}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} a {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} a curtain"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"the object {self.place(place)} is {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"the object {self.place(place)} is not {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} or {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return f"there is a {self.some(pattern)} {where}"

    def there_no(self, where: str, pattern: Pattern) -> str:
        return f"there is no {self.some(pattern)} {where}"

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        verb = "is" if number == 1 else "are"
        relation = {"at_least": "at least", "at_most": "at most", "exactly": "exactly"}[relation]
        return f"there {verb} {relation} {self.numbers[number]} {self.some(pattern, plural=number > 1)}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"there are more {self.some(first, plural=True)} than {self.some(second, plural=True)}"

    def question(self, attribute: str, place: str) -> str:
        return f"what {attribute} is the object {self.place(place)}"


class German(Grammar):
    code = "de"
    and_word, or_word = "und", "oder"
    stems = {
        "red": "rot", "blue": "blau", "green": "grün", "yellow": "gelb", "black": "schwarz", "white": "weiß",
        "small": "klein", "big": "groß",
    }  # fmt: skip
    # bare, masculine nominative, neuter, masculine accusative, plural without article
    adjectives = {concept: (stem, f"{stem}er", f"{stem}es", f"{stem}en", f"{stem}e") for concept, stem in stems.items()}
    nouns = {
        "circle": ("kreis", "kreise"),
        "square": ("quadrat", "quadrate"),
        "triangle": ("dreieck", "dreiecke"),
        "cross": ("kreuz", "kreuze"),
        "ring": ("ring", "ringe"),
        "object": ("objekt", "objekte"),
        "curtain": ("vorhang",),
    }
    masculine = {"circle", "ring"}
    places = {"left": "links", "right": "rechts", "top": "oben", "bottom": "unten"}
    numbers = {2: "zwei", 3: "drei"}
    function_words = {
        "left": "links", "right": "rechts", "top": "oben", "bottom": "unten",
        "the": "das", "a": "ein einen", "is": "ist", "there_is": "gibt es", "not": "nicht",
        "no": "kein keinen", "and": "und", "or": "oder", "two": "zwei", "three": "drei", "exactly": "genau",
        "at_least": "mindestens", "at_most": "höchstens", "more": "mehr", "than": "als",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def some(self, article: str, pattern: Pattern, accusative: bool = False) -> str:
        """article: 'ein' or 'kein'."""
        noun = noun_of(pattern)
        form = 2 if noun not in self.masculine else 3 if accusative else 1
        named = [self.adjectives[word][form] for word in (pattern.size, pattern.colour) if word]
        return joined(article + ("en" if form == 3 else ""), *named, self.nouns[noun][0])

    def many(self, pattern: Pattern) -> str:
        named = [self.adjectives[word][4] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, self.nouns[noun_of(pattern)][1])

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.some("ein", pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some('ein', pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} ein vorhang"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"das objekt {self.place(place)} ist {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        denied = f"nicht {self.predicate(pattern)}" if lone_adjective(pattern) else self.some("kein", pattern)
        return f"das objekt {self.place(place)} ist {denied}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} oder {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        found = self.some("ein", pattern, accusative=True)
        return f"{where} gibt es {found}" if where else f"es gibt {found}"

    def there_no(self, where: str, pattern: Pattern) -> str:
        found = self.some("kein", pattern, accusative=True)
        return f"{where} gibt es {found}" if where else f"es gibt {found}"

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        one = self.some("ein", pattern, accusative=True)
        relation = {"at_least": "mindestens", "at_most": "höchstens", "exactly": "genau"}[relation]
        return f"es gibt {relation} {one if number == 1 else f'{self.numbers[number]} {self.many(pattern)}'}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"es gibt mehr {self.many(first)} als {self.many(second)}"
