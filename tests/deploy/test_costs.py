"""The calls of a request are what docs/costs.md says they are. By number, not by time."""

import json
from pathlib import Path

import costs

HERE = Path(__file__).parent
# Calls that carry several requests at once, and so fewer of them when there are fewer.
BATCHED = {"sqs:SendMessageBatch", "sqs:DeleteMessageBatch", "sqs:ReceiveMessage", "dynamodb:BatchWriteItem"}
# Calls by the clock, of which only what the requests add is counted.
BY_THE_CLOCK = {"dynamodb:Query", "dynamodb:BatchGetItem", "sqs:GetQueueAttributes", "cloudwatch:PutMetricData"}
# A request takes as many of these whenever it is made.
EXACT = {"s3:PutObject", "s3:GetObject", "dynamodb:UpdateItem"}


def test_calls_of_a_request(binary, tmp_path):
    documented = json.loads((HERE / "calls.json").read_text())["calls_per_request"]
    assert EXACT <= set(documented)
    counted = costs.measure(binary, tmp_path, count=200, idle=20)
    for name, amount in counted.calls.items():
        if name in BY_THE_CLOCK:
            continue
        bound = documented.get(name, 0.02)
        slack = 3 if name in BATCHED else 1.2
        assert amount <= bound * slack + 0.1, f"{name}: {amount:.3f} a request; documented are {bound:.3f}"
    for name in EXACT:
        assert abs(counted.calls[name] - documented[name]) <= 0.2 * documented[name], name


def test_an_index_entry_is_billed_by_what_happens_to_it():
    def writes(expression, **names):
        return costs.index_writes({"UpdateExpression": expression, "ExpressionAttributeNames": names})

    assert writes("SET work_list = :l, #s = :s", **{"#s": "status"}) == 2
    assert writes("SET #p = :l", **{"#p": "work_sort"}) == 2
    assert writes("SET #s = :s REMOVE work_list, work_sort", **{"#s": "status"}) == 1
    assert writes("SET #s = :s", **{"#s": "status"}) == 0


def test_prices_are_of_a_day_and_used():
    told = costs.prices()
    assert told["date"] and told["region"] == "us-east-1"
    assert costs.cost("sqs_request", 1_000_000) == 0.40 and costs.cost("kms_request", 10_000) == 0.03
    source = (HERE / "costs.py").read_text()
    unused = {name for name in told["prices"] if f'"{name}"' not in source and f"'{name}'" not in source}
    assert unused == {"kms_request", "logs_storage"}, unused
