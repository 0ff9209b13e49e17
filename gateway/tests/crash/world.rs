//! What surrounds the program: its vendors, its configuration, and the partner's way to it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pabal_gateway::trial::load::{Load, Manner, Mix};
use pabal_gateway::trial::site::{Partner, Program, Site};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::process::Process;

/// How long the ledger holds the lease of a hasty program.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);
/// Messages a second while everything goes well.
const RATE: f64 = 200.0;
/// A program that has not accepted by then what it was asked to does not work.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon the program gives up waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tempo {
    /// Within seconds, so that a test sees the end of what was lost.
    Hasty,
    /// As late as in production: for tests in which nothing may be given up, on however busy a
    /// machine.
    Calm,
}

/// Everything but the process that is being tried.
pub(crate) struct World {
    pub(crate) site: Site,
    folder: Option<TempDir>,
}

impl World {
    /// Vendors, running; a configuration for the program, in a new folder.
    pub(crate) async fn new(tempo: Tempo) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let base = format!("http://{address}");
        let config = SimulatorConfig {
            callback_base: Some(base.clone()),
            pace: Pace {
                late_report: Duration::from_secs(2),
                callback_retry_max: Duration::from_millis(400),
                ..Pace::default()
            },
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(config, CancellationToken::new())
            .await
            .unwrap();
        let data = folder.path().join("data");
        let program = Program {
            binary: env!("CARGO_BIN_EXE_pabal").into(),
            config: folder.path().join("pabal.toml"),
        };
        std::fs::write(
            &program.config,
            configuration(&address, &data, &simulator, tempo),
        )
        .unwrap();
        Self {
            site: Site {
                receivers: vec![base.clone()],
                reporters: vec![base],
                client: Site::client().unwrap(),
                simulator: Arc::new(simulator),
                program,
                logs: vec![folder.path().join("pabal.log")],
            },
            folder: Some(folder),
        }
    }

    /// Starts the program.
    pub(crate) fn start(&self) -> Process {
        Process::start(&self.site.program, &self.site.logs[0])
    }

    /// Waits until the program says that it is ready.
    pub(crate) async fn ready(&self, process: &mut Process) {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Some(status) = process.ended(Duration::ZERO).await {
                panic!("it ended by itself: {status}\n{}", self.log());
            }
            let url = format!("{}/readyz", self.site.receivers[0]);
            let answer = self.site.client.get(url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it is not ready within {START:?}\n{}", self.log());
    }

    /// Adds the partner beside the running program, and logs it in.
    pub(crate) async fn add_partner(&self) -> Partner {
        self.site.add_partner("crash").await.unwrap()
    }

    /// The partner begins to send.
    pub(crate) fn load(&self, partner: &Partner, mix: Mix, random: fastrand::Rng) -> Load {
        let manner = Manner {
            mix,
            rate: RATE,
            patience: PATIENCE,
        };
        Load::start(&self.site, partner, "c", manner, random)
    }

    /// Waits until `more` messages have been accepted from now on.
    pub(crate) async fn accepts(&self, load: &Load, more: usize) {
        let in_time = load.accepts(more).await;
        assert!(in_time, "{more} messages were not accepted\n{}", self.log());
    }

    /// The end of the program's log, for those who have to find out.
    pub(crate) fn log(&self) -> String {
        const LINES: usize = 60;
        let text = std::fs::read(&self.site.logs[0]).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("ledger and log are kept in {}", folder.keep().display());
        }
    }
}

/// A port that stays free while the program is down: below those the system lends to clients.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut tries = std::iter::repeat_with(|| fastrand::u16(12_000..32_000)).take(1000);
    tries.find(free).expect("one of a thousand ports is free")
}

/// The configuration file: safety nets that come soon, deadlines as `tempo` says.
fn configuration(address: &str, data: &Path, simulator: &Simulator, tempo: Tempo) -> String {
    let data = data.display();
    let hasty = r#"
[lease]
length = "2s"
dead_after = "1500ms"
"#;
    let (lease, (first_byte, connect_ms), call_limit, answer_ms, sms, others) = match tempo {
        Tempo::Hasty => (hasty, ("300ms", 300), "5s", 4_000, "6s", "7s"),
        Tempo::Calm => ("", ("4s", 3_000), "15s", 10_000, "25h", "80h"),
    };
    let mut text = format!(
        r#"
simulator.enabled = false
data.folder = "{data}"
log.format = "json"
log.filter = "info"

[http]
address = "{address}"

{lease}
[sender]
first_byte_limit = "{first_byte}"
call_limit = "{call_limit}"
ask_after = "200ms"
ask_again = "1s"

[reporter]
sms_deadline = "{sms}"
report_deadline = "{others}"
margin = "2s"
express_margin = "1s"
patrol_period = "200ms"
parked_period = "200ms"
call_limit = "{call_limit}"

[webhook_receiver]
poll_interval = "200ms"
poll_longest_pause = "1s"

[webhooks]
allow_loopback = true
waits = "300ms,1s,1s,1s,1s,1s,1s,1s"

[query]
per_second = 100_000
"#
    );
    for (family, kinds) in [
        (Family::Carrier, r#""SMS", "LMS", "MMS""#),
        (Family::Rcshub, r#""RCS""#),
        (Family::Kakao, r#""KAKAO_ALIMTALK", "KAKAO_BRAND_MESSAGE""#),
        (Family::Talk, r#""NAVER_TALK""#),
    ] {
        let url = simulator.base_url(family).unwrap();
        let _ = write!(
            text,
            r#"
[[account]]
protocol = "{family}"
name = "main"
base_url = "{url}"
api_key = "simulator-key"
callback_secret = "simulator-secret"
connect_timeout_ms = {connect_ms}
answer_timeout_ms = {answer_ms}

[[route]]
name = "{family}"
account = "{family}/main"
kinds = [{kinds}]
tps = 2000
concurrency = 32
"#
        );
    }
    text
}
