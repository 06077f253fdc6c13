//! Job control: `cancel`, `reprioritise`, `deadline`, `pause`, `resume`, and `audit` to see who did what.

pub mod audit;
mod change;
mod page;
mod pause;
mod selection;
pub(super) mod times;

pub use self::change::{CancelArgs, DeadlineArgs, ReprioritiseArgs, cancel, deadline, reprioritise};
pub use self::pause::{PauseArgs, ResumeArgs, line, pause, resume};
pub use self::selection::priorities;
