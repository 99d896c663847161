"""What is known of languages that a reader may want to group results by; says nothing of any result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Pretraining(StrEnum):
    """How much text of a language the XLM-R encoders were trained on.

    By the size of its compressed file of CC-100, as the data set's card lists them (huggingface.co/datasets/cc100):
    large from 10 GB, medium from 1 GB, small below; absent where CC-100 has none. Another encoder saw other text.
    """

    LARGE = "large"
    MEDIUM = "medium"
    SMALL = "small"
    ABSENT = "absent"


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language by its code: English name, family (branches of Indo-European apart), script, pre-training text."""

    name: str
    family: str
    script: str
    pretraining: Pretraining


def _of(pretraining: Pretraining, *rows: str) -> dict[str, Language]:
    found = {}
    for row in rows:
        code, name, family, script = (word.replace("_", " ") for word in row.split())
        found[code] = Language(name=name, family=family, script=script, pretraining=pretraining)
    return found


#: The languages of XTREME, XVNLI and AmericasNLI.
LANGUAGES = {
    **_of(
        Pretraining.LARGE,
        "de German Germanic Latin",
        "en English Germanic Latin",
        "es Spanish Romance Latin",
        "fa Persian Iranian Arabic",
        "fi Finnish Uralic Latin",
        "fr French Romance Latin",
        "hu Hungarian Uralic Latin",
        "id Indonesian Austronesian Latin",
        "ja Japanese Japonic Japanese",
        "ko Korean Koreanic Hangul",
        "pt Portuguese Romance Latin",
        "ru Russian Slavic Cyrillic",
        "vi Vietnamese Austroasiatic Latin",
        "zh Chinese Sino-Tibetan Han",
    ),
    **_of(
        Pretraining.MEDIUM,
        "ar Arabic Semitic Arabic",
        "bg Bulgarian Slavic Cyrillic",
        "el Greek Hellenic Greek",
        "et Estonian Uralic Latin",
        "he Hebrew Semitic Hebrew",
        "hi Hindi Indo-Aryan Devanagari",
        "it Italian Romance Latin",
        "ka Georgian Kartvelian Georgian",
        "ms Malay Austronesian Latin",
        "nl Dutch Germanic Latin",
        "ta Tamil Dravidian Tamil",
        "th Thai Kra-Dai Thai",
        "tr Turkish Turkic Latin",
    ),
    **_of(
        Pretraining.SMALL,
        "af Afrikaans Germanic Latin",
        "bn Bengali Indo-Aryan Bengali",
        "eu Basque Basque Latin",
        "gn Guarani Tupian Latin",
        "jv Javanese Austronesian Latin",
        "kk Kazakh Turkic Cyrillic",
        "ml Malayalam Dravidian Malayalam",
        "mr Marathi Indo-Aryan Devanagari",
        "my Burmese Sino-Tibetan Burmese",
        "qu Quechua Quechuan Latin",
        "sw Swahili Bantu Latin",
        "te Telugu Dravidian Telugu",
        "tl Tagalog Austronesian Latin",
        "ur Urdu Indo-Aryan Arabic",
        "yo Yoruba Volta-Niger Latin",
    ),
    **_of(
        Pretraining.ABSENT,
        "aym Aymara Aymaran Latin",
        "bzd Bribri Chibchan Latin",
        "cni Asháninka Arawakan Latin",
        "hch Wixarika Uto-Aztecan Latin",
        "nah Nahuatl Uto-Aztecan Latin",
        "oto Otomí Oto-Manguean Latin",
        "quy Ayacucho_Quechua Quechuan Latin",
        "shp Shipibo-Konibo Panoan Latin",
        "tar Rarámuri Uto-Aztecan Latin",
    ),
}

#: What results can be grouped by: the name of the grouping and the attribute it reads.
GROUPINGS = {"family": "family", "script": "script", "pretraining": "pretraining"}

#: The group of a language that is not listed.
UNKNOWN = "not known"


def language_name(code: str) -> str:
    """The English name; the code where the language is not listed."""
    return LANGUAGES[code].name if code in LANGUAGES else code


def strangeness(code: str) -> str:
    """That a language is listed in no group, with the listed one that may be meant; empty where it is listed."""
    if code in LANGUAGES:
        return ""
    near = f"; did you mean {code.lower()!r}?" if code.lower() in LANGUAGES else ""
    return f"language {code!r} is in no family, script or other group of languages here{near}"


def grouped(languages: tuple[str, ...], grouping: str) -> dict[str, tuple[str, ...]]:
    """The languages by what the grouping says of them, groups in alphabetical order.

    Raises:
        KeyError: for a grouping that is not one of `GROUPINGS`.
    """
    attribute = GROUPINGS[grouping]
    groups: dict[str, list[str]] = {}
    for code in languages:
        group = str(getattr(LANGUAGES[code], attribute)) if code in LANGUAGES else UNKNOWN
        groups.setdefault(group, []).append(code)
    return {name: tuple(groups[name]) for name in sorted(groups)}
