//! Counts by minute, of the last hour.

use std::collections::BTreeMap;

/// Minutes that are kept besides the latest one.
const KEPT: u64 = 60;

/// What each minute saw; one that saw nothing is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes<T>(BTreeMap<u64, T>);

impl<T: Default> Minutes<T> {
    /// The counts of a minute, to add to.
    pub(super) fn entry(&mut self, minute: u64) -> &mut T {
        while self.0.first_key_value().is_some_and(|(first, _)| first.saturating_add(KEPT) < minute) {
            self.0.pop_first();
        }
        self.0.entry(minute).or_default()
    }

    pub(super) const fn all(&self) -> &BTreeMap<u64, T> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let mut minutes = Minutes::<u64>::default();
        for minute in 5..=70 {
            *minutes.entry(minute) += minute;
        }
        assert_eq!(minutes.all().first_key_value(), Some((&10, &10)));
        assert_eq!(minutes.all().len(), 61);
    }
}
