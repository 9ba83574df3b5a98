"""A reader of the part of Candid's description language that our `.did` files use."""

import re
from collections.abc import Iterator

from datanode.agent import candid
from datanode.agent.candid import Opt, Record, Type, Variant, Vec

_TOKEN = re.compile(r'//[^\n]*|\s+|->|[A-Za-z_][A-Za-z0-9_]*|"[A-Za-z_]+"|[{}();:,=]')
_PRIMITIVES: dict[str, Type] = {
    "bool": candid.Bool,
    "nat": candid.Nat,
    "nat8": candid.Nat8,
    "nat16": candid.Nat16,
    "nat32": candid.Nat32,
    "nat64": candid.Nat64,
    "float32": candid.Float32,
    "text": candid.Text,
    "principal": candid.Principal,
    "blob": candid.Blob,
    "null": candid.Null,
}


def tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, text[at : at + 40]
        at = match.end()
        if not match[0].isspace() and not match[0].startswith("//"):
            yield match[0].strip('"')


class Did:
    """`types` by name, and `methods`: arguments, results, whether a query."""

    def __init__(self, text: str) -> None:
        self._tokens = [*tokens(text), ""]
        self._at = 0
        self.types: dict[str, Type] = {}
        self.init: tuple[Type, ...] = ()
        self.methods: dict[str, tuple[tuple[Type, ...], tuple[Type, ...], bool]] = {}
        self._starts: dict[str, int] = {}
        while self._take("type"):
            name = self._next()
            self._expect("=")
            self._starts[name] = self._at
            depth = 0
            while depth or self._tokens[self._at] != ";":
                depth += {"{": 1, "}": -1}.get(self._next(), 0)
            self._expect(";")
        self._service()

    def _named(self, name: str) -> Type:
        """Types may be used before they stand there."""
        if name not in self.types:
            back, self._at = self._at, self._starts[name]
            self.types[name] = self._type()
            self._at = back
        return self.types[name]

    def _service(self) -> None:
        self._expect("service")
        self._expect(":")
        if self._tokens[self._at] == "(":
            self.init = self._tuple()
            self._expect("->")
        self._expect("{")
        while not self._take("}"):
            name = self._next()
            self._expect(":")
            arguments = self._tuple()
            self._expect("->")
            results = self._tuple()
            self.methods[name] = (arguments, results, self._take("query"))
            self._expect(";")

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> bool:
        if self._tokens[self._at] != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        assert self._take(token), (token, self._tokens[self._at : self._at + 5])

    def _tuple(self) -> tuple[Type, ...]:
        self._expect("(")
        found = []
        while not self._take(")"):
            found.append(self._type())
            self._take(",")
        return tuple(found)

    def _type(self) -> Type:
        word = self._next()
        if word == "opt":
            return Opt(self._type())
        if word == "vec":
            return Vec(self._type())
        if word in {"record", "variant"}:
            fields = self._fields()
            return Record(fields) if word == "record" else Variant(fields)
        return self._named(word) if word in self._starts else _PRIMITIVES[word]

    def _fields(self) -> dict[str, Type]:
        self._expect("{")
        fields: dict[str, Type] = {}
        while not self._take("}"):
            name = self._next()
            fields[name] = self._type() if self._take(":") else candid.Null
            self._take(";")
        return fields
