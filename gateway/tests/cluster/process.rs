//! A service as a process of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pabal_gateway::trial::site::without_settings;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{PATIENCE, until};

/// The program of a service, or `pabal` itself: all are in one folder.
///
/// # Panics
/// If it was not built.
pub(crate) fn binary(program: &str) -> PathBuf {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_pabal"));
    let wanted = own.with_file_name(program);
    assert!(
        wanted.exists(),
        "{} is missing: these tests run every program, build them all with `cargo build --workspace`",
        wanted.display()
    );
    wanted
}

/// A program with these arguments, and nothing of the test's own settings.
pub(crate) fn command(program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(binary(program));
    without_settings(&mut command);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A running service; killed when dropped.
pub(crate) struct Process {
    /// Its HTTP address.
    pub(crate) base: String,
    /// Its log, over all starts.
    pub(crate) log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program whose output goes into a file.
    pub(crate) fn start(mut command: Command, base: String, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log);
        let file = file.unwrap();
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { base, log, child }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let begun = Instant::now();
        while self.readiness().await != Some(200) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "it ended by itself: {status} (if it does not fit the others: they are built \
                     together by `cargo build --workspace`)\n{}",
                    self.said()
                );
            }
            assert!(begun.elapsed() < PATIENCE, "not ready:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What `/readyz` answers, if it answers.
    pub(crate) async fn readiness(&self) -> Option<u16> {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.timeout(Duration::from_secs(2)).build().unwrap();
        let answer = client.get(format!("{}/readyz", self.base)).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: time goes on, the process does not.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; the exit code, or nothing if a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let log = self.log.clone();
        let what = format!("the end of the process that writes {}", log.display());
        until(&what, async || self.end()).await.code()
    }

    /// SIGTERM, and its end, which must be a good one.
    pub(crate) async fn stop(&mut self) {
        self.ask_to_stop();
        assert_eq!(self.ended().await, Some(0), "{}", self.said());
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has logged something that contains `word`.
    pub(crate) async fn says(&self, word: &str) {
        let log = self.log.display();
        until(&format!("{word:?} in {log}"), async || {
            self.said().contains(word).then_some(())
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
