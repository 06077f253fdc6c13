use proptest::prelude::*;

use super::*;

const LANE: Amount = Amount { rate: 1.0, room: 1.0, calls: 10 };

fn wants(rate: f64, room: f64, calls: u32) -> Amount {
    Amount { rate, room, calls }
}

fn table(wants: &[Amount]) -> Table {
    let entry = |(at, wants): (usize, &Amount)| {
        (format!("w{at}"), Entry { wants: *wants, turn: at as u64, ..Entry::default() })
    };
    Table { parts: wants.iter().enumerate().map(entry).collect(), learned: None }
}

fn targets(size: Amount, wants: &[Amount]) -> Vec<Amount> {
    let table = table(wants);
    (0..wants.len()).map(|at| table.target(&format!("w{at}"), size)).collect()
}

#[test]
fn one_has_everything_and_idle_ones_have_equal_parts() {
    assert_eq!(targets(LANE, &[wants(0.0, 0.0, 0)]), [LANE]);
    for target in targets(LANE, &[wants(0.0, 0.0, 0); 4]) {
        assert!((target.rate - 0.25).abs() < 1e-5 && (target.room - 0.25).abs() < 1e-5, "{target:?}");
        assert!((2..=3).contains(&target.calls));
    }
}

#[test]
fn a_busy_one_among_idle_ones_has_nearly_all() {
    let targets = targets(LANE, &[wants(0.0, 0.0, 0), wants(2.0, 0.9, 50), wants(0.0, 0.0, 0), wants(0.0, 0.0, 0)]);
    assert!(targets[1].rate >= 0.98, "{targets:?}");
    assert!(targets[1].room >= 0.98, "{targets:?}");
    assert_eq!(targets.iter().map(|target| target.calls).collect::<Vec<_>>(), [1, 7, 1, 1]);
    assert!(targets[0].rate > 0.0, "an idle one can start something at once");
}

#[test]
fn a_trickle_does_not_move_shares_about() {
    let targets = targets(LANE, &[wants(0.0005, 0.0, 1), wants(0.0, 0.0, 0)]);
    assert!((targets[0].rate - 0.5).abs() < 0.06, "{targets:?}");
}

#[test]
fn a_large_request_has_its_room_whatever_its_replicas_rate() {
    let both = targets(LANE, &[wants(0.1, 0.8, 1), wants(5.0, 0.1, 20)]);
    assert!(both[0].room >= 0.799 && both[0].rate < 0.05, "{both:?}");
    let crowded = targets(LANE, &[wants(0.1, 0.8, 1), wants(5.0, 0.8, 20)]);
    assert!((crowded[0].room - 0.5).abs() < 1e-3, "{crowded:?}");
}

#[test]
fn too_few_slots_go_to_those_with_demand_in_their_turn() {
    let few = Amount { calls: 2, ..LANE };
    let calls = |table: &Table| (0..4).map(|at| table.target(&format!("w{at}"), few).calls).collect::<Vec<_>>();
    let mut table = table(&[wants(0.0, 0.0, 0), wants(1.0, 0.1, 9), wants(1.0, 0.1, 1), wants(1.0, 0.1, 9)]);
    assert_eq!(calls(&table), [0, 1, 1, 0]);
    table.parts.get_mut("w1").unwrap().turn = table.last_turn();
    assert_eq!(calls(&table), [0, 0, 1, 1], "whoever had its turn stands at the end of the line");
}

#[test]
fn a_want_that_flickers_is_told_once() {
    let told = wants(1.0, 0.5, 8);
    let has = wants(0.5, 0.5, 10);
    assert_eq!(wants(1.05, 0.52, 10).as_told(told, has), told);
    assert_eq!(wants(1.3, 0.7, 11).as_told(told, has), wants(1.3, 0.7, 11));
    assert_eq!(wants(0.0, 0.0, 0).as_told(told, has), wants(0.0, 0.0, 0));
    let nothing = wants(0.0, 0.0, 0);
    assert_eq!(wants(0.0, 0.0, 0).as_told(wants(0.0, 0.0, 1), has), nothing);
    assert_eq!(wants(0.0, 0.0, 1).as_told(nothing, wants(0.0, 0.0, 0)).calls, 1, "without a slot any demand is told");
    assert_eq!(wants(0.0004, 0.0, 1).as_told(nothing, has), nothing);
}

#[test]
fn a_register_reads_as_it_was_written() {
    let mut table = table(&[wants(1.0, 0.1, 9)]);
    table.parts.get_mut("w0").unwrap().has = LANE;
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(
        text,
        r#"{"parts":{"w0":{"rate":1.0,"room":1.0,"calls":10,"wants":{"rate":1.0,"room":0.1,"calls":9},"turn":0}}}"#
    );
    assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
}

proptest! {
    /// Targets add up to the whole, slots exactly, and nobody has more slots than it wants while another lacks some.
    #[test]
    fn targets_add_up(
        total in 0u32..60,
        demand in proptest::collection::vec((prop_oneof![Just(0.0), 0.0..10.0], prop_oneof![Just(0.0), 0.0..2.0], 0u32..40, 0u64..9), 1..8),
    ) {
        let all: Vec<Amount> = demand.iter().map(|(rate, room, calls, _)| wants(*rate, *room, *calls)).collect();
        let mut table = table(&all);
        for (entry, (.., turn)) in table.parts.values_mut().zip(&demand) {
            entry.turn = *turn;
        }
        let size = Amount { calls: total, ..LANE };
        let targets: Vec<Amount> = table.parts.keys().map(|name| table.target(name, size)).collect();
        let sum = |of: fn(&Amount) -> f64| targets.iter().map(of).sum::<f64>();
        prop_assert!((0.9999..=1.0 + 1e-12).contains(&sum(|t| t.rate)), "{targets:?}");
        prop_assert!((0.9999..=1.0 + 1e-12).contains(&sum(|t| t.room)), "{targets:?}");
        prop_assert_eq!(targets.iter().map(|t| t.calls).sum::<u32>(), total);
        let over = targets.iter().zip(&all).any(|(t, want)| t.calls > want.calls.max(1));
        let under = targets.iter().zip(&all).any(|(t, want)| t.calls < want.calls);
        prop_assert!(!(over && under), "{targets:?} for {all:?}");
        let idle: f64 = targets.iter().zip(&all).filter(|(_, w)| w.rate == 0.0).map(|(t, _)| t.rate).sum();
        let busy: f64 = all.iter().map(|w| w.rate).sum();
        prop_assert!(busy < 0.3 || idle <= 0.03, "idle ones have {idle} while {busy} minutes wait");
    }
}
