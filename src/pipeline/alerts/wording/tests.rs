use std::fmt::Write;
use std::path::PathBuf;

use super::super::samples;
use crate::pipeline::alerts::board::Told;
use crate::ports::Alert;
use crate::ports::alerts::{Kind, MAX_SUBJECT, State};

/// Every kind as it is first told, the variants after it, and how it is over.
fn texts(kind: Kind) -> String {
    let mut page = String::new();
    for condition in samples::all().into_iter().filter(|condition| condition.kind() == kind) {
        let events = if matches!(kind, Kind::ErrorRate | Kind::Throttled) { 12 } else { 1 };
        let told = samples::told(&condition, events);
        let alert = samples::frame().alert(&told, samples::NOW, &samples::SETTINGS);
        writeln!(page, "Subject: {}\n\n{}", alert.subject, alert.text()).unwrap();
        page.push_str("----\n\n");
    }
    if kind != Kind::Test {
        let over = over(kind);
        write!(page, "Subject: {}\n\n{}", over.subject, over.text()).unwrap();
    }
    page
}

fn over(kind: Kind) -> Alert {
    let Told { entry, .. } = samples::told(&samples::of(kind), 340);
    let later = samples::NOW + std::time::Duration::from_mins(42);
    samples::frame().alert(&Told { state: State::Recovered, entry }, later, &samples::SETTINGS)
}

#[test]
fn the_texts_are_the_reviewed_ones() {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/alerts"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for kind in Kind::ALL {
            std::fs::write(dir.join(format!("{}.txt", kind.as_str())), texts(*kind)).unwrap();
        }
    }
    for kind in Kind::ALL {
        let file = dir.join(format!("{}.txt", kind.as_str()));
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(texts(*kind), golden, "read it as on-call would, then: UPDATE_DOCS=1 cargo test --lib alerts");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), Kind::ALL.len(), "files of kinds that are gone");
}

#[test]
fn every_alert_says_what_where_and_what_to_do() {
    for condition in samples::all() {
        let alert = samples::frame().alert(&samples::told(&condition, 12), samples::NOW, &samples::SETTINGS);
        let Alert { kind, subject, look, fix, impact, .. } = &alert;
        assert!(subject.is_ascii() && subject.len() <= MAX_SUBJECT && !subject.ends_with("..."), "{subject}");
        assert!(subject.contains("Smoother us-east-1: "), "{subject}");
        assert!(impact.len() > 30 && impact.ends_with('.'), "{impact}");
        assert!(look.iter().any(|step| step.run.is_some()), "{kind:?} has no command to look");
        assert!(*kind == Kind::Test || !fix.is_empty(), "{kind:?} has nothing to do");
        assert!(alert.text().lines().count() < 70, "{}", alert.text());
        assert!(alert.runbook.ends_with(&format!("#{}", kind.as_str())));
        let json: serde_json::Value = serde_json::from_str(&alert.to_json()).unwrap();
        assert_eq!((&json["schema_version"], &json["kind"]), (&1.into(), &kind.as_str().into()));
        assert!(
            json["numbers"].as_object().unwrap().values().all(|n| n.get("value").is_some() && n.get("unit").is_some())
        );
    }
}
