//! Private back-ends, whose faults nobody else has to bear: started, killed and frozen through
//! `scripts/backends`, and reached by the services through proxies.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use pabal_gateway::trial::proxy::Proxy;
use tokio::process::Command;

/// How long a part may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of the three back-ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
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

/// The three, and the ways to them.
pub(super) struct Parts {
    script: PathBuf,
    state: PathBuf,
    /// The way to the ledger.
    pub(super) mysql: Way,
    /// The way to the queues.
    pub(super) rabbit: Way,
    /// The way to the limits.
    pub(super) redis: Way,
}

/// A back-end and the proxy in front of it.
pub(super) struct Way {
    /// What can be disturbed.
    pub(super) proxy: Proxy,
    /// The server's own URL.
    pub(super) direct: String,
}

impl Way {
    /// The URL that leads through the proxy.
    pub(super) fn url(&self) -> String {
        let own = host_and_port(&self.direct).unwrap_or_default();
        let through = self.proxy.address().to_string();
        self.direct.replacen(own, &through, 1)
    }
}

impl Parts {
    /// Starts all three in `state`.
    pub(super) async fn start(script: &Path, state: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(state)?;
        for part in Part::ALL {
            tell(script, "start", part, state).await?;
        }
        Ok(Self {
            mysql: way(script, state, Part::Mysql).await?,
            rabbit: way(script, state, Part::Rabbit).await?,
            redis: way(script, state, Part::Redis).await?,
            script: script.to_path_buf(),
            state: state.to_path_buf(),
        })
    }

    /// Starts a part again on what it has kept.
    pub(super) async fn revive(&self, part: Part) -> anyhow::Result<()> {
        self.tell("start", part).await
    }

    /// SIGKILL.
    pub(super) async fn kill(&self, part: Part) -> anyhow::Result<()> {
        self.tell("kill", part).await
    }

    /// Stops a part as its operator would.
    pub(super) async fn stop(&self, part: Part) -> anyhow::Result<()> {
        self.tell("stop", part).await
    }

    /// SIGSTOP: its connections stay, nothing answers.
    pub(super) async fn freeze(&self, part: Part) -> anyhow::Result<()> {
        self.tell("pause", part).await
    }

    /// SIGCONT.
    pub(super) async fn thaw(&self, part: Part) -> anyhow::Result<()> {
        self.tell("cont", part).await
    }

    /// Runs the part's own client: `mariadb`, `rabbitmqctl` or `redis-cli`.
    pub(super) async fn client(&self, part: Part, arguments: &[&str]) -> anyhow::Result<String> {
        let state = self.state.display().to_string();
        let mut all = vec!["ctl", part.name(), "--state", &state, "--"];
        all.extend(arguments);
        run(&self.script, &all).await
    }

    /// Runs SQL as the ledger's administrator.
    pub(super) async fn sql(&self, sql: &str) -> anyhow::Result<String> {
        self.client(Part::Mysql, &["-N", "-e", sql]).await
    }

    /// Copies a schema as it is at one moment into a file.
    pub(super) async fn back_up(&self, schema: &str, file: &Path) -> anyhow::Result<()> {
        let server = host_and_port(&self.mysql.direct).unwrap_or_default();
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
        let program = match run(Path::new("mariadb-dump"), &["--version"]).await {
            Ok(_) => "mariadb-dump",
            Err(_) => "mysqldump",
        };
        run(Path::new(program), &arguments).await?;
        Ok(())
    }

    /// Puts a copy back in the place of what is there.
    pub(super) async fn put_back(&self, schema: &str, file: &Path) -> anyhow::Result<()> {
        self.sql(&format!("DROP DATABASE {schema}; CREATE DATABASE {schema}"))
            .await?;
        let source = format!("source {}", file.display());
        self.client(Part::Mysql, &[schema, "-e", &source]).await?;
        Ok(())
    }

    /// Stops all three and forgets what they kept.
    pub(super) async fn end(&self) {
        for part in Part::ALL {
            if let Err(error) = self.thaw(part).await.and(self.stop(part).await) {
                eprintln!("{}: {error:#}", part.name());
            }
        }
    }

    async fn tell(&self, verb: &str, part: Part) -> anyhow::Result<()> {
        tell(&self.script, verb, part, &self.state).await?;
        Ok(())
    }
}

async fn way(script: &Path, state: &Path, part: Part) -> anyhow::Result<Way> {
    let direct = tell(script, "url", part, state).await?;
    let direct = direct.trim().to_owned();
    let target = host_and_port(&direct).with_context(|| format!("no address in {direct}"))?;
    let target: SocketAddr = target.parse()?;
    Ok(Way {
        proxy: Proxy::to(target).await?,
        direct,
    })
}

/// `127.0.0.1:3306` of `mysql://root@127.0.0.1:3306/pabal`.
fn host_and_port(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

async fn tell(script: &Path, verb: &str, part: Part, state: &Path) -> anyhow::Result<String> {
    let state = state.display().to_string();
    run(script, &[verb, part.name(), "--state", &state]).await
}

/// Runs a program to its end; what it printed.
async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
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
