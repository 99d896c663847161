"""The fifteen languages of XNLI, each a Grammar; nothing here knows of examples or labels."""

from trainables.lab.lexicon.arabic import Arabic
from trainables.lab.lexicon.germanic import English, German
from trainables.lab.lexicon.grammar import Grammar
from trainables.lab.lexicon.greek import Greek
from trainables.lab.lexicon.indic import Hindi, Urdu
from trainables.lab.lexicon.isolating import Chinese, Thai, Vietnamese
from trainables.lab.lexicon.romance import French, Spanish
from trainables.lab.lexicon.slavic import Bulgarian, Russian
from trainables.lab.lexicon.swahili import Swahili
from trainables.lab.lexicon.turkish import Turkish

GRAMMARS: dict[str, Grammar] = {
    grammar.code: grammar
    for grammar in (
        English(), German(), French(), Spanish(), Russian(), Bulgarian(), Greek(), Arabic(),
        Urdu(), Hindi(), Turkish(), Swahili(), Thai(), Vietnamese(), Chinese(),
    )
}  # fmt: skip
