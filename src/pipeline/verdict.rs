//! What a request may be told that ends without a call.

use crate::clock::Timestamp;
use crate::request::{Failure, Status, Verdict};

/// Its deadline has passed.
#[must_use]
pub fn expired(deadline: Timestamp) -> Verdict {
    Verdict {
        status: Status::Expired,
        failure: Failure {
            kind: "DeadlinePassed".to_owned(),
            message: format!("the deadline {deadline} passed before a call could be started"),
            retryable: true,
            field: Some("deadline".to_owned()),
        },
    }
}

/// It was taken back by `who`, who gave a reason or not.
#[must_use]
pub fn cancelled(who: &str, reason: Option<&str>) -> Verdict {
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Verdict {
        status: Status::Cancelled,
        failure: Failure {
            kind: "Cancelled".to_owned(),
            message: format!("cancelled by {who}{why}"),
            retryable: true,
            field: None,
        },
    }
}
