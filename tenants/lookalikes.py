"""Names that look alike: spellings that readers take for the same word, in any script. Pure.

A small part of the Unicode confusables (https://www.unicode.org/reports/tr39/): imitations of Latin letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_PAIRS = """
аa Аa вb Вb ьb сc Сc ԁd еe Еe ԑe һh нh Нh іi Іi їi јj Јj кk Кk ӏl Ӏl мm Мm пn оo Оo рp Рp ԛq Ԛq гr ѕs Ѕs тt Тt уy Уy үy Үy
ѵv Ѵv ԝw Ԝw хx Хx иu ԍg Ԍg зz ԃd ҽe ո\u0578n
αa Αa βb Βb ϲc ϹC εe Εe Ηh ηn ιi Ιi ϳj κk Κk μu Μm νv Νn οo Οo πn ρp Ρp σo ςc τt Τt υu Υy χx Χx γy ωw ζz Ζz δd
օo սu հh ոn զq ցg յj ւi ք\u0584f եt դq
ꭺa Ꭺa Ᏼb Ꮯc Ꭰd Ꭼe Ꮐg Ꮋh Ꭲi Ꭻj Ꮶk Ꮮl Ꮇm Ꮎo Ꮲp Ꭱr Ꮪs Ꭲt Ꮩv Ꮃw Ꮤw Ꮍy Ꮓz
ꓮa ꓐb ꓚc ꓓd ꓰe ꓝf ꓖg ꓧh ꓲi ꓙj ꓗk ꓡl ꓟm ꓠn ꓳo ꓑp ꓣr ꓢs ꓔt ꓴu ꓦv ꓪw ꓫx ꓬy ꓜz
ⲟo Ⲟo ⲥc Ⲥc ⲣp Ⲣp ⲧt Ⲧt ⲙm Ⲙm ⲓi Ⲓi ⲕk Ⲕk ⲭx Ⲭx ⲃb Ⲃb ⲛn Ⲛn
ıi ɩi ȷj ɑa ɡg ɢg ʟl ɴn ʀr ꜱs ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ʜh ɪi ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ʏy ᴢz øo Øo đd łl Łl ħh ŧt ƥp ʋv ǀl
0o 1l |l ｜l 5s
"""
_LETTERS = str.maketrans({pair[0]: pair[-1].lower() for pair in _PAIRS.split()})
_COLONS = str.maketrans(dict.fromkeys("：∶꞉։׃˸ː︓︰﹕܃܄᠃᠄᠉⁚⁝ꓽ᛬ःઃး፡៖⦂⫶", ":"))
#: Who acts without being a person of the organisation, as texts name them.
AUTHORITIES = ("operator", "operators", "system", "exchequer")
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


def plain_colons(text: str) -> str:
    """Return text without invisible characters, and with every colon lookalike as a colon."""
    shown = _IGNORED.sub("", unicodedata.normalize("NFKC", text.translate(_COLONS))).translate(_COLONS)
    return "".join(letter for letter in shown if unicodedata.category(letter) not in ("Cf", "Cc"))


def hides(text: str) -> bool:
    """Return whether a text contains invisible characters, or characters that change the direction of the rest."""
    return not text.isprintable() or _IGNORED.search(text) is not None


def skeleton(text: str, *, symbols: bool = False) -> str:
    """Return the canonical spelling of all names that are read as the same word. With `symbols` these stay in it."""
    shown = plain_colons(text).translate(_LETTERS)
    folded = unicodedata.normalize("NFKD", shown.casefold()).translate(_LETTERS)
    letters = "".join(letter for letter in folded if letter.isalnum() or (symbols and _is_strange(letter)))
    return letters.replace("rn", "m").replace("vv", "w").replace("l", "i")


def imitates(text: str, names: Iterable[str]) -> bool:
    """Return whether a name is read as one of `names`; an unknown letter may stand for any, if most are equal."""
    # A symbol such as a squared letter may stand for a letter, or decorate a name that is complete without it.
    mine = {skeleton(text), skeleton(text, symbols=True)}
    return any(_alike(one, skeleton(name)) for name in names for one in mine)


def _is_strange(letter: str) -> bool:
    return not letter.isascii() and unicodedata.category(letter)[0] == "S"


def _alike(mine: str, name: str) -> bool:
    if mine == name or len(mine) != len(name):
        return mine == name != ""
    same = sum(one == other for one, other in zip(mine, name, strict=True))
    strange = sum(not one.isascii() for one in mine)
    return strange > 0 and same + strange == len(name) and same * 2 >= len(name)


def speaks_for_another(name: str) -> bool:
    """Return whether a name of a key, a group or a service account is read as an address, the system or the operators."""
    return "@" in unicodedata.normalize("NFKC", name) or imitates(name, AUTHORITIES)
