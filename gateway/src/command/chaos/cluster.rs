//! The services, each a process of its own, started again when they end, as whoever runs them would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pabal_gateway::trial::site::without_settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a service may take until it says that it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a service may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(15);
/// How soon a service that has ended is started again.
const RESTART: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(100);

/// How many of each there are.
const MEMBERS: [(&str, usize); 4] = [
    ("receiver", 2),
    ("sender", 2),
    ("reporter", 2),
    ("webhook-receiver", 1),
];

/// One service process, whichever it is at the moment.
pub(super) struct Member {
    /// `sender-2`.
    pub(super) name: String,
    role: &'static str,
    /// Its HTTP address.
    pub(super) base: String,
    /// Its log, over all starts.
    pub(super) log: PathBuf,
    binary: PathBuf,
    arguments: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// Whether it is started again when it ends.
    wanted: bool,
    /// How it ended, each time.
    ends: Vec<String>,
}

/// All of them.
pub(super) struct Cluster {
    /// The services, in the order of the flow.
    pub(super) members: Vec<Arc<Member>>,
    keeper: JoinHandle<()>,
}

impl Cluster {
    /// Services whose binaries are in `binaries`, with this configuration and these HTTP ports; none
    /// runs yet.
    pub(super) fn new(binaries: &Path, config: &Path, logs: &Path, ports: &[u16]) -> Self {
        let mut ports = ports.iter();
        let mut members = Vec::new();
        for (role, count) in MEMBERS {
            for (number, port) in (1..=count).zip(&mut ports) {
                let name = format!("{role}-{number}");
                let address = format!("127.0.0.1:{port}");
                let set = format!("http.address={address}");
                members.push(Arc::new(Member {
                    role,
                    base: format!("http://{address}"),
                    log: logs.join(format!("{name}.log")),
                    binary: binaries.join(format!("pabal-{role}")),
                    arguments: ["--config", &config.display().to_string(), "--set", &set]
                        .map(ToOwned::to_owned)
                        .into(),
                    state: Mutex::default(),
                    name,
                }));
            }
        }
        let keeper = tokio::spawn(keep(members.clone()));
        Self { members, keeper }
    }

    /// How many processes there are.
    pub(super) fn size() -> usize {
        MEMBERS.iter().map(|(_, count)| count).sum()
    }

    /// The processes of one service.
    pub(super) fn of(&self, role: &str) -> Vec<&Member> {
        let members = self.members.iter().map(AsRef::as_ref);
        members.filter(|member| member.role == role).collect()
    }

    /// Where the processes of one service listen.
    pub(super) fn bases(&self, role: &str) -> Vec<String> {
        let of = self.of(role);
        of.into_iter().map(|member| member.base.clone()).collect()
    }

    /// Starts every service and waits until it is ready.
    pub(super) async fn start(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.start()?;
        }
        self.ready().await
    }

    /// Waits until every service says that it is ready.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.ready().await?;
        }
        Ok(())
    }

    /// Asks every service to stop, in the order of the flow.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.stop().await?;
        }
        Ok(())
    }

    /// The most memory any of them holds, in KiB.
    pub(super) fn memory(&self) -> u64 {
        let held = self.members.iter().filter_map(|member| member.memory());
        held.max().unwrap_or(0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Starts again what has ended and is wanted.
async fn keep(members: Vec<Arc<Member>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for member in &members {
            if member.has_ended() {
                tokio::time::sleep(RESTART).await;
                if let Err(error) = member.start_again() {
                    eprintln!("{}: {error:#}", member.name);
                }
            }
        }
    }
}

impl Member {
    /// Starts it; it is wanted from now on.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        self.state().wanted = true;
        self.start_again()
    }

    fn start_again(&self) -> anyhow::Result<()> {
        let mut state = self.state();
        if !state.wanted || state.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = std::process::Command::new(&self.binary);
        without_settings(&mut command);
        let mut command = Command::from(command);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn();
        let child = child.with_context(|| format!("{} cannot start", self.binary.display()))?;
        state.child = Some(child);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()?;
        let begun = Instant::now();
        while begun.elapsed() < READY {
            let answer = client.get(format!("{}/readyz", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!(
            "{} is not ready within {READY:?}: {}",
            self.name,
            self.log_end()
        );
    }

    /// SIGTERM, and waits for its end; it is not started again. It must end well.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.state().wanted = false;
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if self.has_ended() || self.state().child.is_none() {
                let ends = self.state().ends.last().cloned().unwrap_or_default();
                ensure!(
                    ends.is_empty() || ends == "exit status: 0",
                    "{} was asked to stop and ended with {ends}: {}",
                    self.name,
                    self.log_end()
                );
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("{} does not stop within {STOP:?}", self.name);
    }

    /// SIGKILL; it is started again.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP.
    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended last, if it has.
    pub(super) fn last_end(&self) -> Option<String> {
        self.state().ends.last().cloned()
    }

    /// The end of its log.
    pub(super) fn log_end(&self) -> String {
        const LINES: usize = 12;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn memory(&self) -> Option<u64> {
        let pid = self.state().child.as_ref()?.id()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Whether it runs no longer; notes how it ended.
    fn has_ended(&self) -> bool {
        let mut state = self.state();
        let Some(child) = &mut state.child else {
            return state.wanted;
        };
        let Ok(Some(status)) = child.try_wait() else {
            return false;
        };
        state.child = None;
        state.ends.push(status.to_string());
        true
    }

    fn signal(&self, signal: Signal) {
        let pid = self.state().child.as_ref().and_then(Child::id);
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have ended by itself in this moment.
            let _ = kill_process(pid, signal);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
