"""Vietnamese, Thai and Chinese: no inflection, classifiers between numerals and nouns."""

from trainables.lab.lexicon.grammar import Grammar, joined, lone_adjective, noun_of
from trainables.lab.world import Pattern


class Vietnamese(Grammar):
    code = "vi"
    and_word, or_word = "và", "hoặc"
    adjectives = {
        "red": ("đỏ",),
        "blue": ("lam",),
        "green": ("lục",),
        "yellow": ("vàng",),
        "black": ("đen",),
        "white": ("trắng",),
        "small": ("nhỏ",),
        "big": ("lớn",),
    }
    # without the noun 'hình' (shape) or the classifier that opens the phrase
    nouns = {
        "circle": ("tròn",),
        "square": ("vuông",),
        "triangle": ("tam giác",),
        "cross": ("chữ thập",),
        "ring": ("nhẫn",),
        "object": ("vật",),
        "curtain": ("rèm",),
    }
    openings = {
        "circle": "hình", "square": "hình", "triangle": "hình", "cross": "hình", "ring": "chiếc",
        "object": "", "curtain": "tấm",
    }  # fmt: skip
    places = {"left": "bên trái", "right": "bên phải", "top": "phía trên", "bottom": "phía dưới"}
    numbers = {1: "một", 2: "hai", 3: "ba"}
    relations = {"at_least": "ít nhất", "at_most": "nhiều nhất", "exactly": "đúng"}
    function_words = {
        "left": "trái", "right": "phải", "top": "trên", "bottom": "dưới", "side": "bên phía", "a": "một",
        "is": "là", "there_is": "có", "not": "không", "no": "nào", "and": "và", "or": "hoặc", "two": "hai",
        "three": "ba", "at_least": "ít", "superlative": "nhất", "exactly": "đúng", "more": "nhiều", "than": "hơn",
        "colour": "màu", "shape": "hình", "classifier": "chiếc tấm",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def described(self, pattern: Pattern) -> str:
        noun = noun_of(pattern)
        size, colour = (self.adjectives[word][0] if word else "" for word in (pattern.size, pattern.colour))
        return joined(self.openings[noun], self.nouns[noun][0], size, f"màu {colour}" if colour else "")

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        if adjective is None:
            return f"là {self.described(pattern)}"
        return self.adjectives[adjective][0] if pattern.size else f"có màu {self.adjectives[adjective][0]}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} có {self.described(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} có tấm rèm"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"vật {self.place(place)} {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"vật {self.place(place)} không {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} hoặc {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "có một", self.described(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "không có", self.described(pattern), "nào")

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        return f"có {self.relations[relation]} {self.numbers[number]} {self.described(pattern)}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.described(first)} nhiều hơn {self.described(second)}"


class Thai(Grammar):
    """Thai writes a space where others write a comma, and none between words."""

    code = "th"
    comma = " "
    spaces = False
    and_word, or_word = "และ", "หรือ"
    adjectives = {
        "red": ("แดง",),
        "blue": ("น้ำเงิน",),
        "green": ("เขียว",),
        "yellow": ("เหลือง",),
        "black": ("ดำ",),
        "white": ("ขาว",),
        "small": ("เล็ก",),
        "big": ("ใหญ่",),
    }
    nouns = {
        "circle": ("วงกลม",),
        "square": ("สี่เหลี่ยม",),
        "triangle": ("สามเหลี่ยม",),
        "cross": ("กากบาท",),
        "ring": ("แหวน",),
        "object": ("วัตถุ",),
        "curtain": ("ม่าน",),
    }
    classifiers = {"object": "ชิ้น", "ring": "วง"}
    places = {"left": "ด้าน ซ้าย", "right": "ด้าน ขวา", "top": "ด้าน บน", "bottom": "ด้าน ล่าง"}
    numbers = {1: "หนึ่ง", 2: "สอง", 3: "สาม"}
    function_words = {
        "left": "ซ้าย", "right": "ขวา", "top": "บน", "bottom": "ล่าง", "side": "ด้าน", "is": "เป็น ใช่",
        "there_is": "มี", "not": "ไม่ ไม่ได้", "and": "และ", "or": "หรือ", "one": "หนึ่ง", "two": "สอง", "three": "สาม",
        "at_least": "อย่างน้อย", "at_most": "อย่างมาก", "exactly": "พอดี", "more": "มาก", "than": "กว่า",
        "colour": "สี", "size": "ขนาด", "classifier": "รูป ชิ้น วง",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def described(self, pattern: Pattern) -> str:
        size, colour = (self.adjectives[word][0] if word else "" for word in (pattern.size, pattern.colour))
        return joined(self.nouns[noun_of(pattern)][0], size, f"สี {colour}" if colour else "")

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        if adjective is None:
            return f"เป็น {self.described(pattern)}"
        return f"{'มี ขนาด' if pattern.size else 'เป็น สี'} {self.adjectives[adjective][0]}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} มี {self.described(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} มี ม่าน"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"วัตถุ {self.place(place)} {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        told = self.predicate(pattern)
        denied = f"ไม่ได้ {told}" if told.startswith("มี") else told.replace("เป็น", "ไม่ ใช่", 1)
        return f"วัตถุ {self.place(place)} {denied}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} หรือ {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "มี", self.described(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "ไม่ มี", self.described(pattern))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        counted = f"{self.numbers[number]} {self.classifiers.get(noun_of(pattern), 'รูป')}"
        quantity = {
            "at_least": f"อย่างน้อย {counted}",
            "at_most": f"อย่างมาก {counted}",
            "exactly": f"{counted} พอดี",
        }[relation]
        return f"มี {self.described(pattern)} {quantity}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"มี {self.described(first)} มาก กว่า {self.described(second)}"


class Chinese(Grammar):
    code = "zh"
    comma = "，"
    spaces = False
    and_word, or_word = "并且", "或者"
    adjectives = {
        "red": ("红色",),
        "blue": ("蓝色",),
        "green": ("绿色",),
        "yellow": ("黄色",),
        "black": ("黑色",),
        "white": ("白色",),
        "small": ("小",),
        "big": ("大",),
    }
    nouns = {
        "circle": ("圆形",),
        "square": ("方形",),
        "triangle": ("三角形",),
        "cross": ("十字形",),
        "ring": ("环形",),
        "object": ("物体",),
        "curtain": ("帘子",),
    }
    places = {"left": "左边", "right": "右边", "top": "上边", "bottom": "下边"}
    numbers = {1: "一", 2: "两", 3: "三"}
    relations = {"at_least": "至少", "at_most": "最多", "exactly": "正好"}
    function_words = {
        "left": "左边", "right": "右边", "top": "上边", "bottom": "下边", "of": "的", "is": "是", "not": "不",
        "there_is": "有", "no": "没有", "and": "并且", "or": "或者", "a": "一", "two": "两", "three": "三",
        "at_least": "至少", "at_most": "最多", "exactly": "正好", "more": "多", "than": "比", "classifier": "个 块",
    }  # fmt: skip

    def place(self, place: str) -> str:
        return self.places[place]

    def described(self, pattern: Pattern) -> str:
        named = [self.adjectives[word][0] for word in (pattern.colour, pattern.size) if word]
        return joined(*named, self.nouns[noun_of(pattern)][0])

    def predicate(self, pattern: Pattern) -> str:
        adjective = lone_adjective(pattern)
        return f"{self.adjectives[adjective][0]} 的" if adjective else f"一 个 {self.described(pattern)}"

    def clause(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} 一 个 {self.described(pattern)}"

    def curtain_clause(self, place: str) -> str:
        return f"{self.place(place)} 一 块 帘子"

    def is_so(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} 的 物体 是 {self.predicate(pattern)}"

    def is_not(self, place: str, pattern: Pattern) -> str:
        return f"{self.place(place)} 的 物体 不 是 {self.predicate(pattern)}"

    def either(self, place: str, first: Pattern, second: Pattern) -> str:
        return f"{self.is_so(place, first)} 或者 {self.predicate(second)}"

    def there(self, where: str, pattern: Pattern) -> str:
        return joined(where, "有 一 个", self.described(pattern))

    def there_no(self, where: str, pattern: Pattern) -> str:
        return joined(where, "没有", self.described(pattern))

    def count(self, relation: str, number: int, pattern: Pattern) -> str:
        return f"{self.relations[relation]} 有 {self.numbers[number]} 个 {self.described(pattern)}"

    def more(self, first: Pattern, second: Pattern) -> str:
        return f"{self.described(first)} 比 {self.described(second)} 多"
