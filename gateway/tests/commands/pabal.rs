//! The real program on a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pabal_common::clock::SystemClock;
use pabal_common::ledger::sqlite::SqliteLedger;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// What it printed, read as JSON; it must have succeeded.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// It failed with `code` and its error says all of `words`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:?}");
        }
    }
}

/// A data folder.
pub(crate) struct Folder {
    parent: TempDir,
}

impl Folder {
    /// A place for a data folder; there is none yet.
    pub(crate) fn nowhere() -> Self {
        Self {
            parent: TempDir::new().unwrap(),
        }
    }

    /// A data folder made by `pabal migrate`.
    pub(crate) fn migrated() -> Self {
        let folder = Self::nowhere();
        let said = folder.pabal(&["migrate"]);
        assert_eq!(said.code, 0, "{said:?}");
        folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pabal"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PABAL_")) {
            command.env_remove(name);
        }
        let data = format!("data.folder={}", self.path().display());
        command
            .args(arguments)
            .args(["--set", &data, "--set", "http.address=127.0.0.1:0"]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `pabal` on this folder.
    pub(crate) fn pabal(&self, arguments: &[&str]) -> Said {
        self.pabal_with(arguments, &[])
    }

    /// The same with these environment variables.
    pub(crate) fn pabal_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = self.command(arguments);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts `pabal serve` and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        let mut command = self.command(&["serve"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        // Reads on until the end: a full pipe would stop the server.
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("ready at ") {
                    let base = rest.split_whitespace().next().unwrap_or_default();
                    let _ = tell.send(base.to_owned());
                }
            }
        });
        let base = told
            .recv_timeout(PATIENCE)
            .expect("the server says where it is");
        Server { child, base }
    }

    /// The ledger as the program sees it.
    pub(crate) async fn ledger(&self) -> SqliteLedger {
        let file = self.path().join("pabal.db");
        SqliteLedger::open(&file, Arc::new(SystemClock))
            .await
            .unwrap()
    }

    /// The ledger's file, for planting what no command does.
    pub(crate) async fn sqlite(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path().join("pabal.db"))
            .busy_timeout(PATIENCE)
            .connect()
            .await
            .unwrap()
    }

    /// Whether any file of the folder holds this text.
    pub(crate) fn holds(&self, text: &str) -> bool {
        std::fs::read_dir(self.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }
}

/// A running `pabal serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    base: String,
}

impl Server {
    /// The address of a path of its API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A text of a JSON value.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}
