//! The last minute of a lane: what was started and what it took.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A little over a minute, so that a server's own minute is covered in spite of network delay.
const SPAN: Duration = Duration::from_millis(60_200);

/// Starts of the last minute with their tokens: reserved first, settled later.
#[derive(Debug, Default)]
pub struct MinuteLog {
    entries: VecDeque<(Instant, f64)>,
    first: u64,
    sum: f64,
}

impl MinuteLog {
    /// Notes a start; the answer names the entry for [`MinuteLog::correct`].
    pub fn push(&mut self, tokens: f64, now: Instant) -> u64 {
        self.trim(now);
        self.entries.push_back((now, tokens));
        self.sum += tokens;
        self.first + self.entries.len() as u64 - 1
    }

    /// Replaces an entry's tokens; one that has left the minute is past correcting.
    pub fn correct(&mut self, entry: u64, tokens: f64) {
        let index = entry.checked_sub(self.first).and_then(|i| usize::try_from(i).ok());
        if let Some(slot) = index.and_then(|i| self.entries.get_mut(i)) {
            self.sum += tokens - slot.1;
            slot.1 = tokens;
        }
    }

    /// Tokens of the last minute.
    pub fn tokens(&mut self, now: Instant) -> f64 {
        self.trim(now);
        self.sum
    }

    /// Starts in the last minute.
    pub fn starts(&mut self, now: Instant) -> usize {
        self.trim(now);
        self.entries.len()
    }

    /// When enough will have left the minute for `tokens` to fit under `limit`; `now` if they fit already.
    pub fn when(&mut self, tokens: f64, limit: f64, now: Instant) -> Instant {
        self.trim(now);
        let mut sum = self.sum;
        let mut at = now;
        for (start, amount) in &self.entries {
            if sum + tokens <= limit {
                break;
            }
            sum -= amount;
            at = *start + SPAN;
        }
        at
    }

    fn trim(&mut self, now: Instant) {
        while let Some((start, tokens)) = self.entries.front().copied() {
            if start + SPAN > now {
                break;
            }
            self.entries.pop_front();
            self.first += 1;
            self.sum -= tokens;
        }
        if self.entries.is_empty() {
            self.sum = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_leave_after_a_minute_and_can_be_corrected_until_then() {
        let start = Instant::now();
        let mut log = MinuteLog::default();
        let first = log.push(100.0, start);
        let second = log.push(50.0, start + Duration::from_secs(30));
        log.correct(first, 10.0);
        assert!((log.tokens(start + Duration::from_secs(30)) - 60.0).abs() < 1e-9);
        assert_eq!(log.starts(start + Duration::from_secs(61)), 1);
        log.correct(first, 1_000.0);
        log.correct(second, 40.0);
        assert!((log.tokens(start + Duration::from_secs(61)) - 40.0).abs() < 1e-9);
        assert!(log.tokens(start + Duration::from_secs(91)).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_when_there_is_room() {
        let start = Instant::now();
        let mut log = MinuteLog::default();
        log.push(60.0, start);
        log.push(40.0, start + Duration::from_secs(10));
        let now = start + Duration::from_secs(20);
        assert_eq!(log.when(0.0, 100.0, now), now);
        assert_eq!(log.when(50.0, 100.0, now), start + SPAN);
        assert_eq!(log.when(90.0, 100.0, now), start + Duration::from_secs(10) + SPAN);
    }
}
