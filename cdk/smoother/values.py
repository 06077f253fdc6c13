"""How values of the context are read and judged: as JSON has them, or as the text that -c gives. A reader a kind."""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Reader = Callable[[Any], Any]


class Unfit(Exception):
    """A reader's refusal; its text is what would fit."""


def text(pattern: str, expected: str) -> Reader:
    def read(raw: Any) -> str:
        if not isinstance(raw, str) or not re.fullmatch(pattern, raw.strip()):
            raise Unfit(expected)
        return raw.strip()

    return read


def or_empty(reader: Reader) -> Reader:
    def read(raw: Any) -> Any:
        return "" if raw == "" else reader(raw)

    return read


def number(least: float, most: float) -> Reader:
    def read(raw: Any) -> float:
        try:
            value = None if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError):
            value = None
        if value is None or not least <= value <= most:
            raise Unfit(f"a number from {least} to {most}")
        return int(value) if value.is_integer() else value

    return read


def whole(least: int, most: int) -> Reader:
    any_number = number(least, most)

    def read(raw: Any) -> int:
        try:
            value = any_number(raw)
        except Unfit:
            value = None
        if not isinstance(value, int):
            raise Unfit(f"a whole number from {least} to {most}")
        return value

    return read


def one_of(choices: Iterable[Any]) -> Reader:
    by_text = {str(choice): choice for choice in choices}

    def read(raw: Any) -> Any:
        if (found := by_text.get(str(raw).strip())) is None:
            raise Unfit("one of " + ", ".join(by_text))
        return found

    return read


def flag(raw: Any) -> bool:
    found = {"true": True, "false": False}.get(raw.strip()) if isinstance(raw, str) else raw
    if not isinstance(found, bool):
        raise Unfit("true or false")
    return found


def network(widest: int, narrowest: int) -> Reader:
    """An IPv4 network whose prefix has `widest` to `narrowest` bits."""

    def read(raw: Any) -> str:
        try:
            found = ipaddress.IPv4Network(raw) if isinstance(raw, str) and "/" in raw else None
        except ValueError:
            found = None
        if found is None or not widest <= found.prefixlen <= narrowest:
            raise Unfit(f"an IPv4 network from /{widest} to /{narrowest} by its first address, such as 10.83.0.0/16")
        return str(found)

    return read


def list_of(item: Reader) -> Reader:
    """As text: with commas between, or JSON."""

    def read(raw: Any) -> list[str]:
        items = raw
        if isinstance(raw, str):
            items = _json(raw) if raw.strip().startswith("[") else [i.strip() for i in raw.split(",") if i.strip()]
        if not isinstance(items, list):
            raise Unfit("a list; with -c, items with commas between")
        try:
            values = [item(i) for i in items]
        except Unfit as unfit:
            raise Unfit(f"a list, each item {unfit}") from None
        if len(set(values)) < len(values):
            raise Unfit("each item once")
        return values

    return read


def tags(raw: Any) -> dict[str, str]:
    """As text: key=value with commas between, or JSON."""
    found = raw
    if isinstance(raw, str):
        pairs = [pair.partition("=") for pair in raw.split(",") if pair.strip()]
        if raw.strip().startswith("{"):
            found = _json(raw)
        elif all(equals for _, equals, _ in pairs):
            found = {key.strip(): value.strip() for key, _, value in pairs}
    if (
        not isinstance(found, dict)
        or len(found) > 40
        or not all(
            isinstance(value, str) and 1 <= len(key) <= 128 and len(value) <= 256 and not key.lower().startswith("aws:")
            for key, value in found.items()
        )
    ):
        raise Unfit(
            "a map of at most 40 texts of 256 characters, their keys 1 to 128 characters without aws: in front; "
            "with -c, key=value with commas between"
        )
    return found


def image(raw: Any) -> str:
    expected = (
        "a container image with a tag other than latest or with a digest, such as registry.example/smoother:1.0.0"
    )
    found = text(
        r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64})",
        expected,
    )(raw)
    if found.endswith(":latest"):
        raise Unfit(expected)
    return found


def _json(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
