//! A peer's processes, started and stopped by its script as `bench/peers/README.md` describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::Peer;

/// How long a start may take: the first one may have to install the peer.
const START: Duration = Duration::from_secs(1_200);
const STOP: Duration = Duration::from_secs(120);
/// How long after it took a message the SMSC reports, in milliseconds: as Pabal's simulated vendors.
const REPORT_AFTER: &str = "50";

/// A peer's processes, until they are ended or dropped.
pub(super) struct Processes {
    script: PathBuf,
    state: PathBuf,
    ended: AtomicBool,
}

/// What the script says of a peer that has started.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) accept: Accept,
    pub(super) callback: Callback,
    /// URL of what the SMSC counted.
    pub(super) counts: String,
    /// Name and number of each process.
    pub(super) processes: BTreeMap<String, u32>,
    pub(super) version: String,
}

/// The request for one message.
#[derive(Debug, Deserialize)]
pub(super) struct Accept {
    method: String,
    url: String,
    /// The status that means accepted.
    pub(super) status: u16,
}

/// How the report of a message comes.
#[derive(Debug, Deserialize)]
pub(super) struct Callback {
    /// What the body of the answer has to be.
    pub(super) answer: String,
}

/// What the SMSC counted since it started.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Counts {
    /// Messages it took.
    pub(super) submits: usize,
    /// Of them, how many differed in number or text; unknown beyond what it remembers.
    pub(super) distinct: Option<usize>,
}

impl Processes {
    /// What will be started in the folder `state`. From here on it is stopped when dropped, so that
    /// nothing is left of a start that fails.
    pub(super) fn new(peer: Peer, scripts: &Path, state: &Path) -> Self {
        Self {
            script: peer.script(scripts),
            state: state.to_path_buf(),
            ended: AtomicBool::new(false),
        }
    }

    /// Starts it; `callback` is where reports are brought, if it brings any.
    pub(super) async fn start(&self, reports: bool, callback: &str) -> anyhow::Result<Said> {
        let state = self.state.display().to_string();
        let reports = if reports { "on" } else { "off" };
        let words = [
            "start",
            "--state",
            &state,
            "--reports",
            reports,
            "--callback",
            callback,
            "--report-after",
            REPORT_AFTER,
        ];
        let said = run(&self.script, &words, START).await?;
        serde_json::from_str(&said).with_context(|| format!("the peer's script said: {said}"))
    }

    /// Stops it, as its script does.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        let state = self.state.display().to_string();
        run(&self.script, &["stop", "--state", &state], STOP).await?;
        self.ended.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Processes {
    /// What is left behind by a failure or a signal is stopped too; nobody is there to wait.
    fn drop(&mut self) {
        if self.ended.load(Ordering::SeqCst) {
            return;
        }
        let mut command = std::process::Command::new(&self.script);
        command.args(["stop", "--state"]).arg(&self.state);
        let _ = command.stdin(Stdio::null()).output();
    }
}

impl Accept {
    /// Where the request goes, `http://host:port`, and the template of its path and query.
    pub(super) fn parts(&self) -> anyhow::Result<(&str, &str)> {
        ensure!(self.method == "GET", "{} is not GET", self.method);
        let after_scheme = self.url.strip_prefix("http://");
        let path = after_scheme.and_then(|rest| rest.find('/'));
        let path = path.with_context(|| format!("{} is not http://host:port/path", self.url))?;
        Ok(self.url.split_at("http://".len() + path))
    }
}

/// Runs the script to its end; what it printed.
async fn run(script: &Path, words: &[&str], patience: Duration) -> anyhow::Result<String> {
    let mut command = Command::new(script);
    command
        .args(words)
        .stdin(Stdio::null())
        // What a terminal interrupts must not leave a peer half started.
        .process_group(0)
        .kill_on_drop(true);
    let what = || format!("{} {}", script.display(), words[0]);
    let Ok(output) = tokio::time::timeout(patience, command.output()).await else {
        bail!("{} takes longer than {patience:?}", what());
    };
    let output = output.with_context(what)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", what());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = r#"{"accept": {"method": "GET",
        "url": "http://127.0.0.1:4711/send?to={to}&text={text}", "status": 202},
        "callback": {"method": "POST", "answer": "ACK/Jasmin"},
        "counts": "http://127.0.0.1:4712/counts", "processes": {"smsc": 7, "smsbox": 8},
        "version": "1.4.5"}"#;

    #[test]
    fn what_a_script_says_is_read() {
        let said: Said = serde_json::from_str(SAID).unwrap();
        let (base, template) = said.accept.parts().unwrap();
        assert_eq!(base, "http://127.0.0.1:4711");
        assert_eq!(template, "/send?to={to}&text={text}");
        assert_eq!(said.accept.status, 202);
        assert_eq!(said.callback.answer, "ACK/Jasmin");
        assert_eq!(said.processes["smsbox"], 8);
    }

    #[test]
    fn a_request_that_the_generator_cannot_make_is_refused() {
        let accept = |method: &str, url: &str| Accept {
            method: method.to_owned(),
            url: url.to_owned(),
            status: 202,
        };
        for (method, url) in [
            ("POST", "http://127.0.0.1:1/send"),
            ("GET", "https://127.0.0.1:1/send"),
            ("GET", "http://127.0.0.1:1"),
        ] {
            assert!(accept(method, url).parts().is_err(), "{method} {url}");
        }
    }
}
