//! Everything a fault happens to: private back-ends, the services, the vendors, and a folder that
//! holds it all.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use pabal_gateway::trial::books::Others;
use pabal_gateway::trial::site::{Program, Site};
use pabal_simulator::{Pace, Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

use super::ways::{Ways, through};
use crate::command::ground::cluster::{Cluster, Keeper};
use crate::command::ground::configuration::{self, Speed};
use crate::command::ground::member::Setup;
use crate::command::ground::parts::{Part, Parts, ledger_url};
use crate::command::ground::{binaries, free_ports, process};

/// How many of each service there are.
const SERVICES: [(&str, usize); 4] = [
    ("receiver", 2),
    ("sender", 2),
    ("reporter", 2),
    ("webhook-receiver", 1),
];
/// Small enough for a busy machine: the load is light.
const BUFFER_POOL: &str = "128M";
const SPEED: Speed = Speed {
    tps: 2000,
    concurrency: 32,
};

/// Everything that runs.
pub(super) struct Stage {
    /// The back-ends.
    pub(super) parts: Parts,
    /// The ways to them.
    pub(super) ways: Ways,
    /// The services.
    pub(super) cluster: Cluster,
    /// What surrounds them.
    pub(super) site: Site,
    /// Where it all is.
    pub(super) folder: PathBuf,
    /// Messages of the trials so far.
    others: Mutex<Others>,
    _keeper: Keeper,
}

impl Stage {
    /// Starts everything in `folder`. A message whose outcome is in doubt is given up after `deadline`.
    pub(super) async fn set(
        script: &Path,
        folder: &Path,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let parts = Parts::start(script, &folder.join("parts"), BUFFER_POOL).await?;
        parts.create_schema().await?;
        let ways = Ways::to(&parts).await?;
        let ports = free_ports(SERVICES.iter().map(|(_, count)| count).sum())?;
        let binaries = binaries()?;
        let config = folder.join("pabal.toml");
        let setup = Setup {
            binaries: &binaries,
            config: &config,
            logs: folder,
            settings: &[],
        };
        let cluster = Cluster::of_services(&setup, &SERVICES, &ports);
        let callbacks = cluster.bases("webhook-receiver");
        let simulator = SimulatorConfig {
            callback_base: callbacks.first().cloned(),
            pace: Pace {
                late_report: Duration::from_secs(2),
                callback_retry_max: Duration::from_secs(1),
                ..Pace::default()
            },
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(simulator, CancellationToken::new()).await?;
        let servers = servers(&parts, &ways)?;
        let text =
            settings(folder, deadline) + &servers + &configuration::vendors(&simulator, SPEED);
        std::fs::write(&config, text)?;
        let site = Site {
            receivers: cluster.bases("receiver"),
            reporters: cluster.bases("reporter"),
            client: Site::client()?,
            simulator: Arc::new(simulator),
            program: Program {
                binary: binaries.join("pabal"),
                config,
            },
            logs: cluster.members.iter().map(|one| one.log.clone()).collect(),
        };
        let migrated = site.program.run(&["migrate"])?;
        let said = String::from_utf8_lossy(&migrated.stderr);
        ensure!(migrated.status.success(), "pabal migrate: {said}");
        let keeper = cluster.keep();
        cluster.start().await?;
        Ok(Self {
            parts,
            ways,
            cluster,
            site,
            folder: folder.to_path_buf(),
            others: Mutex::default(),
            _keeper: keeper,
        })
    }

    /// Messages of earlier trials, which the same vendors took.
    pub(super) fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most memory any service holds, in KiB.
    pub(super) fn memory(&self) -> u64 {
        let pids = self.cluster.members.iter().filter_map(|one| one.pid());
        let held = pids.filter_map(|pid| Some(process::read(pid)?.resident));
        held.max().unwrap_or(0)
    }

    /// Stops everything.
    pub(super) async fn strike(&self) {
        if let Err(error) = self.cluster.stop().await {
            eprintln!("{error:#}");
        }
        self.parts.end().await;
    }
}

/// The back-ends, through the ways that can be disturbed.
fn servers(parts: &Parts, ways: &Ways) -> anyhow::Result<String> {
    Ok(configuration::servers(
        &ledger_url(&ways.mysql.address().to_string()),
        &through(&ways.rabbit, parts, Part::Rabbit)?,
        &through(&ways.redis, parts, Part::Redis)?,
    ))
}

/// Settings as in earnest, but that doubt ends within a minute instead of a day.
fn settings(folder: &Path, deadline: Duration) -> String {
    let deadline = deadline.as_secs();
    let data = folder.join("data");
    let data = data.display();
    format!(
        r#"
data.folder = "{data}"
log.format = "human"
log.filter = "info"

[simulator]
enabled = false

[sender]
ask_after = "500ms"
ask_again = "2s"

[reporter]
sms_deadline = "{deadline}s"
report_deadline = "{deadline}s"
margin = "10s"
express_margin = "5s"
patrol_period = "500ms"
parked_period = "500ms"

[webhook_receiver]
poll_interval = "200ms"
poll_longest_pause = "1s"

[webhooks]
allow_loopback = true
timeout = "2s"
waits = "500ms,1s,2s,4s,5s,5s,5s,5s,5s,5s,10s,10s,10s,10s"

[query]
per_second = 100_000
"#
    )
}
