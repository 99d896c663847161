"""Modern Standard Arabic, without vowel signs."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Arabic(Grammar):
    code = "ar"
    comma = "،"
    # 'And' is a prefix in Arabic; 'whereas' is a word, and joins two statements as well.
    and_word, or_word = "بينما", "أو"
    # masculine, feminine (also with every plural of things), masculine accusative, dual masculine, dual feminine,
    # definite feminine
    adjectives = {
        "red": ("أحمر", "حمراء", "أحمر", "أحمران", "حمراوان", "الحمراء"),
        "blue": ("أزرق", "زرقاء", "أزرق", "أزرقان", "زرقاوان", "الزرقاء"),
        "green": ("أخضر", "خضراء", "أخضر", "أخضران", "خضراوان", "الخضراء"),
        "yellow": ("أصفر", "صفراء", "أصفر", "أصفران", "صفراوان", "الصفراء"),
        "black": ("أسود", "سوداء", "أسود", "أسودان", "سوداوان", "السوداء"),
        "white": ("أبيض", "بيضاء", "أبيض", "أبيضان", "بيضاوان", "البيضاء"),
        "small": ("صغير", "صغيرة", "صغيرا", "صغيران", "صغيرتان", "الصغيرة"),
        "big": ("كبير", "كبيرة", "كبيرا", "كبيران", "كبيرتان", "الكبيرة"),
    }
    # singular, accusative, dual, plural, definite plural, and 'the object'
    nouns = {
        "circle": ("دائرة", "دائرة", "دائرتان", "دوائر", "الدوائر"),
        "square": ("مربع", "مربعا", "مربعان", "مربعات", "المربعات"),
        "triangle": ("مثلث", "مثلثا", "مثلثان", "مثلثات", "المثلثات"),
        "cross": ("صليب", "صليبا", "صليبان", "صلبان", "الصلبان"),
        "ring": ("حلقة", "حلقة", "حلقتان", "حلقات", "الحلقات"),
        "object": ("شيء", "شيئا", "شيئان", "أشياء", "الأشياء", "الشيء"),
        "curtain": ("ستارة",),
    }
    feminine = {"circle", "ring"}
    places = {"left": "على اليسار", "right": "على اليمين", "top": "في الأعلى", "bottom": "في الأسفل"}
    relations = {"at_least": "على الأقل", "at_most": "على الأكثر", "exactly": "بالضبط"}
    function_words = {
        "left": "اليسار", "right": "اليمين", "top": "الأعلى", "bottom": "الأسفل", "on": "على في",
        "not": "ليس", "no": "لا", "there_is": "يوجد توجد", "and": "بينما", "or": "أو", "one": "واحد واحدة",
        "two": "اثنان اثنتان", "three": "ثلاثة ثلاث", "at_least": "الأقل", "at_most": "الأكثر",
        "exactly": "بالضبط", "more": "أكثر", "than": "من",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def is_feminine(self, pattern: Pattern) -> bool:
        return noun_of(pattern) in self.feminine

    def with_adjectives(self, pattern: Pattern, noun_form: int, adjective_form: int) -> str:
        named = [self.adjectives[word][adjective_form] for word in (pattern.colour, pattern.size) if word]
        return joined(self.nouns[noun_of(pattern)][noun_form], *named)

    def some(self, pattern: Pattern) -> str:
        return self.with_adjectives(pattern, 0, 1 if self.is_feminine(pattern) else 0)

    def some_accusative(self, pattern: Pattern) -> str:
        return self.with_adjectives(pattern, 1, 1 if self.is_feminine(pattern) else 2)

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.some(pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} ستارة"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"الشيء {self.place(place)} {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        denied = self.adjectives[adjective][2] if adjective else self.some_accusative(pattern)
        return f"الشيء {self.place(place)} ليس {denied}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} أو {self.predicate(second)}"

    def exist(self, pattern: Pattern) -> str:
        return "توجد" if self.is_feminine(pattern) else "يوجد"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, self.exist(pattern), self.some(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "لا", self.exist(pattern), self.some(pattern))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        feminine = self.is_feminine(pattern)
        match number:
            case 1:
                counted = f"{self.exist(pattern)} {self.some(pattern)} {'واحدة' if feminine else 'واحد'}"
            case 2:
                pair = self.with_adjectives(pattern, 2, 4 if feminine else 3)
                counted = f"{self.exist(pattern)} {pair} {'اثنتان' if feminine else 'اثنان'}"
            case _:  # the numeral takes the gender that the noun has not
                counted = f"توجد {'ثلاث' if feminine else 'ثلاثة'} {self.with_adjectives(pattern, 3, 1)}"
        return f"{counted} {self.relations[relation]}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.with_adjectives(first, 4, 5)} أكثر من {self.with_adjectives(second, 4, 5)}"
