//! One limit of a quota: a bucket that refills continuously, or a window that starts afresh. Times are seconds since
//! the quota's creation; going back in time is ignored, as calls may race for the lock.

/// One limit.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    capacity: f64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Bucket { rate: f64, level: f64, at: f64 },
    Window { length: f64, phase: f64, index: f64, used: f64 },
}

impl Meter {
    /// A full bucket of `capacity` that gains `rate` a second.
    pub(super) const fn bucket(rate: f64, capacity: f64) -> Self {
        Self { capacity, shape: Shape::Bucket { rate, level: capacity, at: 0.0 } }
    }

    /// Windows of `length` seconds that each allow `capacity`; the first one ends after `length - phase`.
    pub(super) const fn window(length: f64, capacity: f64, phase: f64) -> Self {
        Self { capacity, shape: Shape::Window { length, phase, index: 0.0, used: 0.0 } }
    }

    pub(super) const fn capacity(&self) -> f64 {
        self.capacity
    }

    pub(super) fn advance(&mut self, now: f64) {
        match &mut self.shape {
            Shape::Bucket { rate, level, at } => {
                if now > *at {
                    *level = self.capacity.min(*level + (now - *at) * *rate);
                    *at = now;
                }
            }
            Shape::Window { length, phase, index, used } => {
                let current = ((now + *phase) / *length).floor();
                if current > *index {
                    *index = current;
                    *used = 0.0;
                }
            }
        }
    }

    pub(super) fn free(&self) -> f64 {
        match self.shape {
            Shape::Bucket { level, .. } => level,
            Shape::Window { used, .. } => self.capacity - used,
        }
    }

    pub(super) fn take(&mut self, amount: f64) {
        match &mut self.shape {
            Shape::Bucket { level, .. } => *level -= amount,
            Shape::Window { used, .. } => *used += amount,
        }
    }

    /// Gives back part of what was taken at `taken`, or takes more when `amount` is negative. A window that has passed
    /// takes no credit with it; use above the reservation is charged where it is noticed.
    pub(super) fn give_back(&mut self, taken: f64, amount: f64) {
        match &mut self.shape {
            Shape::Bucket { level, .. } => *level = self.capacity.min(*level + amount),
            Shape::Window { length, phase, index, used } => {
                let then = ((taken + *phase) / *length).floor();
                if amount < 0.0 || then >= *index {
                    *used -= amount;
                }
            }
        }
    }

    /// Takes over from `old` at `now`: the same share is free when the shapes agree; else this one is as new.
    pub(super) fn continue_from(&mut self, old: Option<&Self>, now: f64) {
        self.advance(now);
        let Some(old) = old else { return };
        let share = old.free() / old.capacity;
        match (&mut self.shape, &old.shape) {
            (Shape::Bucket { level, .. }, Shape::Bucket { .. }) => *level = self.capacity * share,
            (Shape::Window { used, .. }, Shape::Window { .. }) => *used = self.capacity * (1.0 - share),
            _ => {}
        }
    }
}
