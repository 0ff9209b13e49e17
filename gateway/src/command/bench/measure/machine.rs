//! What the figures were measured on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::timing::{PERCENTILES, Timing};
use crate::command::ground::process::kib;

/// How many appends are synced to learn what the disk takes for one.
const SYNCS: usize = 50;
/// How much each appends, in bytes.
const BLOCK: usize = 4 << 10;

/// The machine, and the disk on which the data is.
pub(in crate::command::bench) struct Machine {
    cores: usize,
    /// In MiB.
    memory: u64,
    kernel: String,
    syncs: Timing,
}

impl Machine {
    /// Looks at the machine, and at the disk under `folder`.
    pub(in crate::command::bench) fn look(folder: &Path) -> io::Result<Self> {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib(&memory, "MemTotal:").unwrap_or(0) / 1024,
            kernel: kernel.trim().to_owned(),
            syncs: syncs(folder)?,
        })
    }

    /// For the JSON.
    pub(in crate::command::bench) fn json(&self) -> Value {
        let sync = PERCENTILES.map(|(name, at)| (name.to_owned(), json!(self.syncs.millis(at))));
        json!({
            "cores": self.cores,
            "memoryMiB": self.memory,
            "kernel": self.kernel,
            "syncMillis": sync.into_iter().collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cores, {} MiB, Linux {}, a synced append takes {:.2} ms (p99 {:.2} ms)",
            self.cores,
            self.memory,
            self.kernel,
            self.syncs.millis(50.0),
            self.syncs.millis(99.0),
        )
    }
}

/// How long it takes until an append is on disk.
fn syncs(folder: &Path) -> io::Result<Timing> {
    let path = folder.join("synced");
    let mut file = File::create(&path)?;
    let block = [0x5a; BLOCK];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&block)?;
        file.sync_all()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Timing::of("sync", times))
}
