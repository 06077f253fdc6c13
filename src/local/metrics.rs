//! Metrics in a table, kept for two weeks: enough to look at yesterday, small enough to forget about.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use super::database::{Database, Fault};
use super::schema::integer;
use crate::clock::Clock;
use crate::ports::{Datum, Metrics, Undelivered};

const KEPT: Duration = Duration::from_hours(14 * 24);

/// The metrics table.
pub(super) struct LocalMetrics {
    pub database: Database,
    pub clock: Clock,
}

#[async_trait]
impl Metrics for LocalMetrics {
    /// One transaction: all of it is in the table, or nothing.
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered> {
        let kept = data.clone();
        let oldest = integer((self.clock.now() - KEPT).0);
        self.database
            .write("local metrics: put", move |connection| {
                let mut insert = connection.prepare_cached("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
                for datum in data {
                    let dimensions: BTreeMap<_, _> = datum.dimensions.into_iter().collect();
                    let dimensions = serde_json::to_string(&dimensions).map_err(Fault::permanent)?;
                    let (at, unit) = (integer(datum.at.0), datum.unit.name());
                    insert.execute(params![
                        at,
                        datum.name,
                        dimensions,
                        unit,
                        datum.count,
                        datum.sum,
                        datum.min,
                        datum.max
                    ])?;
                }
                connection.prepare_cached("DELETE FROM metrics WHERE at < ?")?.execute([oldest])?;
                Ok(())
            })
            .await
            .map_err(|error| Undelivered { error, data: kept, lost: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ports::Unit;

    fn datum(at: Timestamp) -> Datum {
        let dimensions = vec![("Lane", "default:us-east-1:nova".to_owned()), ("Class", "urgent".to_owned())];
        Datum {
            name: "QueueWait",
            dimensions,
            at,
            unit: Unit::Milliseconds,
            count: 2.0,
            sum: 30.0,
            min: 10.0,
            max: 20.0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_are_kept_for_two_weeks() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("smoother.db")).unwrap();
        let clock = Clock::anchored(Timestamp(1_795_252_123_456));
        let metrics = LocalMetrics { database: database.clone(), clock: clock.clone() };
        metrics.put(vec![datum(clock.now()), datum(clock.now())]).await.unwrap();
        let stored = || {
            database.read("test", |connection| {
                let row = "SELECT count(*), coalesce(sum(sum), 0.0), coalesce(max(dimensions), '') FROM metrics";
                Ok(connection.query_row(row, [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?, row.get::<_, String>(2)?))
                })?)
            })
        };
        let dimensions = r#"{"Class":"urgent","Lane":"default:us-east-1:nova"}"#.to_owned();
        assert_eq!(stored().await.unwrap(), (2, 60.0, dimensions.clone()));
        tokio::time::advance(KEPT).await;
        metrics.put(vec![]).await.unwrap();
        assert_eq!(stored().await.unwrap(), (2, 60.0, dimensions));
        tokio::time::advance(Duration::from_millis(1)).await;
        metrics.put(vec![]).await.unwrap();
        assert_eq!(stored().await.unwrap().0, 0);
    }
}
