//! The memory of processes, looked at again and again while something happens.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::meter::Watched;
use crate::command::ground::process;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// The resident memory of one process over time.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Trace {
    /// The process.
    pub(in crate::command::bench) name: String,
    /// How long after the beginning, and how many MiB.
    pub(in crate::command::bench) points: Vec<(Duration, f64)>,
}

/// Looks until it is stopped or dropped.
pub(in crate::command::bench) struct Tracer {
    looking: JoinHandle<Vec<Trace>>,
    until: DropGuard,
}

impl Tracer {
    /// Begins to look at these.
    pub(in crate::command::bench) fn start(processes: Vec<Watched>) -> Self {
        let over = CancellationToken::new();
        let until = over.clone().drop_guard();
        Self {
            looking: tokio::spawn(look(processes, over)),
            until,
        }
    }

    /// What was seen.
    pub(in crate::command::bench) async fn stop(self) -> anyhow::Result<Vec<Trace>> {
        drop(self.until);
        Ok(self.looking.await?)
    }
}

/// The last look is at the end.
async fn look(processes: Vec<Watched>, over: CancellationToken) -> Vec<Trace> {
    let begun = Instant::now();
    let mut seen = vec![Vec::new(); processes.len()];
    let mut turns = tokio::time::interval(EVERY);
    loop {
        let goes_on = over.run_until_cancelled(turns.tick()).await.is_some();
        for (points, one) in seen.iter_mut().zip(&processes) {
            // A process that has ended has no memory.
            let now = process::read(one.pid);
            points.extend(now.map(|now| (begun.elapsed(), now.resident as f64 / 1024.0)));
        }
        if !goes_on {
            break;
        }
    }
    let names = processes.into_iter().map(|one| one.name);
    let traces = names.zip(seen);
    traces
        .map(|(name, points)| Trace { name, points })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_looked_at_in_the_beginning_and_in_the_end() {
        let own = Watched {
            name: "own".to_owned(),
            pid: std::process::id(),
        };
        let traces = Tracer::start(vec![own]).stop().await.unwrap();
        let [own] = &traces[..] else {
            panic!("{traces:?}");
        };
        assert!(!own.points.is_empty());
        assert!(own.points.iter().all(|(_, mib)| *mib > 0.0));
    }
}
