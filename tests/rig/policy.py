"""IAM's evaluation, as far as our policies need it: Allow and Deny, wildcards, and a few condition operators.

What is not understood raises, so that no condition is silently taken for met.
"""

import re
from functools import lru_cache

KNOWN_KEYS = {
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    "cloudwatch:namespace",
    "dynamodb:FullTableScan",
    "ecs:cluster",
    "iam:PassedToService",
    "kms:EncryptionContext:aws:logs:arn",
    "kms:ViaService",
    "s3:prefix",
}


class Unknown(Exception):
    """A part of a policy that this evaluator has no notion of."""


def listed(value):
    return value if isinstance(value, list) else [value]


@lru_cache(maxsize=4096)
def pattern(text, flags):
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile("".join(parts), re.DOTALL | flags)


def like(wanted, value, flags=0):
    return bool(pattern(wanted, flags).fullmatch(value))


def action_matches(wanted, action):
    return like(wanted, action, re.IGNORECASE)


def resource_matches(wanted, resource):
    """A wildcard stays within its part of an ARN; only the last part, the resource's name, may have colons itself."""
    if wanted == "*":
        return True
    parts, given = wanted.split(":", 5), resource.split(":", 5)
    return len(parts) == len(given) and all(map(like, parts, given))


def condition_met(condition, context):
    return all(
        holds(operator, key, listed(values), context)
        for operator, keys in condition.items()
        for key, values in keys.items()
    )


def holds(operator, key, values, context):
    if key not in KNOWN_KEYS:
        raise Unknown(f"condition key {key}")
    values = [str(value).lower() if isinstance(value, bool) else value for value in values]
    given = context.get(key)
    if operator.endswith("IfExists"):
        if given is None:
            return True
        operator = operator.removesuffix("IfExists")
    match operator:
        case "StringEquals" | "Bool":
            return given is not None and given in values
        case "StringNotEquals":
            return given is None or given not in values
        case "StringLike":
            return given is not None and any(like(value, given) for value in values)
        case "ArnEquals" | "ArnLike":
            return given is not None and any(resource_matches(value, given) for value in values)
    raise Unknown(f"condition operator {operator}")


def statements(document):
    for place, statement in enumerate(listed(document["Statement"])):
        if {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
            raise Unknown(f"{sorted(statement)} of a statement")
        yield statement.get("Sid") or f"#{place + 1}", statement


def grants(document):
    """Every (Sid, action, resource pattern) that a policy's Allow statements name."""
    return {
        (sid, action, resource)
        for sid, statement in statements(document)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def matching(document, effect, action, resource, context):
    """The grants, or denials, of a policy that meet this need. Statements of a resource's policy count for everyone only."""
    found = set()
    for sid, statement in statements(document):
        everyone = statement.get("Principal", "*") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        if statement["Effect"] != effect or not everyone or not condition_met(statement.get("Condition", {}), context):
            continue
        for wanted in listed(statement["Action"]):
            for pattern_of_resource in listed(statement["Resource"]):
                if action_matches(wanted, action) and resource_matches(pattern_of_resource, resource):
                    found.add((sid, wanted, pattern_of_resource))
    return found


class Role:
    """A role's policy documents, the policies of the resources it meets, and which of its grants have been used."""

    def __init__(self, name, documents, resource_policies=(), secure=True):
        self.name = name
        self.documents = list(documents)
        self.resource_policies = list(resource_policies)
        # Whether the wire is to pass for TLS, which AWS's own endpoints are; emulators speak plain HTTP.
        self.secure = secure
        self.used = set()

    def allows(self, action, resource, context=()):
        context = {"aws:SecureTransport": str(self.secure).lower(), **dict(context)}
        for document in [*self.documents, *self.resource_policies]:
            if matching(document, "Deny", action, resource, context):
                return False
        found = set().union(*(matching(document, "Allow", action, resource, context) for document in self.documents))
        self.used |= found
        return bool(found)

    def grants(self):
        return set().union(*(grants(document) for document in self.documents))

    def unused(self):
        return self.grants() - self.used
