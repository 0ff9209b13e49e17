//! Answers that a test forces, whoever the recipient is.

use serde::{Deserialize, Serialize};

/// What a vendor does with its next call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum NextAnswer {
    /// As the recipients say.
    Normal,
    /// As if every recipient of the call ended in these digits.
    Row {
        /// The digits of the table's row; others deliver.
        digits: u8,
    },
    /// 429, nothing taken.
    Throttle {
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
    },
    /// The whole call is definitively refused: wrong credentials.
    Refuse,
    /// The connection closes without an answer.
    Cut {
        /// Whether the call was taken before.
        taken: bool,
    },
    /// An answer of this status with this body.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
        /// Whether the call was taken before.
        taken: bool,
    },
    /// Taken, answered after this many milliseconds.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
}
