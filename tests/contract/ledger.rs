//! `ports::ledger`: rows and their admission.

use std::sync::Arc;

use smoother::ports::Inserted;
use tokio::task::JoinSet;

use crate::Fixture;
use crate::support::{full_row, id, inserted, lane, ready, row};

pub async fn a_row_reads_back_whole(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let plain = inserted(ledger, &lane, ready(&lane, "1")).await;
    assert_eq!(ledger.get(&plain.request.id).await.unwrap(), Some(plain));
    let full = full_row(id("full"), &lane);
    assert!(matches!(ledger.insert(vec![(full.clone(), None)]).await.remove(0), Ok(Inserted::New)));
    assert_eq!(ledger.get(&full.request.id).await.unwrap(), Some(full));
}

pub async fn there_is_no_row_before_it_is_inserted(fixture: &Fixture) {
    assert_eq!(fixture.ports.ledger.get(&id("none")).await.unwrap(), None);
}

pub async fn insert_is_idempotent_by_id(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let first = inserted(ledger, &lane, ready(&lane, "1")).await;
    let mut other = full_row(first.request.id.clone(), &lane);
    "another".clone_into(&mut other.request.content_hash);
    let work = ready(&lane, "0");
    for (again, work) in [(first.clone(), Some(work)), (other, None)] {
        let answer = ledger.insert(vec![(again, work)]).await.remove(0).unwrap();
        assert_eq!(answer, Inserted::Exists(Box::new(first.clone())));
    }
    assert_eq!(ledger.get(&first.request.id).await.unwrap(), Some(first));
}

pub async fn a_batch_of_inserts_answers_each(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let rows: Vec<_> = (0..130).map(|n| row(id(&format!("batch{n}")), &lane)).collect();
    let place = |n: usize| Some(ready(&lane, &format!("{n:04}")));
    let odd = rows.iter().enumerate().filter(|(n, _)| n % 2 == 1);
    let placed: Vec<_> = odd.map(|(n, row)| (row.clone(), place(n))).collect();
    assert!(ledger.insert(placed).await.iter().all(|result| matches!(result, Ok(Inserted::New))));
    let mut all: Vec<_> = rows.iter().enumerate().map(|(n, row)| (row.clone(), place(n))).collect();
    // The same id twice within one call is admitted once.
    all.push((rows[0].clone(), place(0)));
    let answers = ledger.insert(all).await;
    assert_eq!(answers.len(), 131);
    for (n, row) in rows.iter().enumerate().skip(1) {
        let wanted = if n % 2 == 1 { Inserted::Exists(Box::new(row.clone())) } else { Inserted::New };
        assert_eq!(answers[n].as_ref().unwrap(), &wanted, "{n}");
    }
    let twins = [answers[0].as_ref().unwrap(), answers[130].as_ref().unwrap()];
    assert_eq!(twins.iter().filter(|answer| ***answer == Inserted::New).count(), 1, "{twins:?}");
    assert!(ledger.insert(vec![]).await.is_empty());
}

pub async fn of_concurrent_inserts_one_is_new(fixture: &Fixture) {
    let (id, lane) = (id("race"), lane());
    let mut racing = JoinSet::new();
    for n in 0..8 {
        let ledger = Arc::clone(&fixture.ports.ledger);
        let mut row = row(id.clone(), &lane);
        row.request.content_hash = format!("hash {n}");
        let work = ready(&lane, "1");
        racing.spawn(async move { (row.clone(), ledger.insert(vec![(row, Some(work))]).await.remove(0).unwrap()) });
    }
    let (new, old): (Vec<_>, Vec<_>) =
        racing.join_all().await.into_iter().partition(|(_, answer)| *answer == Inserted::New);
    assert_eq!(new.len(), 1);
    let winner = &new[0].0;
    for (_, answer) in old {
        assert_eq!(answer, Inserted::Exists(Box::new(winner.clone())));
    }
    assert_eq!(fixture.ports.ledger.get(&id).await.unwrap().as_ref(), Some(winner));
}
