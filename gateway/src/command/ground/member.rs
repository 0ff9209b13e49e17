//! One process on trial: a service, or all of them in one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pabal_gateway::trial::site::without_settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process may take until it says that it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a process may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(15);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(2);
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Where programs, configuration and logs are.
pub(crate) struct Setup<'a> {
    /// The folder of the programs.
    pub(crate) binaries: &'a Path,
    /// The configuration file of all.
    pub(crate) config: &'a Path,
    /// The folder of the logs.
    pub(crate) logs: &'a Path,
    /// Settings on top of the file's, as `--set` takes them.
    pub(crate) settings: &'a [(String, String)],
}

/// One process, whichever it is at the moment.
pub(crate) struct Member {
    /// `sender-2`.
    pub(crate) name: String,
    /// `sender`.
    pub(crate) role: &'static str,
    /// Its HTTP address.
    pub(crate) base: String,
    /// Its log, over all starts.
    pub(crate) log: PathBuf,
    binary: PathBuf,
    arguments: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// Whether it should run: it has been started, and not stopped since.
    wanted: bool,
    /// How it ended, each time.
    ends: Vec<String>,
}

impl Member {
    /// A service with a program of its own, which listens on this port; it does not run yet.
    pub(crate) fn service(setup: &Setup<'_>, role: &'static str, number: usize, port: u16) -> Self {
        let name = format!("{role}-{number}");
        Self::new(setup, role, name, &format!("pabal-{role}"), &[], port)
    }

    /// `pabal serve`, every service in one process, which listens on this port; it does not run yet.
    pub(crate) fn whole(setup: &Setup<'_>, port: u16) -> Self {
        Self::new(setup, "pabal", "pabal".into(), "pabal", &["serve"], port)
    }

    fn new(
        setup: &Setup<'_>,
        role: &'static str,
        name: String,
        program: &str,
        command: &[&str],
        port: u16,
    ) -> Self {
        let address = format!("127.0.0.1:{port}");
        let config = setup.config.display().to_string();
        let mut arguments = vec!["--config".to_owned(), config];
        let own = ("http.address".to_owned(), address.clone());
        for (key, value) in setup.settings.iter().chain([&own]) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        arguments.extend(command.iter().map(|&word| word.to_owned()));
        Self {
            role,
            base: format!("http://{address}"),
            log: setup.logs.join(format!("{name}.log")),
            binary: setup.binaries.join(program),
            arguments,
            state: Mutex::default(),
            name,
        }
    }

    /// Starts it; it is wanted from now on.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        self.state().wanted = true;
        self.start_again()
    }

    /// Starts it if it is wanted and does not run.
    pub(super) fn start_again(&self) -> anyhow::Result<()> {
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
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER)
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
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
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

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended last, if it has.
    pub(crate) fn last_end(&self) -> Option<String> {
        self.state().ends.last().cloned()
    }

    /// The number of its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.state().child.as_ref().and_then(Child::id)
    }

    /// The end of its log.
    pub(crate) fn log_end(&self) -> String {
        const LINES: usize = 12;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Whether it runs no longer though it should; notes how it ended.
    pub(crate) fn has_ended(&self) -> bool {
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
        let pid = self.pid();
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
