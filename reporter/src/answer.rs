//! How long the reporter waits for the ledger and the broker.

use std::time::Duration;

use pabal_common::deadline::{self, NoAnswer};

const LIMIT: Duration = Duration::from_secs(10);

/// The answer, if it comes in time. A transaction may go on when it does not.
pub(crate) async fn in_time<T, E: NoAnswer>(
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    deadline::in_time(LIMIT, call).await
}
