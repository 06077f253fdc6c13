//! What the fleet itself uses of its quotas, minute by minute, as its replicas publish it with their heartbeats.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, Member, Role};
use crate::clock::Timestamp;
use crate::pipeline::usage::{KEPT_MINUTES, Used};
use crate::ports::Minute;
use crate::request::Lane;

/// A replica's view of it.
#[derive(Default)]
pub(super) struct Uses {
    /// What is published of our own use.
    pub own: Option<Used>,
    /// The live caller that has been there for longest.
    eldest: Option<String>,
    /// Some live caller does not publish its use.
    secretive: bool,
    /// The lanes of the live ones that publish their use.
    lanes: BTreeSet<Lane>,
    /// What each life of each replica used, the dead and those that left included until their minutes have passed.
    published: BTreeMap<(String, Timestamp), Used>,
}

impl Uses {
    /// Takes over what replicas publish, each with whether it lives; keeps what others published before they went, for as
    /// long as it matters.
    pub fn note(&mut self, members: Vec<(Member, bool)>) {
        let callers = members.iter().filter(|(member, lives)| *lives && member.roles.contains(&Role::Call));
        self.secretive = callers.clone().any(|(member, _)| member.used.is_none());
        self.eldest = callers
            .min_by_key(|(member, _)| (member.since, member.worker.as_str()))
            .map(|(member, _)| member.worker.clone());
        self.lanes.clear();
        for (member, lives) in members {
            let Some(used) = member.used else { continue };
            if lives {
                self.lanes.extend(used.lanes().cloned());
            }
            self.published.insert((member.worker, member.since), used);
        }
        if let Some(latest) = self.published.values().filter_map(Used::latest).max() {
            self.published.retain(|_, used| {
                used.forget_before(latest.back(KEPT_MINUTES));
                !used.is_empty()
            });
        }
    }
}

impl Fleet {
    /// Whether of the live callers this one has been there for longest, so that it knows best what the fleet did. Others may
    /// think so of themselves for a moment.
    #[must_use]
    pub fn is_eldest_caller(&self) -> bool {
        self.view().uses.eldest.as_ref().is_some_and(|eldest| *eldest == self.worker)
    }

    /// Publishes what this replica used, from the next beat on.
    pub fn publish_used(&self, used: Used) {
        self.view().uses.own = Some(used);
    }

    /// Whether every live caller publishes what it uses. One of an earlier version or with other settings does not.
    #[must_use]
    pub fn tells_its_use(&self) -> bool {
        !self.view().uses.secretive
    }

    /// Every lane of a live replica that publishes its use.
    #[must_use]
    pub fn lanes(&self) -> BTreeSet<Lane> {
        self.view().uses.lanes.clone()
    }

    /// Quota tokens that the whole fleet settled in a minute of the latest ones, as far as this replica has seen. Of a
    /// replica that was killed, what it settled after its last beat is missing.
    #[must_use]
    pub fn used(&self, lane: &Lane, minute: Minute) -> f64 {
        self.view().uses.published.values().map(|used| used.of(lane, minute)).sum()
    }
}
