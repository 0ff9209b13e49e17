//! Waiting for a condition instead of sleeping for luck.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Longer than anything a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until `condition` is `Ok`; then the test fails with the last `Err`.
#[track_caller]
pub(crate) fn eventually<T, E: Debug>(
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let until = Instant::now() + PATIENCE;
        loop {
            match condition().await {
                Ok(value) => return value,
                Err(error) if Instant::now() > until => {
                    panic!("waited in vain at {caller}: {error:?}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}
