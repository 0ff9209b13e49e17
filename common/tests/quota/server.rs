//! A Redis of a test's own, which it may stop, start and empty.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pabal_common::quota::redis::{RedisConfig, RedisQuota};
use tempfile::TempDir;

use crate::stack::{DEADLINE, config};

/// A server on a socket in a folder of its own, so that no port is anybody else's.
pub(crate) struct Server {
    folder: TempDir,
    options: Vec<String>,
    running: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            running: None,
        };
        server.run();
        server
    }

    /// Starts it again, with nothing kept.
    pub(crate) fn run(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("install redis-server: these tests stop and start one of their own");
        self.running = Some(child);
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(started.elapsed() < DEADLINE, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// It keeps its connections and does nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.running.as_ref().unwrap().id().to_string();
        let told = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }

    pub(crate) fn config(&self) -> RedisConfig {
        config(&self.url(), "t:")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub(crate) async fn connect(&self) -> RedisQuota {
        RedisQuota::connect(self.config()).await.unwrap()
    }

    /// Carries out a command of the test's own.
    pub(crate) fn tell<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).unwrap()
    }

    /// How often the script was called.
    pub(crate) fn calls(&self) -> u64 {
        let stats: String = self.tell(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.contains("cmdstat_evalsha:"));
        let count = line.and_then(|line| line.split_once("calls=")?.1.split_once(','));
        count.map_or(0, |(count, _)| count.parse().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
