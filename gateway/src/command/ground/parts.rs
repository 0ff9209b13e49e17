//! Private back-ends, whose faults and load nobody else has to bear: started, killed and frozen
//! through `scripts/backends`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

/// How long a part may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(120);
/// The schema at the private ledger.
pub(crate) const SCHEMA: &str = "pabal";
/// The user the services log in as: without the rights of an administrator, so that a read-only
/// server is read-only for it.
const USER: &str = "pabal";
/// Tells `scripts/backends` how large the ledger's buffer pool is to be.
const BUFFER_POOL: &str = "PABAL_BACKENDS_BUFFER_POOL";

/// One of the three back-ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The ledger.
    Mysql,
    /// The queues.
    Rabbit,
    /// The limits.
    Redis,
}

impl Part {
    const ALL: [Self; 3] = [Self::Mysql, Self::Rabbit, Self::Redis];

    const fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Rabbit => "rabbit",
            Self::Redis => "redis",
        }
    }
}

/// The three, until they are ended or dropped.
pub(crate) struct Parts {
    script: PathBuf,
    state: PathBuf,
    urls: [String; Part::ALL.len()],
    buffer_pool: &'static str,
    ended: AtomicBool,
}

impl Parts {
    /// Starts all three in `state`, the ledger with a buffer pool of this size, such as `128M`.
    pub(crate) async fn start(
        script: &Path,
        state: &Path,
        buffer_pool: &'static str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(state)?;
        let mut parts = Self {
            script: script.to_path_buf(),
            state: state.to_path_buf(),
            urls: Default::default(),
            buffer_pool,
            ended: AtomicBool::new(false),
        };
        for part in Part::ALL {
            parts.tell("start", part).await?;
            let url = parts.tell("url", part).await?;
            parts.urls[part as usize] = url.trim().to_owned();
        }
        Ok(parts)
    }

    /// Whether this machine has the programs of all three; says what is missing.
    pub(crate) async fn are_there(script: &Path, state: &Path) -> anyhow::Result<()> {
        let state = state.display().to_string();
        run(script, &["programs", "--state", &state], &[]).await?;
        Ok(())
    }

    /// Where a part is, for its administrator.
    pub(crate) fn url(&self, part: Part) -> &str {
        &self.urls[part as usize]
    }

    /// `127.0.0.1:3306` of a part.
    pub(crate) fn place(&self, part: Part) -> anyhow::Result<&str> {
        let url = self.url(part);
        host_and_port(url).with_context(|| format!("no address in {url}"))
    }

    /// The number of a part's process.
    pub(crate) async fn pid(&self, part: Part) -> anyhow::Result<u32> {
        let pid = self.tell("pid", part).await?;
        Ok(pid.trim().parse()?)
    }

    /// Makes the schema, and the user of the services.
    pub(crate) async fn create_schema(&self) -> anyhow::Result<()> {
        self.sql(&format!(
            "CREATE DATABASE IF NOT EXISTS {SCHEMA}; \
             CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{USER}'; \
             CREATE USER IF NOT EXISTS '{USER}'@'localhost' IDENTIFIED BY '{USER}'; \
             GRANT ALL ON {SCHEMA}.* TO '{USER}'@'%'; \
             GRANT ALL ON {SCHEMA}.* TO '{USER}'@'localhost'"
        ))
        .await?;
        Ok(())
    }

    /// Starts a part again on what it has kept.
    pub(crate) async fn revive(&self, part: Part) -> anyhow::Result<()> {
        self.order("start", part).await
    }

    /// SIGKILL.
    pub(crate) async fn kill(&self, part: Part) -> anyhow::Result<()> {
        self.order("kill", part).await
    }

    /// Stops a part as its operator would.
    pub(crate) async fn stop(&self, part: Part) -> anyhow::Result<()> {
        self.order("stop", part).await
    }

    /// SIGSTOP: its connections stay, nothing answers.
    pub(crate) async fn freeze(&self, part: Part) -> anyhow::Result<()> {
        self.order("pause", part).await
    }

    /// SIGCONT.
    pub(crate) async fn thaw(&self, part: Part) -> anyhow::Result<()> {
        self.order("cont", part).await
    }

    /// Runs the part's own client: `mariadb`, `rabbitmqctl` or `redis-cli`.
    pub(crate) async fn client(&self, part: Part, arguments: &[&str]) -> anyhow::Result<String> {
        let state = self.state.display().to_string();
        let mut all = vec!["ctl", part.name(), "--state", &state, "--"];
        all.extend(arguments);
        run(&self.script, &all, &[]).await
    }

    /// Runs SQL as the ledger's administrator.
    pub(crate) async fn sql(&self, sql: &str) -> anyhow::Result<String> {
        self.client(Part::Mysql, &["-N", "-e", sql]).await
    }

    /// Copies a schema as it is at one moment into a file.
    pub(crate) async fn back_up(&self, schema: &str, file: &Path) -> anyhow::Result<()> {
        let server = self.place(Part::Mysql)?;
        let (host, port) = server.split_once(':').context("no port")?;
        let into = format!("--result-file={}", file.display());
        let arguments = [
            "--no-defaults",
            "--protocol=tcp",
            "-h",
            host,
            "-P",
            port,
            "-u",
            "root",
            "--single-transaction",
            "--skip-lock-tables",
            &into,
            schema,
        ];
        let program = match run(Path::new("mariadb-dump"), &["--version"], &[]).await {
            Ok(_) => "mariadb-dump",
            Err(_) => "mysqldump",
        };
        run(Path::new(program), &arguments, &[]).await?;
        Ok(())
    }

    /// Puts a copy back in the place of what is there.
    pub(crate) async fn put_back(&self, schema: &str, file: &Path) -> anyhow::Result<()> {
        self.sql(&format!("DROP DATABASE {schema}; CREATE DATABASE {schema}"))
            .await?;
        let source = format!("source {}", file.display());
        self.client(Part::Mysql, &[schema, "-e", &source]).await?;
        Ok(())
    }

    /// Stops all three.
    pub(crate) async fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for part in Part::ALL {
            if let Err(error) = self.thaw(part).await.and(self.stop(part).await) {
                eprintln!("{}: {error:#}", part.name());
            }
        }
    }

    async fn order(&self, verb: &str, part: Part) -> anyhow::Result<()> {
        self.tell(verb, part).await.map(drop)
    }

    async fn tell(&self, verb: &str, part: Part) -> anyhow::Result<String> {
        let state = self.state.display().to_string();
        let words = [verb, part.name(), "--state", &state];
        run(&self.script, &words, &[(BUFFER_POOL, self.buffer_pool)]).await
    }
}

impl Drop for Parts {
    /// What is left behind by a failure or a signal is stopped too; nobody is there to wait.
    fn drop(&mut self) {
        if self.ended.load(Ordering::SeqCst) {
            return;
        }
        for part in Part::ALL {
            let mut command = std::process::Command::new(&self.script);
            command.args(["kill", part.name(), "--state"]);
            let _ = command.arg(&self.state).stdin(Stdio::null()).output();
        }
    }
}

/// Where the services find the schema on the server at this place.
pub(crate) fn ledger_url(place: &str) -> String {
    format!("mysql://{USER}:{USER}@{place}/{SCHEMA}")
}

/// `127.0.0.1:3306` of `mysql://root@127.0.0.1:3306/pabal`.
fn host_and_port(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

/// Runs a program to its end; what it printed.
async fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        // What a terminal interrupts must not leave a server half started.
        .process_group(0)
        .kill_on_drop(true);
    let what = || format!("{} {}", program.display(), arguments.join(" "));
    let Ok(output) = tokio::time::timeout(PATIENCE, command.output()).await else {
        bail!("{} takes longer than {PATIENCE:?}", what());
    };
    let output = output.with_context(what)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", what());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_in_a_url_is_found_whatever_stands_around_it() {
        for url in [
            "mysql://root@127.0.0.1:3306/pabal",
            "amqp://guest:guest@127.0.0.1:3306/%2f",
            "redis://127.0.0.1:3306",
        ] {
            assert_eq!(host_and_port(url), Some("127.0.0.1:3306"), "{url}");
        }
    }
}
