-- More columns of the reporting table, and the times that they come from.

ALTER TABLE requests ADD COLUMN first_queued_at INTEGER;
ALTER TABLE requests ADD COLUMN claimed_at INTEGER;
ALTER TABLE requests ADD COLUMN first_started_at INTEGER;

-- Times are RFC 3339 text in UTC, which SQLite's date functions read.
CREATE TABLE reports_4 (
    day                      TEXT NOT NULL,
    finished_key             TEXT NOT NULL,
    request_id               TEXT NOT NULL,
    status                   TEXT NOT NULL,
    tenant                   TEXT NOT NULL,
    model_id                 TEXT NOT NULL,
    use_case                 TEXT,
    lane                     TEXT NOT NULL,
    priority                 INTEGER NOT NULL,
    priority_class           TEXT NOT NULL,
    received_at              TEXT NOT NULL,
    queued_at                TEXT,
    started_at               TEXT,
    finished_at              TEXT NOT NULL,
    wait_ms                  INTEGER NOT NULL,
    latency_ms               INTEGER,
    attempts                 INTEGER NOT NULL,
    throttles                INTEGER NOT NULL,
    deadline                 TEXT,
    deadline_met             INTEGER,
    input_tokens             INTEGER,
    output_tokens            INTEGER,
    cache_read_tokens        INTEGER,
    cache_write_tokens       INTEGER,
    cost_usd                 REAL,
    error_type               TEXT,
    metadata                 TEXT NOT NULL,     -- a JSON object
    asked_model_id           TEXT NOT NULL,
    switch                   TEXT,
    region                   TEXT,
    operation                TEXT NOT NULL,
    service_tier             TEXT,
    batch_id                 TEXT,
    first_queued_at          TEXT,
    claimed_at               TEXT,
    first_started_at         TEXT,
    backlog_ms               INTEGER,
    hold_ms                  INTEGER,
    total_ms                 INTEGER NOT NULL,
    quota_tokens             INTEGER,
    lane_requests_per_minute REAL,
    lane_tokens_per_minute   REAL,
    price_as_of              TEXT,
    result_bytes             INTEGER,
    worker                   TEXT,
    trace_id                 TEXT,
    PRIMARY KEY (day, finished_key)
) WITHOUT ROWID;

INSERT INTO reports_4
    SELECT reports.*, coalesce(json_extract(requests.request, '$.downgraded_from'), reports.model_id),
        iif(json_extract(requests.request, '$.downgraded_from') IS NULL, NULL, 'downgrade'),
        NULL, coalesce(json_extract(requests.request, '$.operation'), 'converse'), NULL, NULL, NULL, NULL, NULL,
        CAST(round((julianday(reports.queued_at) - julianday(reports.received_at)) * 86400000) AS INTEGER),
        CAST(round((julianday(reports.started_at) - julianday(reports.queued_at)) * 86400000) AS INTEGER),
        CAST(round((julianday(reports.finished_at) - julianday(reports.received_at)) * 86400000) AS INTEGER),
        NULL, NULL, NULL, NULL, json_extract(requests.outcome, '$.result.bytes'), requests.worker, NULL
    FROM reports LEFT JOIN requests USING (request_id);

DROP TABLE reports;
ALTER TABLE reports_4 RENAME TO reports;
