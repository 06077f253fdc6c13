use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;

fn open() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("smoother.db")).unwrap();
    (dir, database)
}

fn insert(connection: &Connection, name: &str) -> Result<(), Fault> {
    connection.execute("INSERT INTO registers VALUES (?, 1, '')", [name])?;
    Ok(())
}

async fn names(database: &Database) -> Vec<String> {
    let read = database.read("names", |connection| {
        let mut statement = connection.prepare("SELECT name FROM registers ORDER BY name")?;
        let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>();
        Ok(names?)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_failing_command_undoes_only_itself() {
    let (_dir, database) = open();
    let results = database
        .write_each("write", vec!["a", "b", "c", "a"], |connection, name| {
            insert(connection, name)?;
            if name == "b" { Err(Fault::permanent("b is refused")) } else { Ok(name) }
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &"a");
    assert_eq!(results[1].as_ref().unwrap_err().to_string(), "write: b is refused");
    assert_eq!(results[2].as_ref().unwrap(), &"c");
    let duplicate = results[3].as_ref().unwrap_err();
    assert!(duplicate.why.contains("UNIQUE") && !duplicate.retryable, "{duplicate}");
    assert_eq!(names(&database).await, ["a", "c"]);
}

#[tokio::test]
async fn commands_of_many_callers_share_a_commit_and_its_failure() {
    let (_dir, database) = open();
    // A violated deferred constraint is found at the commit, so everybody in the transaction hears of it.
    lock(&database.writer.connection)
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parents (id PRIMARY KEY);
             CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);",
        )
        .unwrap();
    let orphan = database.write("orphan", |connection| Ok(connection.execute("INSERT INTO children VALUES (1)", [])?));
    let bystander = database.write("bystander", |connection| insert(connection, "bystander"));
    let connection = lock(&database.writer.connection);
    let (mut orphan, mut bystander) = (std::pin::pin!(orphan), std::pin::pin!(bystander));
    assert!(orphan.as_mut().now_or_never().is_none());
    assert!(bystander.as_mut().now_or_never().is_none());
    drop(connection);
    assert!(orphan.await.unwrap_err().why.contains("FOREIGN KEY"));
    assert!(bystander.await.unwrap_err().why.contains("FOREIGN KEY"));
    assert!(names(&database).await.is_empty());
    database.write("again", |connection| insert(connection, "again")).await.unwrap();
    assert_eq!(names(&database).await, ["again"]);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_passes() {
    let (_dir, database) = open();
    let limit = |pages: i64| lock(&database.writer.connection).pragma_update(None, "max_page_count", pages);
    limit(1).unwrap();
    let results = database
        .write_each("write", vec![1, 10_000_000, 1], |connection, bytes: usize| {
            connection.execute("INSERT INTO registers VALUES (hex(randomblob(8)), 1, ?)", ["x".repeat(bytes)])?;
            Ok(())
        })
        .await;
    let full = results[1].as_ref().unwrap_err();
    assert!(full.why.contains("full") && full.retryable, "{full}");
    limit(1_000_000).unwrap();
    database.write("write", |connection| insert(connection, "after")).await.unwrap();
    let kept = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(names(&database).await.len(), kept + 1);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_an_error_that_passes() {
    let (dir, database) = open();
    lock(&database.writer.connection).busy_timeout(Duration::from_millis(20)).unwrap();
    let other = Connection::open(dir.path().join("smoother.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = database.write("write", |connection| insert(connection, "a")).await.unwrap_err();
    assert!(error.why.contains("locked") && error.retryable, "{error}");
    assert!(names(&database).await.is_empty(), "readers do not wait for writers");
    other.execute_batch("ROLLBACK").unwrap();
    database.write("write", |connection| insert(connection, "a")).await.unwrap();
}

#[tokio::test]
async fn a_panicking_command_leaves_the_database_usable() {
    let (_dir, database) = open();
    let results = database
        .write_each("write", vec!["a", "panic", "b"], |connection, name| {
            assert_ne!(name, "panic");
            insert(connection, name)
        })
        .await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.retryable)), "{results:?}");
    database.write("write", |connection| insert(connection, "after")).await.unwrap();
    assert_eq!(names(&database).await, ["after"]);
}

#[tokio::test]
async fn reads_cannot_write() {
    let (_dir, database) = open();
    assert!(database.read("read", |connection| insert(connection, "a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn paused_time_stands_still_while_the_disk_works() {
    let (_dir, database) = open();
    let begun = Instant::now();
    let slow = database.write("slow", |connection| {
        std::thread::park_timeout(Duration::from_millis(50));
        insert(connection, "a")
    });
    tokio::select! {
        result = slow => result.unwrap(),
        () = tokio::time::sleep(Duration::from_millis(1)) => panic!("time ran on"),
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
