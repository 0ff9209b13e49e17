//! What surrounds the processes: their back-ends, vendors, a configuration, and a partner's way in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use pabal_gateway::trial::books::{self, Others, Verdict};
use pabal_gateway::trial::load::Outbox;
use pabal_gateway::trial::site::{Partner, Program, Site};
use pabal_simulator::{Family, Pace, Simulator, SimulatorConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
use crate::process::{Process, binary, command};
use crate::wait::PATIENCE;

/// How soon the processes give up waiting for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tempo {
    /// Within seconds, so that a test sees the end of what was lost.
    Quick,
    /// As late as in production: for tests in which nothing may be given up, on however busy a
    /// machine.
    Calm,
}

/// How many processes of each service there can be.
pub(crate) const EACH: usize = 3;

const ROLES: [&str; 4] = ["receiver", "sender", "reporter", "webhook-receiver"];

/// Everything but the processes. Declared before them, it outlives them.
pub(crate) struct World {
    pub(crate) ground: Ground,
    /// The vendors, the program's commands, and where partners come in.
    pub(crate) site: Site,
    bases: BTreeMap<(&'static str, usize), String>,
    folder: Option<TempDir>,
}

impl World {
    /// Back-ends that are empty, vendors that call the first webhook receiver, and no process.
    pub(crate) async fn new(tempo: Tempo) -> Self {
        let ground = Ground::new().await;
        let folder = tempfile::tempdir().unwrap();
        let bases = bases();
        let simulator = SimulatorConfig {
            callback_base: Some(bases[&("webhook-receiver", 0)].clone()),
            pace: Pace {
                late_report: Duration::from_secs(2),
                callback_retry_max: Duration::from_millis(400),
                ..Pace::default()
            },
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(simulator, CancellationToken::new()).await;
        let simulator = Arc::new(simulator.unwrap());
        let config = folder.path().join("pabal.toml");
        std::fs::write(&config, configuration(&ground, &folder, &simulator, tempo)).unwrap();
        let site = Site {
            receivers: Vec::new(),
            reporters: vec![bases[&("reporter", 0)].clone()],
            client: Site::client().unwrap(),
            simulator,
            program: Program {
                binary: binary("pabal"),
                config,
            },
            logs: Vec::new(),
        };
        let mut world = Self {
            ground,
            site,
            bases,
            folder: Some(folder),
        };
        world.site.logs = ROLES
            .iter()
            .flat_map(|role| (0..EACH).map(|number| world.log(role, number)))
            .collect();
        world.receivers(1);
        let migrated = world.pabal(&["migrate"]);
        assert!(migrated.status.success(), "{migrated:?}");
        world
    }

    /// From now on the partner knows so many receivers.
    pub(crate) fn receivers(&mut self, count: usize) {
        self.site.receivers = (0..count)
            .map(|number| self.base("receiver", number))
            .collect();
    }

    /// From now on the partner asks so many reporters.
    pub(crate) fn reporters(&mut self, count: usize) {
        self.site.reporters = (0..count)
            .map(|number| self.base("reporter", number))
            .collect();
    }

    /// Where the process of a service listens, whether it runs or not.
    pub(crate) fn base(&self, role: &'static str, number: usize) -> String {
        self.bases[&(role, number)].clone()
    }

    /// Starts a service.
    pub(crate) fn start(&self, role: &'static str, number: usize) -> Process {
        self.start_with(role, number, &[])
    }

    /// The same with these settings on top.
    pub(crate) fn start_with(
        &self,
        role: &'static str,
        number: usize,
        settings: &[String],
    ) -> Process {
        let base = self.base(role, number);
        let address = base.trim_start_matches("http://");
        let mut arguments = vec![
            "--config".to_owned(),
            self.site.program.config.display().to_string(),
            "--set".to_owned(),
            format!("http.address={address}"),
        ];
        for setting in settings {
            arguments.extend(["--set".to_owned(), setting.clone()]);
        }
        let command = command(&format!("pabal-{role}"), &arguments);
        Process::start(command, base, self.log(role, number))
    }

    /// Starts one of each of these services and waits until they are ready.
    pub(crate) async fn run(&self, roles: &[(&'static str, usize)]) -> Vec<Process> {
        let start = |(role, number): &(&'static str, usize)| self.start(role, *number);
        let mut processes: Vec<_> = roles.iter().map(start).collect();
        for process in &mut processes {
            process.ready().await;
        }
        processes
    }

    /// Adds a partner, and logs it in at the first receiver.
    pub(crate) async fn partner(&self) -> Partner {
        self.site.add_partner("shop").await.unwrap()
    }

    /// Runs one of the program's commands.
    pub(crate) fn pabal(&self, arguments: &[&str]) -> Output {
        self.site.program.run(arguments).unwrap()
    }

    /// Compares every book when all has ended; they must agree.
    pub(crate) async fn close(&self, partner: &Partner, outbox: &Outbox) -> Verdict {
        let none = Others::default();
        let verdict = books::close(&self.site, partner, outbox, &none, PATIENCE).await;
        for (what, messages) in &verdict.violations {
            println!("VIOLATION {what}: {}", messages.join(" "));
            for id in messages.iter().take(3) {
                let shown = self.pabal(&["message", "show", id]);
                println!("{}", String::from_utf8_lossy(&shown.stdout));
            }
        }
        println!("{:?}", verdict.outcome);
        assert!(
            verdict.is_clean(),
            "{:?}",
            verdict
                .violations
                .iter()
                .map(|(what, _)| what)
                .collect::<Vec<_>>()
        );
        verdict
    }

    fn log(&self, role: &str, number: usize) -> PathBuf {
        let folder = self.folder.as_ref().unwrap().path();
        folder.join(format!("{role}-{number}.log"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the logs are kept in {}", folder.keep().display());
        }
    }
}

/// An address for each process that stays free while it is down: with a port below those the system
/// lends to clients.
fn bases() -> BTreeMap<(&'static str, usize), String> {
    let numbers = |role| (0..EACH).map(move |number| (role, number));
    let places = ROLES.into_iter().flat_map(numbers);
    let held: Vec<_> = places
        .map(|place| {
            let tries = std::iter::repeat_with(|| fastrand::u16(12_000..32_000)).take(1000);
            let mut held = tries.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
            (place, held.next().expect("one of a thousand ports is free"))
        })
        .collect();
    held.iter()
        .map(|(place, held)| (*place, format!("http://{}", held.local_addr().unwrap())))
        .collect()
}

fn configuration(ground: &Ground, folder: &TempDir, simulator: &Simulator, tempo: Tempo) -> String {
    let data = folder.path().join("data");
    let data = data.display();
    let Ground {
        ledger,
        broker,
        quota,
        ..
    } = ground;
    let (queues, keys) = (ground.queues(), ground.keys());
    let quick = r#"
[lease]
length = "3s"
dead_after = "2500ms"
"#;
    let (lease, (first_byte, connect_ms), call_limit, answer_ms, deadline) = match tempo {
        Tempo::Quick => (quick, ("500ms", 400), "5s", 4_000, "8s"),
        Tempo::Calm => ("", ("4s", 3_000), "15s", 10_000, "25h"),
    };
    let mut text = format!(
        r#"
data.folder = "{data}"
simulator.enabled = false
log.format = "human"
log.filter = "info"

[ledger]
url = "{ledger}"

[broker]
url = "{broker}"
prefix = "{queues}"

[quota]
url = "{quota}"
prefix = "{keys}"
{lease}
[sender]
first_byte_limit = "{first_byte}"
call_limit = "{call_limit}"
ask_after = "200ms"
ask_again = "1s"

[reporter]
sms_deadline = "{deadline}"
report_deadline = "{deadline}"
margin = "5s"
express_margin = "5s"
patrol_period = "200ms"
parked_period = "200ms"
call_limit = "{call_limit}"

[webhook_receiver]
poll_interval = "100ms"
poll_longest_pause = "1s"

[webhooks]
allow_loopback = true
waits = "300ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s"

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
