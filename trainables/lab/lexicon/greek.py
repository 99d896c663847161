"""Modern Greek."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Greek(Grammar):
    code = "el"
    and_word, or_word = "και", "ή"
    # masculine, neuter, masculine plural, neuter plural
    adjectives = {
        "red": ("κόκκινος", "κόκκινο", "κόκκινοι", "κόκκινα"),
        "blue": ("μπλε", "μπλε", "μπλε", "μπλε"),
        "green": ("πράσινος", "πράσινο", "πράσινοι", "πράσινα"),
        "yellow": ("κίτρινος", "κίτρινο", "κίτρινοι", "κίτρινα"),
        "black": ("μαύρος", "μαύρο", "μαύροι", "μαύρα"),
        "white": ("άσπρος", "άσπρο", "άσπροι", "άσπρα"),
        "small": ("μικρός", "μικρό", "μικροί", "μικρά"),
        "big": ("μεγάλος", "μεγάλο", "μεγάλοι", "μεγάλα"),
    }
    nouns = {
        "circle": ("κύκλος", "κύκλοι"),
        "square": ("τετράγωνο", "τετράγωνα"),
        "triangle": ("τρίγωνο", "τρίγωνα"),
        "cross": ("σταυρός", "σταυροί"),
        "ring": ("δαχτυλίδι", "δαχτυλίδια"),
        "object": ("αντικείμενο", "αντικείμενα"),
        "curtain": ("κουρτίνα",),
    }
    masculine = {"circle", "cross"}
    places = {"left": "αριστερά", "right": "δεξιά", "top": "πάνω", "bottom": "κάτω"}
    relations = {"at_least": "τουλάχιστον", "at_most": "το πολύ", "exactly": "ακριβώς"}
    function_words = {
        "left": "αριστερά", "right": "δεξιά", "top": "πάνω", "bottom": "κάτω", "the": "το", "a": "ένας ένα μια",
        "is": "είναι", "not": "δεν", "there_is": "υπάρχει υπάρχουν", "no": "κανένας κανένα", "and": "και",
        "or": "ή", "two": "δύο", "three": "τρεις τρία", "at_least": "τουλάχιστον", "at_most": "πολύ",
        "exactly": "ακριβώς", "more": "περισσότεροι περισσότερα", "than": "παρά",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def is_neuter(self, pattern: Pattern) -> bool:
        return noun_of(pattern) not in self.masculine

    def agreeing(self, pattern: Pattern, plural: bool) -> str:
        agreement = 2 * plural + self.is_neuter(pattern)
        named = [self.adjectives[word][agreement] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, self.nouns[noun_of(pattern)][plural])

    def some(self, pattern: Pattern) -> str:
        return f"{'ένα' if self.is_neuter(pattern) else 'ένας'} {self.agreeing(pattern, False)}"

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][1] if adjective else self.some(pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} μια κουρτίνα"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"το αντικείμενο {self.place(place)} είναι {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"το αντικείμενο {self.place(place)} δεν είναι {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} ή {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "υπάρχει", self.some(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        none = "κανένα" if self.is_neuter(pattern) else "κανένας"
        return joined(where, "δεν υπάρχει", none, self.agreeing(pattern, False))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        relation = self.relations[relation]
        if number == 1:
            return f"υπάρχει {relation} {self.some(pattern)}"
        numeral = "δύο" if number == 2 else "τρία" if self.is_neuter(pattern) else "τρεις"
        return f"υπάρχουν {relation} {numeral} {self.agreeing(pattern, True)}"

    def more(self, first: Pattern, second: Pattern) -> str:
        more = "περισσότερα" if self.is_neuter(first) else "περισσότεροι"
        return f"υπάρχουν {more} {self.agreeing(first, True)} παρά {self.agreeing(second, True)}"
