"""IAM's evaluation: what is allowed, what is denied, and what nobody here understands."""

import pytest

from rig.policy import Role, Unknown, matching, resource_matches

QUEUE = "arn:aws:sqs:us-east-1:000000000000:smoother-input"


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect="Allow", action="sqs:SendMessage", resource=QUEUE, **more):
    return {"Sid": "It", "Effect": effect, "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("wanted", "resource", "matches"),
    [
        ("*", QUEUE, True),
        (QUEUE, QUEUE, True),
        (QUEUE, QUEUE + "-dlq", False),
        ("arn:aws:sqs:*:*:smoother-*", QUEUE, True),
        ("arn:aws:sqs:*", QUEUE, False),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/requests/a:b.json", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
        ("arn:aws:s3:::bucke?", "arn:aws:s3:::bucket", True),
        ("arn:aws:bedrock:*::foundation-model/amazon.*", "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova:0", True),
        ("arn:aws:bedrock:*::foundation-model/amazon.*", "arn:aws:bedrock:::foundation-model/amazon.nova:0", True),
        ("arn:aws:bedrock:*::foundation-model/amazon.*", "arn:aws:bedrock:a:1:foundation-model/amazon.nova", False),
        ("arn:aws:s3:::a.b", "arn:aws:s3:::aXb", False),
    ],
)
def test_resources(wanted, resource, matches):
    assert resource_matches(wanted, resource) is matches


def test_actions_are_told_apart_whatever_their_case():
    role = Role("r", [policy(statement(action=["sqs:Send*", "SQS:receivemessage"]))])
    assert role.allows("sqs:SendMessage", QUEUE) and role.allows("sqs:ReceiveMessage", QUEUE)
    assert not role.allows("sqs:DeleteMessage", QUEUE)


def test_nothing_is_allowed_by_silence():
    assert not Role("r", []).allows("sqs:SendMessage", QUEUE)
    assert not Role("r", [policy(statement())]).allows("sqs:SendMessage", QUEUE + "2")


def test_a_denial_wins():
    allowed, denied = policy(statement(action="sqs:*")), policy(statement("Deny", "sqs:DeleteMessage", "*"))
    for documents in ([allowed, denied], [denied, allowed]):
        role = Role("r", documents)
        assert role.allows("sqs:SendMessage", QUEUE) and not role.allows("sqs:DeleteMessage", QUEUE)


def test_conditions():
    def allows(condition, **context):
        role = Role("r", [policy(statement(Condition=condition))])
        return role.allows("sqs:SendMessage", QUEUE, tuple((k.replace("__", ":"), v) for k, v in context.items()))

    smoother = {"StringEquals": {"cloudwatch:namespace": "Smoother"}}
    assert allows(smoother, cloudwatch__namespace="Smoother")
    assert not allows(smoother, cloudwatch__namespace="smoother") and not allows(smoother)
    services = {"StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"]}}
    assert allows(services, kms__ViaService="sns.us-east-1.amazonaws.com")
    assert not allows(services, kms__ViaService="sns.us-east-2.amazonaws.com")
    assert allows({"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}, kms__ViaService="s3.eu-west-1.amazonaws.com")
    both = {**smoother, "Bool": {"aws:SecureTransport": True}}
    assert allows(both, cloudwatch__namespace="Smoother") and not allows(both)
    cluster = {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:us-east-1:1:cluster/a"}}
    assert allows(cluster, ecs__cluster="arn:aws:ecs:us-east-1:1:cluster/a") and not allows(cluster)
    assert allows({"StringEqualsIfExists": {"cloudwatch:namespace": "Smoother"}})


@pytest.mark.parametrize(
    "more",
    [
        {"Condition": {"NumericLessThan": {"aws:SecureTransport": 1}}},
        {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
        {"NotAction": "sqs:*"},
    ],
)
def test_what_is_not_understood_is_said(more):
    with pytest.raises(Unknown):
        Role("r", [policy(statement(**more))]).allows("sqs:SendMessage", QUEUE)


def test_a_resources_own_policy_may_refuse_what_does_not_come_by_tls():
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    own = policy(statement("Deny", "sqs:*", QUEUE, Principal="*", Condition=insecure))
    for secure in (True, False):
        assert Role("r", [policy(statement())], [own], secure).allows("sqs:SendMessage", QUEUE) is secure
    service = policy(statement("Deny", "sqs:*", QUEUE, Principal={"Service": "sns.amazonaws.com"}))
    assert Role("r", [policy(statement())], [service]).allows("sqs:SendMessage", QUEUE)


def test_what_was_used_of_what_was_granted():
    role = Role("r", [policy(statement(action=["sqs:SendMessage", "sqs:DeleteMessage"], resource=[QUEUE, QUEUE + "2"]))])
    assert role.allows("sqs:SendMessage", QUEUE)
    assert role.unused() == {
        ("It", "sqs:SendMessage", QUEUE + "2"),
        ("It", "sqs:DeleteMessage", QUEUE),
        ("It", "sqs:DeleteMessage", QUEUE + "2"),
    }
    # A grant for everything of a service counts by its own name.
    assert matching(policy(statement(action="sqs:*")), "Allow", "sqs:SendMessage", QUEUE, {}) == {("It", "sqs:*", QUEUE)}
