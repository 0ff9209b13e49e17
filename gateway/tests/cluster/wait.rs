//! Waiting for a condition instead of sleeping for luck.

use std::panic::Location;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; then the test goes on.
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it never happened, waited for at {caller}: {what}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
