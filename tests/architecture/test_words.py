"""Texts use the field's words: pages, messages, docstrings, comments and documents, each by file and line."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.test_code import ROOMS, ROOT
from tests.architecture.trees import parsed

pytestmark = pytest.mark.xdist_group("code")

PLACES = (*ROOMS, "bench", "scripts", "tests")
CODE_NAME = re.compile(r"`[^`]*`|https?://\S+")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|JOIN|SET)\b")
TEMPLATE_TAG = re.compile(
    r"{#.*?#}|{%\s*comment.*?endcomment\s*%}|{[{%].*?[%}]}|<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.DOTALL
)


class Refused(NamedTuple):
    """A word, what to write in its place, and why."""

    word: str
    instead: str
    because: str


TABLE = (
    Refused(r"tills?", "balance, reservation", "nothing here is a shop"),
    Refused(r"purses?", "reservation", "the glossary's word"),
    Refused(r"pots?", "ledger account", "the glossary's word"),
    Refused(r"(?<!price )(?<!price-)books", "ledger, usage accountant, tables", "books are price books only"),
    Refused(r"(?<!\.)unheld", "unreserved", "the glossary's word"),
    Refused(r"makers?", "creator", "the field's word"),
    Refused(r"(?<!tenants\.)errands?", "external event", "the glossary's word"),
    Refused(r"letters? (to|with|about|that|goes|is sent|was sent)", "email", "it has no stamp"),
    Refused(r"doorbells?|rings?(?! buffer)|knocks?", "wake-up", "the glossary's word"),
    Refused(r"deaf|hears?|heard|unheard", "unresponsive; receives, answers", "the glossary's word"),
    Refused(r"pulses?", "heartbeat", "the glossary's word"),
    Refused(r"verdicts?|judge[sd]?|judging", "outcome, check; evaluate, classify", "nobody is on trial"),
    Refused(r"rosters?", "assigned endpoints", "the field's word"),
    Refused(r"theatre|nursery|diary|besieg\w*", "simulation; the plain noun", "it hides what is meant"),
    Refused(r"bury|buries|buried", "reap", "the system's word"),
    Refused(r"tells?|told|telling", "report, notify, show, distinguish", "texts inform; people talk"),
    Refused(r"said", "reported, stated, requested", "texts inform; people talk"),
    Refused(r"mend(s|ed|ing)?", "fix, repair", "the usual word"),
    Refused(r"whoever", "administrator, operator, caller, client", "name who it is"),
    Refused(r"what was true", "ground truth", "the glossary's word"),
    Refused(r"stands? aside", "is quarantined", "the glossary's word"),
    Refused(r"(goes|go|going) on by (itself|themselves)", "continues automatically", "the usual words"),
    Refused(r"of now", "current", "the usual word"),
    Refused(r"from now on", "immediately; leave out", "it adds nothing"),
    Refused(r"for good", "permanently", "it reads as praise"),
    Refused(r"nowhere(?! else)", "no longer valid; not anywhere", "say what happens"),
    Refused(r"can not", "cannot", "one word"),
    Refused(r"e-mails?", "email", "the glossary's spelling"),
    Refused(r"shall", "must, will, is to", "say which"),
    Refused(r"anew", "again", "the usual word"),
    Refused(r"lest|heeds?|heeded|naught|nought|aught|wherein|thereof|whence|whither", "plain words", "too old"),
    Refused(r"he|she|his|her|hers|him|himself|herself", "they, their", "we do not know"),
    Refused(r"(is|are) out(?! of\b)", "has no access, is down, has expired", "out of what?"),
)
ANY = re.compile(rf"\b(?:{'|'.join(f'(?P<w{i}>{row.word})' for i, row in enumerate(TABLE))})\b", re.IGNORECASE)


class Text(NamedTuple):
    """A text that people read: its first line and its kind."""

    line: int
    kind: str
    text: str


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def texts_of_code(path: Path) -> Iterator[Text]:
    source = path.read_text()
    if not ANY.search(source):
        return
    tree = parsed(path)
    described = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in described:
                yield Text(node.lineno, "docstring", node.value)
            elif " " in node.value and "tests" not in path.parts and not SQL.search(node.value):
                yield Text(node.lineno, "message", node.value)
    # Tokens only of a file that has a refused word behind a number sign: reading them takes as long as parsing.
    if not any(ANY.search(line[line.index("#") :]) for line in source.splitlines() if "#" in line):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], "comment", token.string)


def blanked(pattern: re.Pattern[str], text: str) -> str:
    """Return the text without what the pattern matches, its lines counted as before."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n") or " ", text)


def texts_of(path: Path) -> Iterator[Text]:
    if path.suffix == ".py":
        yield from texts_of_code(path)
    elif path.suffix == ".md":
        yield Text(1, "document", path.read_text())
    else:
        yield Text(1, "page", blanked(TEMPLATE_TAG, path.read_text()))


def findings(path: Path) -> list[str]:
    """Return each refused word of a file, as `file:line: word: use instead (why)`."""
    found = []
    for start, kind, text in texts_of(path):
        plain = blanked(CODE_NAME, text)
        for match in ANY.finditer(plain):
            row = TABLE[int((match.lastgroup or "w0")[1:])]
            line = start + plain.count("\n", 0, match.start())
            where = f"{path.relative_to(ROOT)}:{line}"
            found.append(f"{where}: {kind}: {match[0]!r}: use {row.instead} ({row.because})")
    return found


def files() -> list[Path]:
    code = [path for place in PLACES for path in sorted((ROOT / place).rglob("*.py")) if "migrations" not in path.parts]
    pages = sorted(path for kind in ("*.html", "*.txt") for path in (ROOT / "templates").rglob(kind))
    documents = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")]
    return [path for path in (*code, *pages, *sorted(documents)) if path != Path(__file__).resolve()]


def test_texts_use_the_words_of_the_field() -> None:
    assert [found for path in files() for found in findings(path)] == []


def test_a_docstring_has_more_than_one_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in files()
        if path.suffix == ".py"
        for node in docstrings(parsed(path))
        if isinstance(node.value, str) and len(node.value.split()) < 2
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", '"""Do this.\n\nTell the theatre.\n"""\n', ["3: docstring: 'Tell'", "3: docstring: 'theatre'"]),
        ("a.py", "x = 1  # mended\n", ["1: comment: 'mended'"]),
        ("a.py", 'x = f"Ask {1} of now"\ny = "told"\n', ["1: message: 'of now'"]),
        ("a.html", '<p title="told">\n{{ told }} Whoever</p>', ["2: page: 'Whoever'"]),
        ("a.md", "`purse`\n\na ring buffer, two price books, a ring\n", ["3: document: 'ring'"]),
    ],
)
def test_a_refused_word_is_found_where_people_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: list[str]
) -> None:
    monkeypatch.setattr("tests.architecture.test_words.ROOT", tmp_path)
    (tmp_path / name).write_text(text)
    assert [found.removeprefix(f"{name}:").partition(": use")[0] for found in findings(tmp_path / name)] == words
