//! Answers of the ledger and of the broker that come in time, or not at all.

use std::time::Duration;

use tokio::time::timeout;

use crate::broker::BrokerError;
use crate::ledger::LedgerError;

/// An error that can say "no answer in time".
pub trait NoAnswer {
    /// There was none within `limit`.
    fn no_answer(limit: Duration) -> Self;
}

impl NoAnswer for LedgerError {
    fn no_answer(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {limit:?}"))
    }
}

impl NoAnswer for BrokerError {
    fn no_answer(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {limit:?}"))
    }
}

/// What `call` answers within `limit`. After that it is no longer waited for, and may still have
/// had its effect.
///
/// # Errors
/// The call's own, or [`NoAnswer::no_answer`].
pub async fn in_time<T, E: NoAnswer>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(E::no_answer(limit)))
}
