"""French and Spanish."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class French(Grammar):
    code = "fr"
    and_word, or_word = "et", "ou"
    # masculine, feminine, masculine plural, feminine plural
    adjectives = {
        "red": ("rouge", "rouge", "rouges", "rouges"),
        "blue": ("bleu", "bleue", "bleus", "bleues"),
        "green": ("vert", "verte", "verts", "vertes"),
        "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
        "black": ("noir", "noire", "noirs", "noires"),
        "white": ("blanc", "blanche", "blancs", "blanches"),
        "small": ("petit", "petite", "petits", "petites"),
        "big": ("grand", "grande", "grands", "grandes"),
    }
    nouns = {
        "circle": ("cercle", "cercles"),
        "square": ("carré", "carrés"),
        "triangle": ("triangle", "triangles"),
        "cross": ("croix", "croix"),
        "ring": ("anneau", "anneaux", "d'anneaux"),
        "object": ("objet", "objets", "d'objets", "l'objet"),
        "curtain": ("rideau",),
    }
    feminine = {"cross"}
    places = {"left": "à gauche", "right": "à droite", "top": "en haut", "bottom": "en bas"}
    numbers = {2: "deux", 3: "trois"}
    relations = {"at_least": "au moins", "at_most": "au plus", "exactly": "exactement"}
    function_words = {
        "left": "gauche", "right": "droite", "top": "haut", "bottom": "bas", "on": "à en", "a": "un une",
        "is": "est n'est", "not": "pas", "there_is": "il y a n'y", "no": "aucun aucune", "and": "et", "or": "ou",
        "two": "deux", "three": "trois", "at": "au", "at_least": "moins", "more": "plus", "of": "de", "than": "que",
        "exactly": "exactement",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def agreeing(self, pattern: Pattern, form: int) -> str:
        """Size, noun, colour; form: 0 singular, 1 plural."""
        noun = noun_of(pattern)
        agreement = 2 * form + (noun in self.feminine)
        size, colour = (self.adjectives[word][agreement] if word else "" for word in (pattern.size, pattern.colour))
        return joined(size, self.nouns[noun][form], colour)

    def some(self, pattern: Pattern) -> str:
        return f"{'une' if noun_of(pattern) in self.feminine else 'un'} {self.agreeing(pattern, 0)}"

    def of_many(self, pattern: Pattern) -> str:
        many = self.agreeing(pattern, 1)
        return f"d'{many}" if many[0] in "ao" else f"de {many}"

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.some(pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} un rideau"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"l'objet {self.place(place)} est {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"l'objet {self.place(place)} n'est pas {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} ou {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return f"il y a {self.some(pattern)} {where}"

    def there_no(self, where: str, pattern: Pattern) -> str:
        none = "aucune" if noun_of(pattern) in self.feminine else "aucun"
        return f"il n'y a {none} {self.agreeing(pattern, 0)} {where}"

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        counted = self.some(pattern) if number == 1 else f"{self.numbers[number]} {self.agreeing(pattern, 1)}"
        return f"il y a {self.relations[relation]} {counted}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"il y a plus {self.of_many(first)} que {self.of_many(second)}"


class Spanish(Grammar):
    code = "es"
    and_word, or_word = "y", "o"
    # masculine, feminine, masculine plural, feminine plural
    adjectives = {
        "red": ("rojo", "roja", "rojos", "rojas"),
        "blue": ("azul", "azul", "azules", "azules"),
        "green": ("verde", "verde", "verdes", "verdes"),
        "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
        "black": ("negro", "negra", "negros", "negras"),
        "white": ("blanco", "blanca", "blancos", "blancas"),
        "small": ("pequeño", "pequeña", "pequeños", "pequeñas"),
        "big": ("grande", "grande", "grandes", "grandes"),
    }
    nouns = {
        "circle": ("círculo", "círculos"),
        "square": ("cuadrado", "cuadrados"),
        "triangle": ("triángulo", "triángulos"),
        "cross": ("cruz", "cruces"),
        "ring": ("anillo", "anillos"),
        "object": ("objeto", "objetos"),
        "curtain": ("cortina",),
    }
    feminine = {"cross"}
    places = {"left": "a la izquierda", "right": "a la derecha", "top": "arriba", "bottom": "abajo"}
    places_of_objects = {
        "left": "de la izquierda",
        "right": "de la derecha",
        "top": "de arriba",
        "bottom": "de abajo",
    }
    numbers = {2: "dos", 3: "tres"}
    relations = {"at_least": "al menos", "at_most": "como máximo", "exactly": "exactamente"}
    function_words = {
        "left": "izquierda", "right": "derecha", "top": "arriba", "bottom": "abajo", "on": "a", "of": "de",
        "the": "el la", "a": "un una", "is": "es", "not": "no", "there_is": "hay", "no": "ningún ninguna",
        "and": "y", "or": "o", "two": "dos", "three": "tres", "at": "al", "as": "como", "at_least": "menos",
        "at_most": "máximo", "exactly": "exactamente", "more": "más", "than": "que",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def agreeing(self, pattern: Pattern, form: int) -> str:
        """Noun, colour, size; form: 0 singular, 1 plural."""
        noun = noun_of(pattern)
        agreement = 2 * form + (noun in self.feminine)
        named = [self.adjectives[word][agreement] for word in (pattern.colour, pattern.size) if word]
        return joined(self.nouns[noun][form], *named)

    def some(self, pattern: Pattern) -> str:
        return f"{'una' if noun_of(pattern) in self.feminine else 'un'} {self.agreeing(pattern, 0)}"

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return self.adjectives[adjective][0] if adjective else self.some(pattern)

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} {self.some(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} una cortina"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"el objeto {self.places_of_objects[place]} es {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"el objeto {self.places_of_objects[place]} no es {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} o {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return f"hay {self.some(pattern)} {where}"

    def there_no(self, where: str, pattern: Pattern) -> str:
        none = "ninguna" if noun_of(pattern) in self.feminine else "ningún"
        return joined(where, "no hay", none, self.agreeing(pattern, 0))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        counted = self.some(pattern) if number == 1 else f"{self.numbers[number]} {self.agreeing(pattern, 1)}"
        return f"hay {self.relations[relation]} {counted}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"hay más {self.agreeing(first, 1)} que {self.agreeing(second, 1)}"
