"""Turkish."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Turkish(Grammar):
    code = "tr"
    and_word, or_word = "ve", "veya"
    adjectives = {
        "red": ("kırmızı",),
        "blue": ("mavi",),
        "green": ("yeşil",),
        "yellow": ("sarı",),
        "black": ("siyah",),
        "white": ("beyaz",),
        "small": ("küçük",),
        "big": ("büyük",),
    }
    # singular (also after a number), plural, plural ablative ('than the …')
    nouns = {
        "circle": ("daire", "daireler", "dairelerden"),
        "square": ("kare", "kareler", "karelerden"),
        "triangle": ("üçgen", "üçgenler", "üçgenlerden"),
        "cross": ("haç", "haçlar", "haçlardan"),
        "ring": ("halka", "halkalar", "halkalardan"),
        "object": ("nesne", "nesneler", "nesnelerden"),
        "curtain": ("perde",),
    }
    places = {"left": "solda", "right": "sağda", "top": "yukarıda", "bottom": "aşağıda"}
    numbers = {1: "bir", 2: "iki", 3: "üç"}
    relations = {"at_least": "en az", "at_most": "en fazla", "exactly": "tamı tamına"}
    function_words = {
        "left": "solda soldaki", "right": "sağda sağdaki", "top": "yukarıda yukarıdaki",
        "bottom": "aşağıda aşağıdaki", "a": "bir", "not": "değil", "there_is": "var", "no": "yok hiç",
        "and": "ve", "or": "veya", "two": "iki", "three": "üç", "superlative": "en", "at_least": "az",
        "exactly": "tamı tamına", "more": "fazla daha",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def described(self, pattern: Pattern, article: str = "", form: int = 0) -> str:
        named = [self.adjectives[word][0] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, article, self.nouns[noun_of(pattern)][form])

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.described(pattern, "bir")

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.described(pattern, 'bir')}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} bir perde"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)}ki nesne {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"{self.is_so(place, pattern)} değil"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} veya {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, self.described(pattern, "bir"), "var")

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "hiç", self.described(pattern), "yok")

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        return f"{self.relations[relation]} {self.numbers[number]} {self.described(pattern)} var"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.described(first, form=1)} {self.described(second, form=2)} daha fazla"
