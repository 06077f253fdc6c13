import math

import measure
import pytest
import table
import workload
from tap import Call

QUOTA = {"tpm": 60_000, "rpm": 600, "mean_output_tokens": 400}


def asked(name, at, priority="normal"):
    return {"id": name, "at": at, "priority": priority}


def stats(settled, calls, throttled):
    total = {"tokens": {"settled": settled}, "calls": calls, "throttled": throttled, "in_flight_peak": 2}
    return {"total": total, "models": {"m": {"used": {"tpm": 0.5}}}}


def test_percentiles_are_values_that_occurred():
    values = list(range(1, 101))
    assert [measure.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert measure.percentile([7], 0.99) == 7
    assert measure.percentile([3, 1, 2], 0.0) == 1
    assert math.isnan(measure.percentile([], 0.5))


def test_the_bound_is_the_tightest_of_the_three():
    assert measure.bound(120_000, 0, 10, 10, QUOTA, 30) == 120
    assert measure.bound(120_000, 60_000, 10, 10, QUOTA, 30) == 60
    assert measure.bound(1, 0, 1_200, 10, QUOTA, 30) == 60
    assert measure.bound(1, 0, 10, 300, QUOTA, 30) == 10


def test_a_wait_ends_where_the_call_begins_that_is_answered():
    trace = [asked("a", 0), asked("b", 5, "urgent"), asked("c", 6, "urgent"), asked("d", 7, "urgent")]
    calls = [
        Call("a", 100, 110, 200),
        Call("b", 105, 105.1, 429),
        Call("b", 108, 112, 200),
        Call("b", 120, 121, 200),
        Call("c", 106.5, 110, 200),
        Call("d", 107, 107.1, 429),
    ]
    assert measure.waits(trace, calls, 100, "urgent") == pytest.approx([3, 0.5])


def test_figures_of_a_small_run():
    trace = [asked("a", 0), asked("b", 1, "urgent"), asked("c", 0)]
    calls = [Call("a", 100, 104, 200), Call("b", 101, 102, 429), Call("b", 103, 110, 200), Call("b", 103, 109, 200)]
    got = measure.figures("x", "x 1", trace, calls, 100, stats(5_000, 4, 1), 0, 0.6, QUOTA, 30)
    assert (got.makespan_s, got.bound_s, got.stretch, got.utilisation) == (10, 5, 2, 0.5)
    assert (got.lost, got.twice, got.throttled_share, got.urgent_p99_s) == (1, 1, 0.25, 2)
    assert got.cpu_per_1000 == pytest.approx(200)


def test_the_trace_is_the_same_for_the_same_seed_and_as_large_as_it_says():
    trace = workload.make(200, 1, QUOTA)
    assert trace == workload.make(200, 1, QUOTA) != workload.make(200, 2, QUOTA)
    assert sum(one["priority"] == "urgent" for one in trace) == 10
    assert all((one["at"] > 0) == (one["priority"] == "urgent") for one in trace)
    assert [one["at"] for one in trace] == sorted(one["at"] for one in trace)
    assert len({one["id"] for one in trace}) == 200
    for one in trace:
        assert len(one["text"]) == (one["input_tokens"] - workload.TOKENS_PER_MESSAGE) * workload.CHARACTERS_PER_TOKEN
        assert one["text"].startswith(f"[{one['id']}]")


def test_the_readme_keeps_what_is_around_the_table(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- peers:begin -->\nold\n<!-- peers:end -->\nafter\n")
    table.update_readme(readme, "new")
    assert readme.read_text() == "before\n<!-- peers:begin -->\nnew\n<!-- peers:end -->\nafter\n"
    readme.write_text("no markers")
    with pytest.raises(SystemExit, match="peers:begin"):
        table.update_readme(readme, "new")


def test_both_tables_have_a_row_for_each_and_name_the_lost():
    trace = [asked("a", 0), asked("b", 1, "urgent")]
    got = measure.figures("x", "x 1", trace, [Call("a", 0, 4, 200)], 0, stats(5_000, 4, 1), 0, 0.6, QUOTA, 30)
    text, markdown = table.aligned([got, got]), table.markdown([got, got])
    assert len(text.splitlines()) == 3 and len(markdown.splitlines()) == 4
    assert "1 lost" in text and "1 lost" in markdown
    assert len({len(line) for line in text.splitlines()}) == 1
