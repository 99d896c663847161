"""Hindi and Urdu: one grammar, two scripts and two sets of words."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Hindustani(Grammar):
    """Adjectives: masculine, feminine, masculine plural. Nouns: singular, plural, oblique plural ('than the …')."""

    feminine: set[str]
    places: dict[str, str]
    numbers: dict[int, str]
    relations: dict[str, str]
    genitive: str
    a: str
    any: str
    not_: str
    is_: str
    are: str
    more_than: str

    def place(self, place: str) -> str:
        return self.places[place]

    def agreeing(self, pattern: Pattern, form: int = 0) -> str:
        noun = noun_of(pattern)
        agreement = 1 if noun in self.feminine else 2 if form > 0 else 0
        named = [self.adjectives[word][agreement] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, self.nouns[noun][form])

    def some(self, pattern: Pattern) -> str:
        return f"{self.a} {self.agreeing(pattern)}"

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)  # agrees with 'object', which is feminine
        return self.adjectives[adjective][1] if adjective else self.some(pattern)

    def subject(self, place: str) -> str:
        return f"{self.place(place)} {self.genitive} {self.nouns['object'][0]}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} {self.a} {self.nouns['curtain'][0]}"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"{self.subject(place)} {self.predicate(pattern)} {self.is_}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"{self.subject(place)} {self.predicate(pattern)} {self.not_} {self.is_}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.subject(place)} {self.predicate(first)} {self.or_word} {self.predicate(second)} {self.is_}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, self.some(pattern), self.is_)

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, self.any, self.agreeing(pattern), self.not_, self.is_)

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        if number == 1:
            return f"{self.relations[relation]} {self.some(pattern)} {self.is_}"
        return f"{self.relations[relation]} {self.numbers[number]} {self.agreeing(pattern, 1)} {self.are}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.agreeing(first, 1)} {self.agreeing(second, 2)} {self.more_than} {self.are}"


class Hindi(Hindustani):
    code = "hi"
    and_word, or_word = "और", "या"
    adjectives = {
        "red": ("लाल", "लाल", "लाल"),
        "blue": ("नीला", "नीली", "नीले"),
        "green": ("हरा", "हरी", "हरे"),
        "yellow": ("पीला", "पीली", "पीले"),
        "black": ("काला", "काली", "काले"),
        "white": ("सफेद", "सफेद", "सफेद"),
        "small": ("छोटा", "छोटी", "छोटे"),
        "big": ("बड़ा", "बड़ी", "बड़े"),
    }
    nouns = {
        "circle": ("वृत्त", "वृत्त", "वृत्तों"),
        "square": ("वर्ग", "वर्ग", "वर्गों"),
        "triangle": ("त्रिभुज", "त्रिभुज", "त्रिभुजों"),
        "cross": ("सलीब", "सलीबें", "सलीबों"),
        "ring": ("अंगूठी", "अंगूठियाँ", "अंगूठियों"),
        "object": ("वस्तु", "वस्तुएँ", "वस्तुओं"),
        "curtain": ("पर्दा",),
    }
    feminine = {"cross", "ring", "object"}
    places = {"left": "बाईं ओर", "right": "दाईं ओर", "top": "ऊपर", "bottom": "नीचे"}
    numbers = {2: "दो", 3: "तीन"}
    relations = {"at_least": "कम से कम", "at_most": "अधिकतम", "exactly": "ठीक"}
    genitive, a, any, not_, is_, are, more_than = "की", "एक", "कोई", "नहीं", "है", "हैं", "से अधिक"
    function_words = {
        "left": "बाईं", "right": "दाईं", "side": "ओर", "top": "ऊपर", "bottom": "नीचे", "of": "की", "a": "एक",
        "is": "है हैं", "not": "नहीं", "no": "कोई", "and": "और", "or": "या", "two": "दो", "three": "तीन",
        "at_least": "कम", "at_most": "अधिकतम", "exactly": "ठीक", "more": "अधिक", "than": "से",
    }  # fmt: skip


class Urdu(Hindustani):
    code = "ur"
    comma = "،"
    and_word, or_word = "اور", "یا"
    adjectives = {
        "red": ("سرخ", "سرخ", "سرخ"),
        "blue": ("نیلا", "نیلی", "نیلے"),
        "green": ("سبز", "سبز", "سبز"),
        "yellow": ("پیلا", "پیلی", "پیلے"),
        "black": ("کالا", "کالی", "کالے"),
        "white": ("سفید", "سفید", "سفید"),
        "small": ("چھوٹا", "چھوٹی", "چھوٹے"),
        "big": ("بڑا", "بڑی", "بڑے"),
    }
    nouns = {
        "circle": ("دائرہ", "دائرے", "دائروں"),
        "square": ("مربع", "مربع", "مربعوں"),
        "triangle": ("مثلث", "مثلث", "مثلثوں"),
        "cross": ("صلیب", "صلیبیں", "صلیبوں"),
        "ring": ("انگوٹھی", "انگوٹھیاں", "انگوٹھیوں"),
        "object": ("چیز", "چیزیں", "چیزوں"),
        "curtain": ("پردہ",),
    }
    feminine = {"cross", "ring", "object"}
    places = {"left": "بائیں طرف", "right": "دائیں طرف", "top": "اوپر", "bottom": "نیچے"}
    numbers = {2: "دو", 3: "تین"}
    relations = {"at_least": "کم از کم", "at_most": "زیادہ سے زیادہ", "exactly": "ٹھیک"}
    genitive, a, any, not_, is_, are, more_than = "کی", "ایک", "کوئی", "نہیں", "ہے", "ہیں", "سے زیادہ"
    function_words = {
        "left": "بائیں", "right": "دائیں", "side": "طرف", "top": "اوپر", "bottom": "نیچے", "of": "کی", "a": "ایک",
        "is": "ہے ہیں", "not": "نہیں", "no": "کوئی", "and": "اور", "or": "یا", "two": "دو", "three": "تین",
        "at_least": "کم از", "exactly": "ٹھیک", "more": "زیادہ", "than": "سے",
    }  # fmt: skip
