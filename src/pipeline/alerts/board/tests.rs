use super::super::samples::{self, NOW, SETTINGS};
use super::*;
use crate::ports::alerts::Kind;

/// A board with its clock, seconds after [`NOW`].
#[derive(Default)]
struct Rig {
    board: Board,
    at: u64,
    /// Nothing that is told arrives.
    mute: bool,
}

impl Rig {
    fn now(&self) -> Timestamp {
        NOW + Duration::from_secs(self.at)
    }

    /// Goes on so many seconds, then reports; answers the states that are told, with the count.
    fn after(&mut self, seconds: u64, reports: &[Report]) -> Vec<(State, u64)> {
        self.after_with(seconds, reports, &SETTINGS)
    }

    fn after_with(&mut self, seconds: u64, reports: &[Report], settings: &Settings) -> Vec<(State, u64)> {
        self.at += seconds;
        let told = self.board.apply(reports, self.now(), settings);
        let sent = told.iter().map(|told| Report::Sent(told.entry.condition.key(), self.now()));
        if !self.mute {
            self.board.apply(&sent.collect::<Vec<_>>(), self.now(), settings);
        }
        // Whoever reads it from a register goes on alike.
        let json = serde_json::to_string(&self.board).unwrap();
        self.board = serde_json::from_str(&json).unwrap();
        told.into_iter().map(|told| (told.state, told.entry.sums.events)).collect()
    }
}

fn times(kind: Kind, events: u64) -> Report {
    Report::Happened(samples::of(kind), Sums { events, ..Sums::default() })
}

fn of_calls(kind: Kind, events: u64, calls: u64) -> Report {
    Report::Happened(samples::of(kind), Sums { events, calls, ended: 0 })
}

fn over(kind: Kind) -> Report {
    Report::Over(samples::of(kind).key())
}

#[test]
fn a_storm_is_told_once_then_summed_up_then_over() {
    let mut rig = Rig::default();
    let errors = |n| times(Kind::ErrorRate, n);
    assert_eq!(rig.after(0, &[errors(4)]), []);
    assert_eq!(rig.after(2, &[errors(1)]), [(State::Firing, 5)]);
    for _ in 0..29 {
        assert_eq!(rig.after(30, &[errors(300)]), []);
    }
    assert_eq!(rig.after(30, &[errors(300)]), [(State::Ongoing, 9_005)]);
    assert_eq!(rig.after(60, &[]), [], "a period and one more must pass");
    assert_eq!(rig.after(60, &[]), [(State::Recovered, 9_005)]);
    assert_eq!(rig.after(600, &[]), []);
    assert_eq!(rig.board.open().len(), 0);
}

#[test]
fn the_threshold_counts_within_a_period_in_consecutive_ones() {
    let mut rig = Rig::default();
    let errors = |n| times(Kind::ErrorRate, n);
    for _ in 0..20 {
        assert_eq!(rig.after(61, &[errors(4)]), [], "four a minute are not five");
    }
    assert_eq!(rig.board.0.len(), 1);
    rig.after(180, &[]);
    assert_eq!(rig.board, Board::default(), "what passes is forgotten");

    let three = Settings { periods: 3, ..SETTINGS };
    let mut rig = Rig::default();
    assert_eq!(rig.after_with(0, &[errors(50)], &three), []);
    assert_eq!(rig.after_with(60, &[errors(50)], &three), []);
    assert_eq!(rig.after_with(60, &[errors(4)], &three), []);
    assert_eq!(rig.after_with(30, &[errors(1)], &three), [(State::Firing, 105)], "as soon as it is enough");
    let mut rig = Rig::default();
    for n in [50, 50, 4, 50, 50] {
        assert_eq!(rig.after_with(60, &[errors(n)], &three), [], "not in a row");
    }
    let mut rig = Rig::default();
    for _ in 0..5 {
        assert_eq!(rig.after_with(120, &[errors(50)], &three), [], "a period without any lies between");
    }
}

#[test]
fn a_trickle_after_a_storm_keeps_nothing_open() {
    let mut rig = Rig::default();
    assert_eq!(rig.after(0, &[times(Kind::ErrorRate, 100)]), [(State::Firing, 100)]);
    let told: Vec<_> = (0..5).flat_map(|_| rig.after(31, &[times(Kind::ErrorRate, 1)])).collect();
    assert_eq!(told, [(State::Recovered, 105)]);
}

#[test]
fn throttles_are_told_from_a_share_of_the_calls_on() {
    let mut rig = Rig::default();
    assert_eq!(rig.after(0, &[of_calls(Kind::Throttled, 9, 1_000)]), [], "0.9 %");
    let lane = samples::of(Kind::Throttled).lane().unwrap().clone();
    assert_eq!(rig.after(5, &[of_calls(Kind::Throttled, 1, 0)]), [(State::Firing, 10)], "1 %");
    let mut rig = Rig::default();
    rig.after(0, &[of_calls(Kind::Throttled, 4, 10)]);
    assert_eq!(rig.after(5, &[Report::Calls(lane, 990)]), []);
    assert_eq!(rig.after(5, &[of_calls(Kind::Throttled, 1, 1)]), [], "other calls count too");
}

#[test]
fn what_is_told_at_once_is_over_when_somebody_says_so() {
    for kind in Kind::ALL {
        if matches!(kind, Kind::ErrorRate | Kind::Throttled) {
            continue;
        }
        let mut rig = Rig::default();
        assert_eq!(rig.after(0, &[over(*kind)]), [], "{kind:?}");
        assert_eq!(rig.after(0, &[times(*kind, 1)]), [(State::Firing, 1)], "{kind:?}");
        assert_eq!(rig.after(10, &[times(*kind, 1)]), [], "{kind:?}");
        assert_eq!(rig.after(10, &[over(*kind), over(*kind)]), [(State::Recovered, 2)], "{kind:?}");
        let both = rig.after(10, &[times(*kind, 7), over(*kind)]);
        assert_eq!(both, [(State::Firing, 7), (State::Recovered, 7)], "{kind:?}");
    }
}

#[test]
fn what_nobody_ends_is_over_when_it_was_quiet_for_long() {
    for kind in Kind::ALL {
        let mut rig = Rig::default();
        rig.after(0, &[times(*kind, 100)]);
        rig.after(25 * 3600, &[]);
        assert!(rig.board.open().is_empty(), "{kind:?}");
    }
    let mut rig = Rig::default();
    rig.after(0, &[times(Kind::LanePaused, 1)]);
    assert_eq!(rig.after(3600 + 200, &[]), [], "it pauses for an hour");
    assert_eq!(rig.after(101, &[]), [(State::Recovered, 1)]);
}

#[test]
fn what_comes_and_goes_must_be_quiet_for_longer_each_time() {
    let mut rig = Rig::default();
    let mut told = 0;
    // A burst every four minutes for four hours: 60 of them.
    for _ in 0..60 {
        told += rig.after(0, &[times(Kind::ErrorRate, 50)]).len();
        for _ in 0..8 {
            told += rig.after(30, &[]).len();
        }
    }
    assert!((10..=30).contains(&told), "{told} messages in four hours");
}

#[test]
fn what_was_not_delivered_is_told_by_another() {
    let mut rig = Rig { mute: true, ..Rig::default() };
    rig.after(0, &[times(Kind::AccessDenied, 1)]);
    assert_eq!(rig.after(299, &[]), []);
    assert_eq!(rig.after(1, &[]), [(State::Firing, 1)], "whoever told it may be gone");
    assert_eq!(rig.after(10, &[Report::Sent(samples::of(Kind::AccessDenied).key(), rig.now())]), []);
    assert_eq!(rig.after(800, &[]), []);
}

#[test]
fn it_fits_its_register_and_forgets_what_matters_least() {
    let mut rig = Rig::default();
    let foreign = |n: u64| {
        let condition = Condition::ForeignMessage { queue: format!("q-{n}"), message: "m".repeat(200) };
        Report::Happened(condition, Sums { events: 1, ..Sums::default() })
    };
    rig.after(0, &[times(Kind::AccessDenied, 1), times(Kind::ErrorRate, 1)]);
    for n in 0..40 {
        let many: Vec<_> = (0..20).map(|m| foreign(n * 20 + m)).collect();
        rig.after(1, &many);
    }
    let bytes = serde_json::to_string(&rig.board).unwrap().len();
    assert!(bytes <= LARGEST, "{bytes}");
    let open = rig.board.open();
    assert!(open.len() > 100, "{}", open.len());
    assert_eq!(open[0].condition.kind(), Kind::AccessDenied, "the worst stays, and comes first");
}

#[test]
fn what_was_decided_alone_is_taken_over() {
    let mut alone = Rig::default();
    alone.after(0, &[times(Kind::AccessDenied, 5), times(Kind::Budget, 1)]);
    let keys = || [samples::of(Kind::AccessDenied).key(), samples::of(Kind::Budget).key(), "port/gone".to_owned()];
    let mut theirs = Rig::default();
    theirs.after(0, &[times(Kind::AccessDenied, 2), times(Kind::Port, 1)]);
    theirs.board.merge(&alone.board, &Board::default(), keys());
    assert_eq!(theirs.after(10, &[times(Kind::AccessDenied, 1), times(Kind::Budget, 1)]), [], "both were told");
    let denied = theirs.board.open().into_iter().find(|entry| entry.condition.kind() == Kind::AccessDenied).unwrap();
    assert_eq!(denied.sums.events, 2 + 5 + 1);
    theirs.board.merge(&Board::default(), &Board::default(), keys());
    assert_eq!(theirs.board.open().len(), 1, "what was over alone is over");
}
