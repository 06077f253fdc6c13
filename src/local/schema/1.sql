-- Times are milliseconds since 1970 unless a column says otherwise.

-- Queues. `messages` is narrow, because every receive rewrites it; what was sent lies in `bodies`.
CREATE TABLE queues (
    name     TEXT PRIMARY KEY,
    messages INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE messages (
    seq        INTEGER PRIMARY KEY,
    queue      TEXT NOT NULL,
    message_id TEXT NOT NULL,
    visible_at INTEGER NOT NULL,
    receives   INTEGER NOT NULL,
    token      TEXT            -- of the last receive
);
CREATE INDEX messages_by_visibility ON messages (queue, visible_at, seq);

CREATE TABLE bodies (
    seq        INTEGER PRIMARY KEY,
    body       TEXT NOT NULL,
    attributes TEXT NOT NULL   -- a JSON object
);

CREATE TRIGGER messages_sent AFTER INSERT ON messages BEGIN
    UPDATE queues SET messages = messages + 1 WHERE name = new.queue;
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    UPDATE queues SET messages = messages - 1 WHERE name = old.queue;
    DELETE FROM bodies WHERE seq = old.seq;
END;
CREATE TRIGGER messages_moved AFTER UPDATE OF queue ON messages BEGIN
    UPDATE queues SET messages = messages - 1 WHERE name = old.queue;
    UPDATE queues SET messages = messages + 1 WHERE name = new.queue;
END;

-- The requests table.
CREATE TABLE requests (
    request_id        TEXT PRIMARY KEY,
    status            TEXT NOT NULL,
    lane              TEXT NOT NULL,
    rank              TEXT NOT NULL,
    input_tokens      INTEGER NOT NULL,   -- estimated
    max_output_tokens INTEGER NOT NULL,
    work_list         TEXT,               -- null exactly when the status is final
    work_sort         TEXT,
    ticket            TEXT,
    claim             TEXT,
    worker            TEXT,
    attempts          INTEGER NOT NULL,
    throttles         INTEGER NOT NULL,
    claims            INTEGER NOT NULL,
    queued_at         INTEGER,
    started_at        INTEGER,
    not_before        INTEGER,
    updated_at        INTEGER NOT NULL,
    request           TEXT NOT NULL,      -- JSON, as are the next two
    notes             TEXT NOT NULL,
    outcome           TEXT
);
CREATE INDEX requests_by_work ON requests (work_list, work_sort, request_id) WHERE work_list IS NOT NULL;

CREATE TABLE lanes (
    lane TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE request_counts (
    status   TEXT PRIMARY KEY,
    requests INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER requests_inserted AFTER INSERT ON requests BEGIN
    INSERT INTO request_counts VALUES (new.status, 1) ON CONFLICT (status) DO UPDATE SET requests = requests + 1;
    INSERT INTO lanes VALUES (new.lane) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER requests_moved AFTER UPDATE OF status ON requests WHEN old.status <> new.status BEGIN
    UPDATE request_counts SET requests = requests - 1 WHERE status = old.status;
    INSERT INTO request_counts VALUES (new.status, 1) ON CONFLICT (status) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER requests_deleted AFTER DELETE ON requests BEGIN
    UPDATE request_counts SET requests = requests - 1 WHERE status = old.status;
END;

-- The reporting table, for analysts: times are RFC 3339 text in UTC, which SQLite's date functions read.
CREATE TABLE reports (
    day                TEXT NOT NULL,
    finished_key       TEXT NOT NULL,
    request_id         TEXT NOT NULL,
    status             TEXT NOT NULL,
    tenant             TEXT NOT NULL,
    model_id           TEXT NOT NULL,
    use_case           TEXT,
    lane               TEXT NOT NULL,
    priority           INTEGER NOT NULL,
    priority_class     TEXT NOT NULL,
    received_at        TEXT NOT NULL,
    queued_at          TEXT,
    started_at         TEXT,
    finished_at        TEXT NOT NULL,
    wait_ms            INTEGER NOT NULL,
    latency_ms         INTEGER,
    attempts           INTEGER NOT NULL,
    throttles          INTEGER NOT NULL,
    deadline           TEXT,
    deadline_met       INTEGER,
    input_tokens       INTEGER,
    output_tokens      INTEGER,
    cache_read_tokens  INTEGER,
    cache_write_tokens INTEGER,
    cost_usd           REAL,
    error_type         TEXT,
    metadata           TEXT NOT NULL,     -- a JSON object
    PRIMARY KEY (day, finished_key)
) WITHOUT ROWID;

-- Small values with compare-and-swap.
CREATE TABLE registers (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value   TEXT NOT NULL
) WITHOUT ROWID;

-- Metrics as they would go to CloudWatch: sums over a minute.
CREATE TABLE metrics (
    at         INTEGER NOT NULL,
    name       TEXT NOT NULL,
    dimensions TEXT NOT NULL,             -- a JSON object
    unit       TEXT NOT NULL,
    count      REAL NOT NULL,
    sum        REAL NOT NULL,
    min        REAL NOT NULL,
    max        REAL NOT NULL
);
CREATE INDEX metrics_by_time ON metrics (at, name);
