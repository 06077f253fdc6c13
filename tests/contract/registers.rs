//! `ports::registers`.

use std::sync::Arc;

use smoother::ports::{Register, Registers};
use tokio::task::JoinSet;

use crate::Fixture;
use crate::support::unique;

async fn write(registers: &dyn Registers, name: &str, expected: u64, value: &str) -> bool {
    registers.write(name, expected, value.to_owned()).await.unwrap()
}

fn register(version: u64, value: &str) -> Register {
    Register { version, value: value.to_owned() }
}

pub async fn versions_count_the_writes(fixture: &Fixture) {
    let (registers, name) = (&*fixture.ports.registers, unique("lease"));
    assert_eq!(registers.read(&name).await.unwrap(), None);
    for version in 1..=5 {
        let value = format!("value {version}");
        assert!(write(registers, &name, version - 1, &value).await);
        assert_eq!(registers.read(&name).await.unwrap(), Some(register(version, &value)));
    }
}

pub async fn a_write_against_another_version_changes_nothing(fixture: &Fixture) {
    let (registers, name) = (&*fixture.ports.registers, unique("lease"));
    assert!(!write(registers, &name, 1, "no such version").await);
    assert_eq!(registers.read(&name).await.unwrap(), None);
    assert!(write(registers, &name, 0, "one").await);
    assert!(write(registers, &name, 1, "two").await);
    for expected in [0, 1, 3, u64::MAX >> 1] {
        assert!(!write(registers, &name, expected, "stale").await, "{expected}");
        assert!(!registers.remove(&name, expected).await.unwrap(), "{expected}");
    }
    assert_eq!(registers.read(&name).await.unwrap(), Some(register(2, "two")));
}

pub async fn a_removed_register_starts_over(fixture: &Fixture) {
    let (registers, name) = (&*fixture.ports.registers, unique("lease"));
    assert!(!registers.remove(&name, 1).await.unwrap());
    assert!(write(registers, &name, 0, "one").await);
    assert!(write(registers, &name, 1, "two").await);
    assert!(registers.remove(&name, 2).await.unwrap());
    assert_eq!(registers.read(&name).await.unwrap(), None);
    assert!(registers.list(&name).await.unwrap().is_empty());
    assert!(!write(registers, &name, 2, "late").await);
    assert!(write(registers, &name, 0, "anew").await);
    assert_eq!(registers.read(&name).await.unwrap(), Some(register(1, "anew")));
}

pub async fn of_concurrent_writers_one_wins(fixture: &Fixture) {
    let name = unique("race");
    for expected in 0..5 {
        let mut racing = JoinSet::new();
        for n in 0..8 {
            let (registers, name) = (Arc::clone(&fixture.ports.registers), name.clone());
            let value = format!("{n}");
            racing.spawn(async move { write(&*registers, &name, expected, &value).await.then_some(value) });
        }
        let winners: Vec<String> = racing.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let now = fixture.ports.registers.read(&name).await.unwrap();
        assert_eq!(now, Some(register(expected + 1, &winners[0])));
    }
}

pub async fn a_list_has_the_prefix_and_is_in_order(fixture: &Fixture) {
    let (registers, fleet) = (&*fixture.ports.registers, unique("fleet"));
    let mut names: Vec<String> = (0..60).map(|n| format!("{fleet}/worker-{n:02}")).collect();
    names.extend([format!("{fleet}/Worker"), format!("{fleet}/"), format!("{fleet}/wörker")]);
    names.sort_unstable();
    let mut shuffled = names.clone();
    fastrand::shuffle(&mut shuffled);
    for name in &shuffled {
        assert!(write(registers, name, 0, name).await);
    }
    // Neighbours that share less than the prefix, and what a pattern would take for one.
    for name in [fleet.clone(), format!("{fleet}0"), format!("{fleet}.x"), format!("_{fleet}/x")] {
        assert!(write(registers, &name, 0, "neighbour").await);
    }
    let listed = registers.list(&format!("{fleet}/")).await.unwrap();
    let wanted: Vec<_> = names.into_iter().map(|name| (name.clone(), register(1, &name))).collect();
    assert_eq!(listed, wanted);
    assert!(registers.list(&format!("{fleet}/%")).await.unwrap().is_empty());
}

pub async fn values_come_back_as_they_went(fixture: &Fixture) {
    let (registers, name) = (&*fixture.ports.registers, unique("value"));
    let values = ["", "{\"a\":\"'\\\"\"}", "Ünïcödé 漢字 🦀\n", &"x".repeat(90_000)];
    for (version, value) in (0..).zip(values) {
        assert!(write(registers, &name, version, value).await);
        assert!(registers.read(&name).await.unwrap() == Some(register(version + 1, value)), "{version}");
    }
}
