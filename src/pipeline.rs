//! The data path, stage by stage; an alphabetical file listing hides this order:
//!
//! ```text
//!  input queue ─► ingest ─► ledger (backlog, ranked) ─► plan ─► hold queue ─► call ─► record ─► results queue
//!                   │          ▲        rank                              │    │ pace     │
//!                   │          └──────────── defer (retry later) ◄────────┼────┘          ├─► payloads
//!                   └─► record: REJECTED            poison ─► dead-letter ┘               ├─► ledger: final status
//!                                                                                         └─► reports
//! ```
//! - [`lifecycle`] is the state machine: the only place that builds ledger transitions.
//! - [`quotas`] keeps the quotas in force up to date.
//! - [`fleet`] knows the other replicas; [`alerts`], [`tally`], [`reporter`] and [`tracer`] tell people what happens.
//! - [`usage`] counts what the fleet uses of its quotas, [`background`] learns what others on the account use.
//! - [`spend`] counts what finished requests cost, and says whether the budgets have room for the next.
//! - [`intake`] receives from queues, [`batcher`] turns single sends and deletes into the batches that services charge for.

pub mod alerts;
pub mod background;
pub mod batcher;
pub mod call;
pub mod fleet;
pub mod hold;
pub mod ingest;
pub mod intake;
pub mod lifecycle;
pub mod pace;
pub mod plan;
pub mod quotas;
pub mod rank;
pub mod record;
pub mod reporter;
pub mod spend;
pub mod tally;
pub mod tracer;
pub mod usage;
pub mod verdict;
