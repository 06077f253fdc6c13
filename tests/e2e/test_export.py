"""`smoother export` of real traffic, in both places and to both kinds of targets, read by DuckDB as analysts do; through kills;
and every query of docs/reporting.md."""

import json
import random
import re
import sqlite3
import time
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest
import sqlglot

from rig.traffic import NOVA, ask, denied, good, simulated, worker_settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reporting.md"
REQUESTS = 60
HIVE = "hive_partitioning = true, hive_types = {'day': VARCHAR}"


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def run(smoother, place):
    """`smoother export` at the place, with its summary as JSON."""

    def run(*arguments, **more):
        return json.loads(smoother("export", "--json", *arguments, *place.flags, env=place.env, **more).out())

    return run


def work(place, bedrock, worker, tmp_path):
    """Traffic of all kinds to its end; answers with the names of the requests."""
    simulator = bedrock(simulated(0.05, "faults = { throttle = 0.1, internal_500 = 0.05 }"))
    config = tmp_path / "smoother.toml"
    config.write_text(worker_settings(retry_base="50ms"))
    place.env = {**place.env, "SMOOTHER_CONFIG": str(config)}
    batch = [
        json.dumps({"request_id": f"batch-{n}", "batch_id": "nightly", "model_id": NOVA, "converse": ask("hi"), "metadata": {"team": "a,\"b\"\n=1"}})
        for n in range(4)
    ]
    kinds = ("plain", "tool", "image", "embedding", "everything", "use case")
    goods = [message for message in map(good, range(REQUESTS)) if message.kind in kinds] + [denied(1)]
    place.send([message.text for message in goods] + batch)
    process = worker(place, simulator, "--set", "plan_interval=200ms", "--until-idle")
    assert process.ended(120) == 0
    return sorted([message.name for message in goods] + [f"batch-{n}" for n in range(4)])


def raw_rows(place):
    """The rows as the place itself has them."""
    if hasattr(place, "database"):
        database = place.database()
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM reports")]
        return [{**row, "metadata": json.loads(row["metadata"])} for row in rows]

    def plain(value):
        [(kind, content)] = value.items()
        match kind:
            case "N":
                return float(content) if "." in content else int(content)
            case "M":
                return {name: plain(item) for name, item in content.items()}
        return content

    return [{name: plain(value) for name, value in item.items()} for item in place.scan("reporting_table")]


def fetch(place, url, directory):
    """Copies what is below an s3:// URL."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    for page in place.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            file = directory / item["Key"].removeprefix(prefix).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(place.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    return directory


def reading(directory, form):
    files = f"{directory}/day=*/*.{form}"
    match form:
        case "parquet":
            return f"read_parquet('{files}', {HIVE})"
        case "jsonl":
            return f"read_json('{files}', {HIVE}, format = 'newline_delimited')"
        case "csv":
            return f"read_csv('{files}', {HIVE}, header = true, all_varchar = true)"


def ids(directory, form="parquet"):
    return sorted(name for (name,) in duckdb.sql(f"SELECT request_id FROM {reading(directory, form)}").fetchall())


def files(directory):
    return {path.relative_to(directory): (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.glob("day=*/*")}


def test_every_format_has_every_row(place, run, bedrock, worker, tmp_path):
    names = work(place, bedrock, worker, tmp_path)
    rows = {row["request_id"]: row for row in raw_rows(place)}
    assert sorted(rows) == names
    for form in ("parquet", "jsonl", "csv"):
        to = tmp_path / form
        first = run("--format", form, "--to", to)
        assert (first["rows"], first["unchanged"], first["kept"]) == (len(names), 0, 0)
        before = files(to)
        assert first["written"] == len(before) and first["bytes"] == sum(len(content) for _, content in before.values())
        again = run("--format", form, "--to", to)
        assert (again["written"], again["unchanged"], again["rows_read"]) == (0, len(before), len(names))
        assert files(to) == before, "what has not changed is not touched"
        assert ids(to, form) == names
        read = f"SELECT request_id, day, tenant, model_id, wait_ms, cost_usd, deadline_met FROM {reading(to, form)}"
        for name, day, tenant, model, wait, cost, met in duckdb.sql(read).fetchall():
            row = rows[name]
            assert (day, tenant, model, int(wait)) == tuple(row[key] for key in ("day", "tenant", "model_id", "wait_ms"))
            assert (cost and float(cost)) == pytest.approx(row.get("cost_usd"))
            assert {"true": True, "false": False}.get(met, met) == (None if row.get("deadline_met") is None else bool(row["deadline_met"]))
    pairs = duckdb.sql(f"SELECT metadata FROM {reading(tmp_path / 'csv', 'csv')} WHERE request_id = 'batch-0'").fetchall()
    assert json.loads(pairs[0][0]) == {"team": "a,\"b\"\n=1"}
    typed = dict(row[:2] for row in duckdb.sql(f"DESCRIBE SELECT * FROM {reading(tmp_path / 'parquet', 'parquet')}").fetchall())
    assert {typed[name] for name in ("finished_at", "queued_at", "deadline")} == {"TIMESTAMP WITH TIME ZONE"}
    assert (typed["wait_ms"], typed["cost_usd"], typed["metadata"]) == ("BIGINT", "DOUBLE", "MAP(VARCHAR, VARCHAR)")


def test_to_a_bucket(aws, smoother, bedrock, worker, tmp_path):
    place = aws()
    names = work(place, bedrock, worker, tmp_path)
    url = f"s3://{place.outputs['bucket']}/exports/requests"
    export = lambda *more, **rest: smoother("export", "--format", "parquet", "--to", url, "--json", *more, env=place.env, **rest)
    assert json.loads(export().out())["rows"] == len(names)
    assert json.loads(export().out())["written"] == 0
    assert ids(fetch(place, url, tmp_path / "copy")) == names
    notes = json.loads((tmp_path / "copy" / "_smoother" / "export.json").read_text())
    assert (notes["version"], notes["format"]) == (1, "parquet")
    for to, said in [
        (f"s3://{place.outputs['bucket']}/analytics", "/exports/"),
        (f"s3://{place.prefix}-nowhere/x", "there is no bucket of this name"),
        ("s3://", "expected s3://bucket"),
        ("gs://bucket/x", "expected a directory or s3://"),
    ]:
        process = smoother("export", "--format", "parquet", "--to", to, env=place.env, code=1)
        assert said in process.log() and "panicked" not in process.log(), process.log()
    assert "jsonl" in smoother("export", "--format", "jsonl", "--to", url, env=place.env, code=1).log()


def test_what_it_says(local, smoother, tmp_path):
    place = local()
    missing = smoother("export", "--format", "csv", "--to", tmp_path / "x", *place.flags, env=place.env, code=1)
    assert "there is no smoother.db" in missing.log()
    fill(place, smoother, 10, tmp_path)
    to = tmp_path / "a dir"
    process = smoother("export", "--format", "csv", "--to", to, "--since", "1d", *place.flags, env=place.env)
    assert process.out().startswith("1 file written, 10 rows, in ") and process.log() == "", "a pipe gets the summary only"
    (tmp_path / "file").write_text("x")
    taken = smoother("export", "--format", "csv", "--to", tmp_path / "file", *place.flags, env=place.env, code=1)
    assert "a file is in the way" in taken.log()
    late = smoother("export", "--format", "csv", "--to", to, "--since", "2030-01-01", *place.flags, env=place.env, code=1)
    assert "choose an earlier --since" in late.log()


def fill(place, smoother, count, tmp_path, hours=1):
    """A database with `count` rows that end in the last `hours`, without the work: a template row of smoother's own, many times."""
    if not (place.directory / "smoother.db").exists():
        lines = tmp_path / "one.jsonl"
        lines.write_text(json.dumps({"request_id": "x", "model_id": NOVA, "converse": ask("hi")}) + "\n")
        smoother("submit", lines, *place.flags, env=place.env)
    now = int(time.time() * 1000)
    database = sqlite3.connect(place.directory / "smoother.db", timeout=30)
    columns = [row[1] for row in database.execute("PRAGMA table_info(reports)")]
    numbers = {row[1] for row in database.execute("PRAGMA table_info(reports)") if row[2].upper() != "TEXT"}
    required = {row[1] for row in database.execute("PRAGMA table_info(reports)") if row[3]}
    # The current hour's start, so that nothing passes into the next while the test runs.
    start = now // 3_600_000 * 3_600_000 - (hours - 1) * 3_600_000

    def stamp(ms):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03}Z"

    def row(n):
        at = stamp(start + n * hours * 3_600_000 // count)
        known = {
            "day": at[:10], "finished_key": f"{at}#r{n:07}", "request_id": f"r{n:07}", "status": "SUCCEEDED", "tenant": f"t{n % 7}",
            "model_id": NOVA, "asked_model_id": NOVA, "lane": f"default:us-east-1:{NOVA}", "priority_class": "normal", "priority": 5,
            "operation": "converse", "metadata": '{"team":"a"}', "cost_usd": n / 1e6, "wait_ms": n % 5000, "attempts": 1,
        }
        times = {"received_at", "finished_at"}
        return [
            known.get(c, at if c in times else (0 if c in numbers else "") if c in required else None) for c in columns
        ]

    marks = ", ".join("?" * len(columns))
    with database:
        database.executemany(f"INSERT OR REPLACE INTO reports VALUES ({marks})", map(row, range(count)))
    database.close()
    return [f"r{n:07}" for n in range(count)]


def test_kills_lose_and_double_nothing(local, smoother, binary, processes, tmp_path):
    """kill -9 at random points, again and again; readers in between never see anything but whole files."""
    place = local()
    names = fill(place, smoother, 60_000, tmp_path, hours=30)
    to = tmp_path / "exports"
    command = [binary, "export", "--format", "parquet", "--to", to, *place.flags]
    chance, kills, ended = random.Random(6), 0, False
    finished = lambda: sum(1 for _ in to.glob("day=*/*.parquet"))
    for _ in range(40):
        # Some files further on, and then anywhere within the next one.
        enough = finished() + chance.randint(0, 3)
        process = processes.start("export", command, place.env)
        while process.running and finished() < enough:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.01))
        if not process.running:
            assert process.code == 0, process.log()
            ended = True
            break
        process.kill()
        kills += 1
        for path in to.glob("day=*/*.parquet"):
            duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
        if any(to.glob("day=*/*.parquet")):
            seen = ids(to)
            assert len(seen) == len(set(seen)), "a row is there twice"
    assert kills >= 2, "the kills came too late to disturb anything"
    if not ended:
        smoother("export", "--format", "parquet", "--to", to, *place.flags, env=place.env)
    assert ids(to) == names
    left = smoother("export", "--format", "parquet", "--to", to, "--json", *place.flags, env=place.env)
    assert json.loads(left.out())["written"] == 0
    calm = tmp_path / "calm"
    smoother("export", "--format", "parquet", "--to", calm, *place.flags, env=place.env)
    contents = lambda directory: {path: content for path, (_, content) in files(directory).items()}
    assert contents(to) == contents(calm), "the same files as without kills"


def test_two_at_once_do_no_harm(local, smoother, binary, processes, tmp_path):
    place = local()
    names = fill(place, smoother, 20_000, tmp_path, hours=30)
    to = tmp_path / "exports"
    command = [binary, "export", "--format", "parquet", "--to", to, *place.flags]
    pair = [processes.start("export", command, place.env) for _ in range(2)]
    assert [process.ended(60) for process in pair] == [0, 0]
    assert ids(to) == names
    smoother("export", "--format", "parquet", "--to", to, *place.flags, env=place.env)
    assert ids(to) == names


def test_late_and_expired_rows(local, smoother, tmp_path):
    place = local()
    names = fill(place, smoother, 100, tmp_path, hours=3)
    to = tmp_path / "exports"
    run = lambda *more: json.loads(
        smoother("export", "--format", "parquet", "--to", to, "--json", *more, *place.flags, env=place.env).out()
    )
    assert run()["rows"] == 100
    database = sqlite3.connect(place.directory / "smoother.db", timeout=30)
    with database:
        database.execute("DELETE FROM reports WHERE request_id IN ('r0000000', 'r0000001')")
    since = ("--since", "2d")
    assert (shown := run(*since))["kept"] == 1 and shown["written"] == 0, shown
    assert ids(to) == names, "what time to live took stays exported"
    with database:
        late = "UPDATE reports SET request_id = 'late', finished_key = substr(finished_key, 1, 25) || 'late' WHERE request_id = 'r0000050'"
        database.execute(late)
    shown = run()
    assert shown["written"] == 1, shown
    assert "late" in ids(to)
    database.close()


# --- the queries of the docs ---------------------------------------------------------------------------------------------


def blocks():
    """(heading, mark, text) of every block of SQL."""
    found, heading = [], ""
    for part in re.split(r"(?m)^(#+ .*|```[a-z]+.*\n(?:.*\n)*?```)$", DOCS.read_text()):
        if part.startswith("#"):
            heading = part.lstrip("# ")
        elif part.startswith("```sql"):
            first, *lines, _ = part.splitlines()
            found.append((heading, first.removeprefix("```sql").strip(), "\n".join(lines)))
    return found


@pytest.fixture
def analyst(local, smoother, bedrock, worker, tmp_path):
    """A DuckDB on exports as the docs set it up, and the raw rows."""
    place = local()
    work(place, bedrock, worker, tmp_path)
    smoother("export", "--format", "parquet", "--to", tmp_path / "exports", *place.flags, env=place.env)
    connection = duckdb.connect()
    [setup] = [text for _, mark, text in blocks() if mark == "setup"]
    connection.execute(setup.replace("'exports/", f"'{tmp_path}/exports/"))
    return connection, raw_rows(place)


def test_the_queries_of_the_docs(analyst):
    connection, rows = analyst
    answers, count = {}, 0
    for heading, mark, text in blocks():
        if mark != "":
            continue
        # As text: Python needs more packages for times with a zone.
        names = [column[0] for column in connection.execute(f"DESCRIBE {text}").fetchall()]
        found = connection.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({text})").fetchall()
        answers[heading] = [dict(zip(names, values)) for values in found]
        count += 1
    assert count >= 15
    empty = {heading for heading, found in answers.items() if not found}
    assert empty <= {"Nothing twice", "Model switches", "Unknown prices"}, empty
    assert answers["Nothing twice"] == []

    def sums(key, value, given=rows):
        made = defaultdict(float)
        for row in given:
            made[key(row)] += row[value] or 0
        return made

    by_tenant = {(row["day"], row["tenant"]): row for row in answers["Cost by tenant and day"]}
    costs, counts = sums(lambda r: (r["day"], r["tenant"]), "cost_usd"), Counter((r["day"], r["tenant"]) for r in rows)
    assert set(by_tenant) == set(counts)
    for key, shown in by_tenant.items():
        assert int(shown["requests"]) == counts[key] and float(shown["usd"] or 0) == pytest.approx(costs[key])
    succeeded = [row for row in rows if row["status"] == "SUCCEEDED"]
    for shown in answers["Waits by priority class"]:
        waits = sorted(row["wait_ms"] for row in succeeded if row["priority_class"] == shown["priority_class"])
        assert int(shown["requests"]) == len(waits) and waits[0] <= float(shown["p95_ms"]) <= waits[-1]
        assert float(shown["p50_ms"]) <= float(shown["p95_ms"]) <= float(shown["p99_ms"])
    errors = Counter((row["error_type"] or row["status"], row["model_id"]) for row in rows if row["status"] != "SUCCEEDED")
    assert {(row["what"], row["model_id"]): int(row["requests"]) for row in answers["Errors"]} == errors
    assert any(what == "AccessDeniedException" for what, _ in errors)
    deadlines = [row for row in rows if row["deadline_met"] is not None]
    assert sum(int(row["with_deadline"]) for row in answers["Deadlines met"]) == len(deadlines) > 0
    assert sum(int(row["met"]) for row in answers["Deadlines met"]) == sum(row["deadline_met"] for row in deadlines)
    throttles = sums(lambda r: r["lane"], "throttles")
    assert {row["lane"]: float(row["throttled"]) for row in answers["Throttles by lane"]} == throttles
    assert sum(throttles.values()) > 0
    tokens = sums(lambda r: (r["started_at"][:16], r["lane"]), "quota_tokens", [r for r in rows if r["started_at"]])
    shown = {(row["minute"][:16].replace(" ", "T"), row["lane"]): float(row["tokens"] or 0) for row in answers["Use of the quota, by minute and lane"]}
    assert shown == tokens
    slowest = sorted(rows, key=lambda row: (-row["total_ms"], row["request_id"]))[:20]
    listed = [row["request_id"] for row in answers["The slowest requests, and where their time went"]]
    assert listed == [row["request_id"] for row in slowest]
    [batch] = answers["A batch's progress"]
    assert (batch["batch_id"], batch["finished"]) == ("nightly", "4")
    teams = {row["team"]: int(row["requests"]) for row in answers["Cost by a producer's own pair"]}
    assert teams == Counter(row["metadata"].get("team") for row in rows)
    cached = {row["model_id"]: float(row["read_tokens"]) for row in answers["Share of input read from the prompt cache"]}
    assert cached == sums(lambda r: r["model_id"], "cache_read_tokens", [r for r in rows if r["input_tokens"] is not None])


def test_the_queries_are_athenas_too():
    """Every query but DuckDB's own parses as Athena's SQL, and where there are two, Athena's is what DuckDB's becomes."""
    athena = {heading: text for heading, mark, text in blocks() if mark == "athena"}
    for heading, mark, text in blocks():
        if mark == "setup" or (mark == "" and heading in athena):
            continue
        [parsed] = sqlglot.parse(text, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
        again = sqlglot.parse_one(parsed.sql("athena"), read="athena")
        assert again == parsed, heading
        tables = {table.name for table in parsed.find_all(sqlglot.exp.Table)}
        assert tables == {"requests"} and "day >=" in text, heading
    columns = {column for column in re.findall(r"(?m)^\| `(\w+)` \|", DOCS.read_text())}
    for heading, mark, text in blocks():
        if mark == "setup":
            continue
        parsed = sqlglot.parse_one(text, read="athena")
        aliases = {alias.alias for alias in parsed.find_all(sqlglot.exp.Alias)}
        unknown = {column.name for column in parsed.find_all(sqlglot.exp.Column)} - columns - aliases
        assert not unknown, (heading, unknown)
