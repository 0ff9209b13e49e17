//! Everything a fault happens to: private back-ends, the services, the vendors, and a folder that
//! holds it all.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use pabal_gateway::trial::books::Others;
use pabal_gateway::trial::site::{Program, Site};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::parts::Parts;

/// The schema at the private ledger.
pub(super) const SCHEMA: &str = "pabal";
/// The user the services log in as: without the rights of an administrator, so that a read-only
/// server is read-only for it.
const USER: &str = "pabal";

/// Everything that runs.
pub(super) struct Stage {
    /// The back-ends.
    pub(super) parts: Parts,
    /// The services.
    pub(super) cluster: Cluster,
    /// What surrounds them.
    pub(super) site: Site,
    /// Where it all is.
    pub(super) folder: PathBuf,
    /// Messages of the trials so far.
    others: Mutex<Others>,
}

impl Stage {
    /// Starts everything in `folder`. A message whose outcome is in doubt is given up after `deadline`.
    pub(super) async fn set(
        script: &Path,
        folder: &Path,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let parts = Parts::start(script, &folder.join("parts")).await?;
        parts
            .sql(&format!(
                "CREATE DATABASE IF NOT EXISTS {SCHEMA}; \
                 CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{USER}'; \
                 CREATE USER IF NOT EXISTS '{USER}'@'localhost' IDENTIFIED BY '{USER}'; \
                 GRANT ALL ON {SCHEMA}.* TO '{USER}'@'%'; \
                 GRANT ALL ON {SCHEMA}.* TO '{USER}'@'localhost'"
            ))
            .await?;
        let ports = free_ports(Cluster::size())?;
        let binaries = binaries()?;
        let config = folder.join("pabal.toml");
        let cluster = Cluster::new(&binaries, &config, folder, &ports);
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
        std::fs::write(&config, configuration(&parts, &simulator, folder, deadline))?;
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
        cluster.start().await?;
        Ok(Self {
            parts,
            cluster,
            site,
            folder: folder.to_path_buf(),
            others: Mutex::default(),
        })
    }

    /// Messages of earlier trials, which the same vendors took.
    pub(super) fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops everything.
    pub(super) async fn strike(&self) {
        if let Err(error) = self.cluster.stop().await {
            eprintln!("{error:#}");
        }
        self.parts.end().await;
    }
}

/// The folder of this program, in which the others are, too.
fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no folder of programs")?;
    let wanted = folder.join("pabal-sender");
    ensure!(
        wanted.exists(),
        "{} is missing: build every program first, with `cargo build --release --workspace`",
        wanted.display()
    );
    Ok(folder.to_path_buf())
}

/// Ports that stay free while nothing listens: below those the system lends to clients.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..1000 {
        if held.len() == count {
            break;
        }
        held.extend(TcpListener::bind((
            "127.0.0.1",
            fastrand::u16(12_000..32_000),
        )));
    }
    ensure!(held.len() == count, "there are not enough free ports");
    let ports = held.iter().map(TcpListener::local_addr);
    ports.map(|address| Ok(address?.port())).collect()
}

/// Settings as in earnest, but that doubt ends within a minute instead of a day.
fn configuration(
    parts: &Parts,
    simulator: &Simulator,
    folder: &Path,
    deadline: Duration,
) -> String {
    let deadline = deadline.as_secs();
    let ledger = parts.mysql.url();
    let ledger = match ledger.split_once('@') {
        Some((_, place)) => place,
        None => ledger.trim_start_matches("mysql://"),
    };
    let ledger = ledger.split('/').next().unwrap_or(ledger);
    let (broker, quota) = (parts.rabbit.url(), parts.redis.url());
    let data = folder.join("data");
    let data = data.display();
    let mut text = format!(
        r#"
data.folder = "{data}"
log.format = "human"
log.filter = "info"

[ledger]
url = "mysql://{USER}:{USER}@{ledger}/{SCHEMA}"

[broker]
url = "{broker}"

[quota]
url = "{quota}"

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
    );
    for (family, kinds) in [
        (Family::Carrier, r#""SMS", "LMS", "MMS""#),
        (Family::Rcshub, r#""RCS""#),
        (Family::Kakao, r#""KAKAO_ALIMTALK", "KAKAO_BRAND_MESSAGE""#),
        (Family::Talk, r#""NAVER_TALK""#),
    ] {
        let url = simulator.base_url(family);
        let _ = write!(
            text,
            r#"
[[account]]
protocol = "{family}"
name = "main"
base_url = "{url}"
api_key = "simulator-key"
callback_secret = "simulator-secret"

[[route]]
name = "{family}"
account = "{family}/main"
kinds = [{kinds}]
tps = 2000
concurrency = 32
"#
        );
    }
    text
}
