//! What a process has used so far, as `/proc` tells it.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Processor time of all its threads, in user and in system mode, since its start.
    pub(crate) cpu: Duration,
    /// Resident memory now, in KiB.
    pub(crate) resident: u64,
    /// The most resident memory since its start, in KiB.
    pub(crate) peak: u64,
}

/// Reads the process with this number, if there is one.
pub(crate) fn read(pid: u32) -> Option<Reading> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Reading {
        cpu: of_ticks(ticks(&stat)?),
        resident: kib(&status, "VmRSS:")?,
        peak: kib(&status, "VmHWM:")?,
    })
}

/// How many files this process, and what it starts, may have open.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lets this process, and what it starts, have as many open files as the system allows it.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = maximum;
    // Where it is not allowed the limit stays as it was, which `open_files` tells.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

/// User and system time of a line of `/proc/PID/stat`. The program's name, in parentheses, may hold
/// anything, so what follows the last one is counted.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The state is the third field of the line; utime and stime are the 14th and the 15th.
    let mut fields = after_name.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The number on one line of `/proc/PID/status` or `/proc/meminfo`, in KiB.
pub(crate) fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn of_ticks(ticks: u64) -> Duration {
    let second = clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_whatever_the_program_is_called() {
        for name in ["beam.smp", "a b", "x) R (y", "((("] {
            let stat = format!(
                "4242 ({name}) S 1 4242 4242 0 -1 4194304 900 0 3 0 123 45 6 7 20 0 21 0 8 9 10"
            );
            assert_eq!(ticks(&stat), Some(123 + 45), "{name}");
        }
    }

    #[test]
    fn a_line_that_is_cut_off_is_not_read() {
        for stat in [
            "",
            "4242",
            "4242 (x) S 1 4242 4242 0 -1 4194304 900 0 3 0 123",
        ] {
            assert_eq!(ticks(stat), None, "{stat}");
        }
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tpabal\nVmPeak:\t  999 kB\nVmHWM:\t   51234 kB\nVmRSS:\t   40000 kB\n";
        assert_eq!(kib(status, "VmHWM:"), Some(51_234));
        assert_eq!(kib(status, "VmRSS:"), Some(40_000));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_is_there_and_another_may_not_be() {
        let own = read(std::process::id()).unwrap();
        assert!(own.resident > 0);
        assert!(own.peak >= own.resident);
        assert_eq!(read(u32::MAX), None);
    }
}
