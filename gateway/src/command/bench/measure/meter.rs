//! What each process used during a run.

use std::time::{Duration, Instant};

use crate::command::ground::process::{self, Reading};

/// A process that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command::bench) struct Watched {
    /// What it is called in tables.
    pub(in crate::command::bench) name: String,
    /// Its number.
    pub(in crate::command::bench) pid: u32,
}

/// What a process used from the beginning of a run to its end.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Usage {
    /// The process.
    pub(in crate::command::bench) name: String,
    /// Processor time.
    pub(in crate::command::bench) cpu: Duration,
    /// How long the run was.
    pub(in crate::command::bench) wall: Duration,
    /// Resident memory at the end, in KiB.
    pub(in crate::command::bench) resident: u64,
    /// The most resident memory since the process started, in KiB.
    pub(in crate::command::bench) peak: u64,
}

/// Watches processes from its start to its end.
pub(in crate::command::bench) struct Meter {
    before: Vec<(Watched, Reading)>,
    begun: Instant,
}

impl Meter {
    /// Reads every process that is there.
    pub(in crate::command::bench) fn start(processes: Vec<Watched>) -> Self {
        let read = |one: Watched| process::read(one.pid).map(|reading| (one, reading));
        Self {
            before: processes.into_iter().filter_map(read).collect(),
            begun: Instant::now(),
        }
    }

    /// Reads them again. A process that has ended since is left out.
    pub(in crate::command::bench) fn stop(self) -> Vec<Usage> {
        let wall = self.begun.elapsed();
        let usage = |(one, before): (Watched, Reading)| {
            let now = process::read(one.pid)?;
            Some(Usage {
                name: one.name,
                cpu: now.cpu.saturating_sub(before.cpu),
                wall,
                resident: now.resident,
                peak: now.peak,
            })
        };
        self.before.into_iter().filter_map(usage).collect()
    }
}

impl Usage {
    /// Seconds of processor time for a thousand messages.
    pub(in crate::command::bench) fn per_thousand(&self, messages: usize) -> f64 {
        self.cpu.as_secs_f64() * 1000.0 / (messages.max(1) as f64)
    }

    /// The part of one processor it used, in percent.
    pub(in crate::command::bench) fn percent(&self) -> f64 {
        self.cpu.as_secs_f64() * 100.0 / self.wall.as_secs_f64().max(f64::EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_by_the_thousand_and_by_the_core() {
        let usage = Usage {
            name: "x".to_owned(),
            cpu: Duration::from_millis(500),
            wall: Duration::from_secs(2),
            resident: 0,
            peak: 0,
        };
        assert!((usage.per_thousand(10_000) - 0.05).abs() < 1e-9);
        assert!((usage.percent() - 25.0).abs() < 1e-9);
    }

    #[test]
    fn only_processes_that_are_there_are_measured() {
        let watched = |name: &str, pid| Watched {
            name: name.to_owned(),
            pid,
        };
        let own = watched("own", std::process::id());
        let usage = Meter::start(vec![own, watched("none", u32::MAX)]).stop();
        let names: Vec<_> = usage.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["own"]);
    }
}
