-- How many rows are ready, by priority.

CREATE TABLE ready_counts (
    priority INTEGER PRIMARY KEY,
    requests INTEGER NOT NULL
);
INSERT INTO ready_counts
    SELECT priority, count(*) FROM requests WHERE work_list LIKE 'ready %' GROUP BY priority;

CREATE TRIGGER ready_inserted AFTER INSERT ON requests WHEN new.work_list LIKE 'ready %' BEGIN
    INSERT INTO ready_counts VALUES (new.priority, 1) ON CONFLICT (priority) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER ready_left AFTER UPDATE OF work_list, priority ON requests WHEN old.work_list LIKE 'ready %' BEGIN
    UPDATE ready_counts SET requests = requests - 1 WHERE priority = old.priority;
END;
CREATE TRIGGER ready_entered AFTER UPDATE OF work_list, priority ON requests WHEN new.work_list LIKE 'ready %' BEGIN
    INSERT INTO ready_counts VALUES (new.priority, 1) ON CONFLICT (priority) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER ready_deleted AFTER DELETE ON requests WHEN old.work_list LIKE 'ready %' BEGIN
    UPDATE ready_counts SET requests = requests - 1 WHERE priority = old.priority;
END;
