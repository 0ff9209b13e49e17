//! A service's own program, run as an orchestrator runs it. Each service's tests include this file.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One file for the whole cluster: settings of every service, accounts and routes.
const CLUSTER: &str = r#"
    [receiver]
    batch_items = 500
    [auth]
    logins_at_once = 1
    [sender]
    call_limit = "20s"
    [webhook_receiver]
    poll_interval = "2s"
    [reporter]
    call_limit = "20s"
    [webhooks]
    allow_http = true
    [query]
    per_second = 50
    [simulator]
    enabled = false

    [[account]]
    protocol = "carrier"
    name = "main"
    base_url = "http://127.0.0.1:7001"
    api_key = "simulator-key"
    callback_secret = "simulator-secret"

    [[route]]
    name = "sms"
    account = "carrier/main"
    kinds = ["SMS"]
    tps = 100
    concurrency = 4
"#;

pub(crate) struct Program {
    path: &'static str,
    folder: tempfile::TempDir,
}

impl Program {
    /// The program at `path`, in a folder of its own.
    pub(crate) fn new(path: &'static str) -> Self {
        Self {
            path,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, settings: &[&str]) -> Command {
        let mut command = Command::new(self.path);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PABAL_")) {
            command.env_remove(name);
        }
        let file = self.folder.path().join("pabal.toml");
        std::fs::write(&file, CLUSTER).unwrap();
        let data = format!("data.folder={}", self.folder.path().display());
        let own = [data.as_str(), "http.address=127.0.0.1:0"];
        command.arg("--config").arg(file).stdin(Stdio::null());
        for setting in own.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        command
    }

    fn run(&self, settings: &[&str]) -> Output {
        self.command(settings).output().unwrap()
    }

    /// It ends as wrong use, and says all of `words`.
    #[track_caller]
    fn refuses(&self, settings: &[&str], words: &[&str]) {
        let output = self.run(settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }

    /// On the embedded ledger it ends at once, and names both remedies.
    pub(crate) fn refuses_the_embedded_ledger(&self) {
        let words = ["one process owns its data folder", "`pabal`", "ledger.url"];
        self.refuses(&[], &words);
        let left = std::fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(left, 1, "it made nothing beside its configuration file");
    }

    /// A setting that no service has, and back-ends that do not go together, are wrong use.
    pub(crate) fn refuses_settings_that_nobody_declares(&self) {
        let word = "http.adress (from --set) is not a setting; did you mean http.address?";
        self.refuses(&["http.adress=127.0.0.1:1"], &[word]);
        let ledger = "ledger.url=mysql://pabal:hunter2@127.0.0.1:1/pabal";
        self.refuses(&[ledger], &["ledger.url", "but broker.url is not"]);
    }

    /// With servers that are away it says once what it waits for, and ends well at a signal.
    pub(crate) fn waits_for_its_ledger_until_a_signal(&self) {
        let port = free_port();
        let ledger = format!("ledger.url=mysql://pabal:hunter2@127.0.0.1:{port}/pabal");
        let broker = format!("broker.url=amqp://pabal:hunter2@127.0.0.1:{port}/%2f");
        let mut command = self.command(&[&ledger, &broker, "log.format=json"]);
        let mut child = Killed(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut err = BufReader::new(child.0.stderr.take().unwrap());
        let waits = format!("waiting for the ledger at 127.0.0.1:{port}: ");
        let mut said = String::new();
        while !said.contains(&waits) {
            let read = err.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended: {said}");
        }
        let pid = Pid::from_raw(child.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = child.0.wait().unwrap();
        err.read_to_string(&mut said).unwrap();
        assert_eq!(ended.code(), Some(0), "{said}");
        assert_eq!(said.matches(&waits).count(), 1, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// A port where nothing listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
