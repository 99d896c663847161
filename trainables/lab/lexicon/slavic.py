"""Russian and Bulgarian."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Russian(Grammar):
    code = "ru"
    and_word, or_word = "и", "или"
    # nominative masculine, nominative neuter, genitive, instrumental, genitive plural
    adjectives = {
        "red": ("красный", "красное", "красного", "красным", "красных"),
        "blue": ("синий", "синее", "синего", "синим", "синих"),
        "green": ("зелёный", "зелёное", "зелёного", "зелёным", "зелёных"),
        "yellow": ("жёлтый", "жёлтое", "жёлтого", "жёлтым", "жёлтых"),
        "black": ("чёрный", "чёрное", "чёрного", "чёрным", "чёрных"),
        "white": ("белый", "белое", "белого", "белым", "белых"),
        "small": ("маленький", "маленькое", "маленького", "маленьким", "маленьких"),
        "big": ("большой", "большое", "большого", "большим", "больших"),
    }
    # nominative, genitive (also after two and three), instrumental, genitive plural
    nouns = {
        "circle": ("круг", "круга", "кругом", "кругов"),
        "square": ("квадрат", "квадрата", "квадратом", "квадратов"),
        "triangle": ("треугольник", "треугольника", "треугольником", "треугольников"),
        "cross": ("крест", "креста", "крестом", "крестов"),
        "ring": ("кольцо", "кольца", "кольцом", "колец"),
        "object": ("предмет", "предмета", "предметом", "предметов"),
        "curtain": ("штора",),
    }
    neuter = {"ring"}
    places = {"left": "слева", "right": "справа", "top": "сверху", "bottom": "снизу"}
    numbers = {2: "два", 3: "три"}
    relations = {"at_least": "минимум", "at_most": "максимум", "exactly": "ровно"}
    function_words = {
        "left": "слева", "right": "справа", "top": "сверху", "bottom": "снизу", "is": "является", "not": "не",
        "there_is": "есть", "no": "нет", "and": "и", "or": "или", "one": "один одно", "two": "два", "three": "три",
        "at_least": "минимум", "at_most": "максимум", "exactly": "ровно", "more": "больше", "than": "чем",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def in_case(self, pattern: Pattern, adjective_form: int, noun_form: int) -> str:
        noun = noun_of(pattern)
        if adjective_form == 0 and noun in self.neuter:
            adjective_form = 1
        named = [self.adjectives[word][adjective_form] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, self.nouns[noun][noun_form])

    def some(self, pattern: Pattern) -> str:
        return self.in_case(pattern, 0, 0)

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else f"является {self.in_case(pattern, 3, 2)}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} штора"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"предмет {self.place(place)} {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"предмет {self.place(place)} не {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} или {self.predicate(second).removeprefix('является ')}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "есть", self.some(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "нет", self.in_case(pattern, 2, 1))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        one = "одно" if noun_of(pattern) in self.neuter else "один"
        few = self.in_case(pattern, 4, 1)
        counted = f"{one} {self.some(pattern)}" if number == 1 else f"{self.numbers[number]} {few}"
        return f"есть {self.relations[relation]} {counted}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.in_case(first, 4, 3)} больше , чем {self.in_case(second, 4, 3)}"


class Bulgarian(Grammar):
    code = "bg"
    and_word, or_word = "и", "или"
    # masculine, feminine, plural
    adjectives = {
        "red": ("червен", "червена", "червени"),
        "blue": ("син", "синя", "сини"),
        "green": ("зелен", "зелена", "зелени"),
        "yellow": ("жълт", "жълта", "жълти"),
        "black": ("черен", "черна", "черни"),
        "white": ("бял", "бяла", "бели"),
        "small": ("малък", "малка", "малки"),
        "big": ("голям", "голяма", "големи"),
    }
    # singular, plural, after a number (the count form of masculine nouns), with the article where it is needed
    nouns = {
        "circle": ("кръг", "кръгове", "кръга"),
        "square": ("квадрат", "квадрати", "квадрата"),
        "triangle": ("триъгълник", "триъгълници", "триъгълника"),
        "cross": ("кръст", "кръстове", "кръста"),
        "ring": ("халка", "халки", "халки"),
        "object": ("предмет", "предмети", "предмета", "предметът"),
        "curtain": ("завеса",),
    }
    feminine = {"ring"}
    places = {"left": "вляво", "right": "вдясно", "top": "горе", "bottom": "долу"}
    relations = {"at_least": "поне", "at_most": "максимум", "exactly": "точно"}
    function_words = {
        "left": "вляво", "right": "вдясно", "top": "горе", "bottom": "долу", "is": "е", "not": "не",
        "there_is": "има", "no": "няма", "and": "и", "or": "или", "one": "един една", "two": "два две",
        "three": "три", "at_least": "поне", "at_most": "максимум", "exactly": "точно", "more": "повече",
        "than": "отколкото",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def agreeing(self, pattern: Pattern, noun_form: int) -> str:
        noun = noun_of(pattern)
        agreement = (noun in self.feminine) if noun_form == 0 else 2
        named = [self.adjectives[word][agreement] for word in (pattern.size, pattern.colour) if word]
        return joined(*named, self.nouns[noun][noun_form])

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.agreeing(pattern, 0)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.agreeing(pattern, 0)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} завеса"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"предметът {self.place(place)} е {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"предметът {self.place(place)} не е {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} или {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "има", self.agreeing(pattern, 0))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "няма", self.agreeing(pattern, 0))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        feminine = noun_of(pattern) in self.feminine
        numeral = {1: ("един", "една"), 2: ("два", "две"), 3: ("три", "три")}[number][feminine]
        return f"има {self.relations[relation]} {numeral} {self.agreeing(pattern, 0 if number == 1 else 2)}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"има повече {self.agreeing(first, 1)} отколкото {self.agreeing(second, 1)}"
