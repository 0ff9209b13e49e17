//! What is started to be measured: the gateway with the product's own settings, as one process or as
//! one process a service on private servers; and the simulated vendors, in this process.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use pabal_gateway::trial::site::{Program, Site};
use pabal_simulator::{Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

use super::Setting;
use crate::command::bench::measure::meter::Watched;
use crate::command::bench::order::Place;
use crate::command::bench::report::progress::Progress;
use crate::command::bench::witness::Witness;
use crate::command::ground::cluster::Cluster;
use crate::command::ground::configuration::{self, Speed};
use crate::command::ground::member;
use crate::command::ground::parts::{Part, Parts, ledger_url};
use crate::command::ground::{binaries, free_ports};

/// One process of each service, in the order of the flow.
const SERVICES: [(&str, usize); 4] = [
    ("receiver", 1),
    ("sender", 1),
    ("reporter", 1),
    ("webhook-receiver", 1),
];
/// The ledger's buffer pool: most of what a run writes stays in it.
const BUFFER_POOL: &str = "1G";
/// Where the one process keeps all it has, and its ledger there.
const DATA: &str = "data";
const LEDGER: &str = "pabal.db";
/// So many messages a second that the routes are not what limits.
const UNLIMITED: u32 = 100_000;
/// Calls at once on each route.
const CALLS: u32 = 64;

/// The installation that is measured.
pub(in crate::command::bench) struct House {
    /// The gateway's processes.
    pub(in crate::command::bench) cluster: Cluster,
    /// The vendors.
    pub(in crate::command::bench) simulator: Simulator,
    /// The gateway's commands.
    pub(in crate::command::bench) program: Program,
    /// A partner's ordinary way to the gateway.
    pub(in crate::command::bench) client: reqwest::Client,
    /// The private servers, if there are any.
    pub(in crate::command::bench) parts: Option<Parts>,
    /// What it all is, in words.
    pub(in crate::command::bench) said: Vec<String>,
    /// Where the one process keeps all it has.
    data: PathBuf,
    servers: Vec<Watched>,
}

impl House {
    /// Starts everything; `witness` sees what the vendors do.
    pub(super) async fn start(
        place: &Place,
        setting: &Setting<'_>,
        witness: Arc<Witness>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(setting.folder)?;
        let embedded = matches!(place, Place::Embedded);
        let (parts, servers, mut said) = match embedded {
            true => (None, Vec::new(), vec![EMBEDDED.to_owned()]),
            false => servers(setting).await?,
        };
        if let Some(tps) = setting.tps {
            said.push(format!(
                "each route carries at most {tps} messages a second"
            ));
        }
        let binaries = binaries_of(embedded)?;
        let config = setting.folder.join("pabal.toml");
        let on_top: Vec<_> = owned(setting.needs.settings)
            .chain(setting.settings.iter().cloned())
            .collect();
        let setup = member::Setup {
            binaries: &binaries,
            config: &config,
            logs: setting.folder,
            settings: &on_top,
        };
        let cluster = cluster(&setup, embedded)?;
        let simulator = SimulatorConfig {
            callback_base: cluster.bases("webhook-receiver").first().cloned(),
            control: None,
            observer: Some(witness),
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(simulator, CancellationToken::new()).await?;
        let text = text(setting, parts.as_ref(), &simulator)?;
        std::fs::write(&config, text)?;
        let program = Program {
            binary: std::env::current_exe()?,
            config,
        };
        let started = Self {
            cluster,
            simulator,
            program,
            client: Site::client()?,
            parts,
            said,
            data: setting.folder.join(DATA),
            servers,
        };
        started.open(setting.progress).await?;
        Ok(started)
    }

    async fn open(&self, progress: Progress) -> anyhow::Result<()> {
        progress.say("starting the gateway");
        if self.parts.is_some() {
            let migrated = self.program.run(&["migrate"])?;
            let said = String::from_utf8_lossy(&migrated.stderr);
            ensure!(migrated.status.success(), "pabal migrate: {said}");
        }
        self.cluster.start().await
    }

    /// The ledger of the one process.
    pub(in crate::command::bench) fn ledger_file(&self) -> PathBuf {
        self.data.join(LEDGER)
    }

    /// Starts a service anew, with one more line of configuration, such as `sender.prefetch = 1`.
    pub(in crate::command::bench) async fn restart_with(
        &self,
        role: &str,
        line: &str,
    ) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&self.program.config)?;
        std::fs::write(&self.program.config, format!("{line}\n{text}"))?;
        for member in self.cluster.of(role) {
            member.stop().await?;
            member.start()?;
            member.ready().await?;
        }
        Ok(())
    }

    /// The processes of the gateway and of its servers.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let members = self.cluster.members.iter().filter_map(|member| {
            Some(Watched {
                name: member.name.clone(),
                pid: member.pid()?,
            })
        });
        members.chain(self.servers.iter().cloned()).collect()
    }

    /// What must not be: a process that has ended, books that do not agree, a panic.
    pub(super) async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let mut complaints = Vec::new();
        for member in &self.cluster.members {
            if member.has_ended() {
                let end = member.last_end().unwrap_or_default();
                complaints.push(format!(
                    "{} ended: {end}: {}",
                    member.name,
                    member.log_end()
                ));
            }
        }
        let program = self.program.clone();
        let reconciling = move || program.run(&["reconcile"]);
        let said = tokio::task::spawn_blocking(reconciling).await??;
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stdout);
            let error = String::from_utf8_lossy(&said.stderr);
            complaints.push(format!("pabal reconcile: {text} {error}"));
        }
        Ok(complaints)
    }

    /// Stops everything; what was wrong over all runs.
    pub(super) async fn strike(self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Err(error) = self.cluster.stop().await {
            complaints.push(format!("{error:#}"));
        }
        let twice = self.simulator.duplicates().len();
        if twice > 0 {
            let what = "were taken by a vendor more than once, over all runs";
            complaints.push(format!("{twice} {what}"));
        }
        if let Some(parts) = &self.parts {
            parts.end().await;
        }
        self.simulator.stop().await;
        complaints
    }
}

const EMBEDDED: &str =
    "one process; SQLite and queues in its own file, WAL, synced at each commit (synchronous=FULL)";

/// Every service in this very program; or the programs beside it.
fn binaries_of(embedded: bool) -> anyhow::Result<std::path::PathBuf> {
    if embedded {
        let own = std::env::current_exe()?;
        let folder = own.parent().context("no folder of programs")?;
        return Ok(folder.to_path_buf());
    }
    binaries()
}

fn cluster(setup: &member::Setup<'_>, embedded: bool) -> anyhow::Result<Cluster> {
    if embedded {
        let ports = free_ports(1)?;
        return Ok(Cluster::of_one(setup, ports[0]));
    }
    let ports = free_ports(SERVICES.iter().map(|(_, count)| count).sum())?;
    Ok(Cluster::of_services(setup, &SERVICES, &ports))
}

/// The configuration: the product's own settings, but for where things are, and webhooks that may come
/// back to this machine.
fn text(
    setting: &Setting<'_>,
    parts: Option<&Parts>,
    simulator: &Simulator,
) -> anyhow::Result<String> {
    let data = setting.folder.join(DATA);
    let mut text = format!(
        "data.folder = \"{}\"\nlog.format = \"human\"\nwebhooks.allow_loopback = true\n",
        data.display()
    );
    if let Some(parts) = parts {
        text += &configuration::servers(
            &ledger_url(parts.place(Part::Mysql)?),
            parts.url(Part::Rabbit),
            parts.url(Part::Redis),
        );
    }
    let speed = Speed {
        tps: setting.tps.unwrap_or(UNLIMITED),
        concurrency: CALLS,
    };
    Ok(text + &configuration::vendors(simulator, speed))
}

type Servers = (Option<Parts>, Vec<Watched>, Vec<String>);

/// Starts private servers; which they are, and what they keep.
async fn servers(setting: &Setting<'_>) -> anyhow::Result<Servers> {
    setting
        .progress
        .say("starting a database, a broker and Redis");
    let parts = Parts::start(setting.script, &setting.folder.join("parts"), BUFFER_POOL).await?;
    parts.create_schema().await?;
    let ledger = parts
        .sql(
            "SELECT CONCAT(@@version, ': innodb_flush_log_at_trx_commit=', \
             @@innodb_flush_log_at_trx_commit, ', buffer pool ', \
             @@innodb_buffer_pool_size DIV 1048576, ' MiB, log_bin=', @@log_bin)",
        )
        .await?;
    let broker = parts.client(Part::Rabbit, &["version"]).await?;
    let quota = parts.client(Part::Redis, &["INFO", "server"]).await?;
    let quota = quota
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or_default();
    let family = match ledger.contains("MariaDB") {
        true => "MariaDB",
        false => "MySQL",
    };
    let said = vec![
        "one process a service: receiver, sender, reporter, webhook-receiver".to_owned(),
        format!("{family} {}", ledger.trim()),
        format!(
            "RabbitMQ {}: quorum queues, every publish confirmed",
            broker.trim()
        ),
        format!("Redis {}: limits alone, nothing is kept", quota.trim()),
    ];
    let mut watched = Vec::new();
    for (name, part) in [
        (family, Part::Mysql),
        ("RabbitMQ", Part::Rabbit),
        ("Redis", Part::Redis),
    ] {
        watched.push(Watched {
            name: name.to_owned(),
            pid: parts.pid(part).await?,
        });
    }
    Ok((Some(parts), watched, said))
}

fn owned<'a>(
    settings: &'a [(&'static str, &'static str)],
) -> impl Iterator<Item = (String, String)> + 'a {
    let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    settings.iter().map(own)
}
