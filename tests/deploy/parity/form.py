"""The common form: how values are made comparable, and how two forms are compared."""

import json
import re

from stack.variables import ACCOUNT, REGION

# Where "not there" does not mean the same as false.
KEEP_FALSE = {"ReturnData"}
# Emulated queues have the emulator's address.
QUEUE_URL = re.compile(rf"https?://[^/\"]+/{ACCOUNT}/")


class Unmapped(AssertionError):
    """Something that no map knows."""


def clean(value, keep=False):
    """Without what says nothing: null, empty and false. Lists keep their order."""
    if isinstance(value, dict):
        made = {name: clean(item, name in KEEP_FALSE) for name, item in value.items()}
        return {name: item for name, item in made.items() if item is not None} or None
    if isinstance(value, list):
        return [item for item in map(clean, value) if item is not None] or None
    if isinstance(value, str):
        return QUEUE_URL.sub(f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/", value) or None
    if value is False or value == 0:
        return value if keep else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def policy(document):
    """Statement by statement, by its Sid; what may stand alone or in a list is a sorted list."""
    document = json.loads(document) if isinstance(document, str) else document

    def many(value):
        return sorted(value if isinstance(value, list) else [value])

    def statement(raw):
        made = {name: many(raw[name]) for name in ("Action", "Resource") if name in raw}
        principal = raw.get("Principal")
        if isinstance(principal, dict):
            principal = {kind: many(who) for kind, who in principal.items()}
        condition = {
            operator: {key: many(value) for key, value in keys.items()}
            for operator, keys in raw.get("Condition", {}).items()
        }
        rest = {name: raw[name] for name in raw if name not in ("Action", "Resource", "Principal", "Condition", "Sid")}
        return {**made, "Principal": principal, "Condition": condition, **rest}

    statements = document["Statement"]
    made = {raw.get("Sid") or f"statement {place}": statement(raw) for place, raw in enumerate(statements)}
    assert len(made) == len(statements), f"a Sid is there twice: {document}"
    return {"Version": document.get("Version"), **made}


def named(items, key="Name", value="Value"):
    """A list of names and values as a dictionary."""
    return {item[key]: item[value] for item in items}


def differences(one, other, path=""):
    """(path, value here, value there) of everything that is not the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(set(one) | set(other), key=str):
            below = f"{path}.{name}" if path else str(name)
            yield from differences(one.get(name), other.get(name), below)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (here, there) in enumerate(zip(one, other)):
            yield from differences(here, there, f"{path}[{place}]")
    elif one != other:
        yield path, one, other
