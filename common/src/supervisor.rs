//! The parts of a service: tasks that run as long as it does, and none of which may end alone.
//!
//! A service that goes on without one of its parts looks well and does half its work. So it ends
//! when a part does; whoever runs the service notices that, and the process is started anew.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Runs the parts of one service. Dropping it ends them at once.
#[derive(Debug)]
pub struct Supervisor {
    parts: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

impl Supervisor {
    /// For parts that end at `shutdown`.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self {
            parts: JoinSet::new(),
            names: HashMap::new(),
            stop: shutdown.child_token(),
        }
    }

    /// What asks the parts to end: the shutdown, or the end of one of them.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a part that ends when [`stop`](Self::stop) asks for it, and not before.
    pub fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let id = self.parts.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Watches over a part that runs elsewhere; `ended` is done when it has ended.
    pub fn watch(&mut self, name: &'static str, ended: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop();
        self.start(name, async move {
            stop.run_until_cancelled_owned(ended).await;
        });
    }

    /// Waits until the parts are to end: for the shutdown, or until one has ended before it. That
    /// is logged, and the others are then asked to end too.
    pub async fn until_stop(&mut self) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Some(ended) = self.parts.join_next_with_id() => {
                let name = self.name_of(&ended);
                match ended {
                    Ok(_) => tracing::error!(part = name, "a part of the service ended by itself"),
                    Err(error) => tracing::error!(part = name, %error, "a part of the service failed"),
                }
                self.stop.cancel();
            }
        }
    }

    /// Waits until every part has ended.
    pub async fn until_ended(&mut self) {
        while let Some(ended) = self.parts.join_next_with_id().await {
            let name = self.name_of(&ended);
            if let Err(error) = ended {
                tracing::error!(part = name, %error, "a part of the service failed");
            }
        }
    }

    fn name_of(&self, ended: &Result<(Id, ()), JoinError>) -> &'static str {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.names.get(&id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A supervisor with a part that waits to be stopped.
    fn supervisor(shutdown: &CancellationToken) -> Supervisor {
        let mut supervisor = Supervisor::new(shutdown);
        let stop = supervisor.stop();
        supervisor.start("patient", async move { stop.cancelled().await });
        supervisor
    }

    async fn ends(mut supervisor: Supervisor) {
        let end = async {
            supervisor.until_stop().await;
            supervisor.until_ended().await;
        };
        timeout(LIMIT, end).await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_panics_stops_the_others() {
        let shutdown = CancellationToken::new();
        let mut supervisor = supervisor(&shutdown);
        supervisor.start("broken", async { panic!("on purpose") });
        ends(supervisor).await;
        assert!(!shutdown.is_cancelled(), "that is not its to ask for");
    }

    #[tokio::test]
    async fn a_part_that_ends_too_early_stops_the_others() {
        let mut supervisor = supervisor(&CancellationToken::new());
        supervisor.start("lazy", async {});
        ends(supervisor).await;
    }

    #[tokio::test]
    async fn a_part_elsewhere_that_ends_stops_the_others() {
        let mut supervisor = supervisor(&CancellationToken::new());
        supervisor.watch("elsewhere", async {});
        ends(supervisor).await;
    }

    #[tokio::test]
    async fn the_shutdown_ends_all_of_them() {
        let shutdown = CancellationToken::new();
        let mut supervisor = supervisor(&shutdown);
        supervisor.watch("elsewhere", std::future::pending());
        shutdown.cancel();
        ends(supervisor).await;
    }
}
