-- The backlog in lines by lane, tenant and use case; requests that are decided without a call.

ALTER TABLE requests ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE requests ADD COLUMN use_case TEXT;
ALTER TABLE requests ADD COLUMN priority INTEGER NOT NULL DEFAULT 5;
ALTER TABLE requests ADD COLUMN deadline INTEGER;
ALTER TABLE requests ADD COLUMN verdict TEXT;      -- JSON
ALTER TABLE requests ADD COLUMN at_risk INTEGER;

UPDATE requests SET
    tenant = request ->> '$.tenant',
    use_case = request ->> '$.use_case',
    priority = request ->> '$.priority',
    deadline = CAST(round(unixepoch(request ->> '$.deadline', 'subsec') * 1000) AS INTEGER);
UPDATE requests SET work_list = 'ready ' || lane || ' ' || tenant || iif(priority = 0, ' urgent ', ' usual ') || coalesce(use_case, '')
    WHERE work_list LIKE 'ready %';

-- The lists of ready rows that are not empty, and when a row last entered them.
CREATE TABLE flows (
    list     TEXT PRIMARY KEY,
    lane     TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    urgent   INTEGER NOT NULL,
    use_case TEXT,
    requests INTEGER NOT NULL,
    entered  INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO flows
    SELECT work_list, lane, tenant, priority = 0, use_case, count(*), max(updated_at) FROM requests
    WHERE work_list LIKE 'ready %' GROUP BY work_list;

DROP TRIGGER requests_inserted;
DROP TABLE lanes;
CREATE TRIGGER requests_inserted AFTER INSERT ON requests BEGIN
    INSERT INTO request_counts VALUES (new.status, 1) ON CONFLICT (status) DO UPDATE SET requests = requests + 1;
    INSERT INTO flows SELECT new.work_list, new.lane, new.tenant, new.priority = 0, new.use_case, 1, new.updated_at
        WHERE new.work_list LIKE 'ready %'
        ON CONFLICT (list) DO UPDATE SET requests = requests + 1, entered = max(entered, excluded.entered);
END;
CREATE TRIGGER requests_left AFTER UPDATE OF work_list, work_sort ON requests WHEN old.work_list LIKE 'ready %' BEGIN
    UPDATE flows SET requests = requests - 1 WHERE list = old.work_list;
END;
CREATE TRIGGER requests_entered AFTER UPDATE OF work_list, work_sort ON requests WHEN new.work_list LIKE 'ready %' BEGIN
    INSERT INTO flows VALUES (new.work_list, new.lane, new.tenant, new.priority = 0, new.use_case, 1, new.updated_at)
        ON CONFLICT (list) DO UPDATE SET requests = requests + 1, entered = max(entered, excluded.entered);
END;
CREATE TRIGGER flows_emptied AFTER UPDATE OF requests ON flows WHEN new.requests = 0 BEGIN
    DELETE FROM flows WHERE list = new.list;
END;
DROP TRIGGER requests_deleted;
CREATE TRIGGER requests_deleted AFTER DELETE ON requests BEGIN
    UPDATE request_counts SET requests = requests - 1 WHERE status = old.status;
    UPDATE flows SET requests = requests - 1 WHERE list = old.work_list;
END;
