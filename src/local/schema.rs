//! The layout of `smoother.db`: how it is created, recognised and upgraded.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::database::Fault;

/// Marks the file as ours ("smth"), so that another program's database is refused instead of filled.
const APPLICATION_ID: i32 = 0x736d_7468;

/// Other processes commit in milliseconds; one that holds the lock this long is stuck or suspended.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Upgrades in order: the n-th brings a file of version n to n + 1. Released ones are never edited.
const UPGRADES: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The version that this program reads and writes.
pub(super) const VERSION: usize = UPGRADES.len();

/// Opens a connection to `path`, creating and upgrading the file as needed. Blocks on disk. The caller sees to it that
/// no two processes do this at once (switching a new file to WAL does not wait for others).
pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    recognise(&connection)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    upgrade(&mut connection)?;
    Ok(connection)
}

/// Refuses files that are not ours or newer than this program, before anything is changed in them.
fn recognise(connection: &Connection) -> Result<usize, Fault> {
    let integer = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (integer("application_id")?, integer("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != i64::from(APPLICATION_ID) {
        return Err(Fault::permanent("this is another program's SQLite file; choose another directory"));
    }
    match usize::try_from(version) {
        Ok(version) if version <= VERSION => Ok(version),
        _ => Err(Fault::permanent(format!(
            "the file has schema version {version}, this smoother knows versions up to {VERSION}: \
             run the newer smoother that wrote it"
        ))),
    }
}

fn upgrade(connection: &mut Connection) -> Result<(), Fault> {
    if recognise(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for upgrade in UPGRADES.iter().skip(recognise(&transaction)?) {
        transaction.execute_batch(upgrade)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(i64::MAX))?;
    Ok(transaction.commit()?)
}

/// Sorts behind every key of a list or table here: those are ASCII.
pub(super) const BEHIND_ALL: &str = "\u{10ffff}";

/// A count or a time for SQLite, whose integers are signed. Saturates; nothing here comes near.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The inverse of [`integer`].
pub(super) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_new_file_is_created_and_reopened() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        drop(connect(&path).unwrap());
        let again = connect(&path).unwrap();
        assert_eq!(recognise(&again).unwrap(), VERSION);
        let mode: String = again.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        let newer = connect(&path).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        drop(newer);
        let error = connect(&path).unwrap_err().into_port_error("open");
        assert!(!error.retryable);
        assert!(error.why.contains("version 99"), "{error}");
    }

    #[test]
    fn the_ready_rows_of_an_older_file_are_counted() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        let older = Connection::open(&path).unwrap();
        UPGRADES[..2].iter().for_each(|upgrade| older.execute_batch(upgrade).unwrap());
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", 2).unwrap();
        for (id, priority, list) in [("a", 5, "ready x"), ("b", 5, "ready y"), ("c", 0, "ready x"), ("d", 5, "held")] {
            let row = "INSERT INTO requests (request_id, status, lane, rank, input_tokens, max_output_tokens, attempts,
                           throttles, claims, updated_at, request, notes, priority, work_list, work_sort)
                       VALUES (?1, 'RECEIVED', 'l', '1', 1, 1, 0, 0, 0, 0, '{}', '[]', ?2, ?3, '1')";
            older.execute(row, rusqlite::params![id, priority, list]).unwrap();
        }
        drop(older);
        let upgraded = connect(&path).unwrap();
        let counts = || -> Vec<(u64, u64)> {
            let mut all = upgraded.prepare("SELECT priority, requests FROM ready_counts ORDER BY 1").unwrap();
            let rows = all.query_map([], |row| Ok((natural(row.get(0)?), natural(row.get(1)?)))).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(counts(), [(0, 1), (5, 2)]);
        upgraded.execute("DELETE FROM requests WHERE request_id = 'a'", []).unwrap();
        assert_eq!(counts(), [(0, 1), (5, 1)]);
    }

    #[test]
    fn the_reports_of_an_older_file_are_kept() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        let older = Connection::open(&path).unwrap();
        UPGRADES[..3].iter().for_each(|upgrade| older.execute_batch(upgrade).unwrap());
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", 3).unwrap();
        let request = r#"{"operation": "invoke", "downgraded_from": "dear"}"#;
        let row = "INSERT INTO requests (request_id, status, lane, rank, input_tokens, max_output_tokens, attempts,
                       throttles, claims, updated_at, request, notes, priority, worker, outcome)
                   VALUES ('a', 'SUCCEEDED', 'l', '1', 1, 1, 1, 0, 0, 0, ?1, '[]', 5, 'w', '{\"result\": {\"bytes\": 9}}')";
        older.execute(row, [request]).unwrap();
        for id in ["a", "gone"] {
            let report = "INSERT INTO reports (day, finished_key, request_id, status, tenant, model_id, lane, priority,
                       priority_class, received_at, queued_at, started_at, finished_at, wait_ms, attempts, throttles, metadata)
                   VALUES ('2026-11-21', ?1, ?1, 'SUCCEEDED', 't', 'cheap', 'l', 5, 'normal', '2026-11-21T09:00:00.000Z',
                       '2026-11-21T09:00:01.500Z', '2026-11-21T09:00:02.000Z', '2026-11-21T09:00:03.250Z', 2000, 1, 0, '{}')";
            older.execute(report, [id]).unwrap();
        }
        drop(older);
        let upgraded = connect(&path).unwrap();
        let columns =
            "request_id, asked_model_id, switch, operation, backlog_ms, hold_ms, total_ms, worker, result_bytes";
        let mut all = upgraded.prepare(&format!("SELECT concat_ws(' ', {columns}) FROM reports ORDER BY 1")).unwrap();
        let rows: Vec<String> = all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, ["a dear downgrade invoke 1500 500 3250 w 9", "gone cheap converse 1500 500 3250"]);
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        let text = "Dear diary, ".repeat(500);
        std::fs::write(&path, &text).unwrap();
        let error = connect(&path).unwrap_err().into_port_error("open");
        assert!(!error.retryable);
        assert!(error.why.contains("not a database"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn another_programs_database_is_refused() {
        let dir = directory();
        let path = dir.path().join("smoother.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
        let error = connect(&path).unwrap_err().into_port_error("open");
        assert!(!error.retryable);
        assert!(error.why.contains("another program"), "{error}");
    }
}
