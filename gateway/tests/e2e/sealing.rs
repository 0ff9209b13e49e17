//! Nobody's number and nobody's text can be read in what a run leaves behind or says to servers: the
//! real program, its files, its logs at their wordiest, its metrics, and every byte on its way to
//! the ledger, the queues and the limits where those are elsewhere.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use encoding_rs::EUC_KR;
use pabal_gateway::trial::site::without_settings;
use serde_json::{Value, json};

use crate::api::{Answer, TYPES, message};
use crate::stack::{self, Stack};
use crate::wait::{PATIENCE, eventually};

/// Recipients begin so; two more digits choose what becomes of them.
const NUMBER: &str = "010739142";
/// TalkTalk's recipients begin so.
const USER: &str = "zebra-crossing-";
/// Stands in every text. Not a word of it occurs anywhere else.
const SECRET_TEXT: &str = "얼룩말 인증번호 [739142]";
/// What becomes of recipients: an ordinary delivery, failures, refusals, retries, lost answers,
/// strange reports.
const DIGITS: [u8; 9] = [0, 51, 55, 60, 62, 65, 72, 73, 74];

/// The program, killed if the test ends before it does.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the program prints at its first start.
struct Welcome {
    base: String,
    client_id: String,
    client_secret: String,
    webhook_secret: String,
}

/// Starts the program on `data` and `stack` with its log, as wordy as can be, in `log`.
fn start(data: &Path, stack: &Stack, log: &Path) -> (Program, Welcome) {
    let settings = [
        format!("data.folder={}", data.display()),
        "http.address=127.0.0.1:0".to_owned(),
        "log.filter=trace,lapin=trace".to_owned(),
        "log.format=json".to_owned(),
        "reporter.sms_deadline=3s".to_owned(),
        "reporter.report_deadline=3s".to_owned(),
        "sender.ask_after=200ms".to_owned(),
        "sender.ask_again=300ms".to_owned(),
        "query.per_second=10000".to_owned(),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pabal"));
    without_settings(&mut command);
    for setting in &settings {
        command.args(["--set", setting]);
    }
    for (key, value) in stack.settings() {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log).unwrap());
    let mut program = Program(command.spawn().unwrap());
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let mut said = |word: &str| -> String {
        let line = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("it never said {word}"));
        let (_, rest) = line.split_once(word).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let welcome = Welcome {
        base: said("ready at"),
        client_id: said("clientId"),
        client_secret: said("clientSecret"),
        webhook_secret: said("webhookSecret"),
    };
    // What it still prints is read, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    (program, welcome)
}

fn to(kind: &str, digits: u8) -> String {
    match kind {
        "NAVER_TALK" => format!("{USER}{digits:02}"),
        _ => format!(
            "{}-{}-{}{digits:02}",
            &NUMBER[..3],
            &NUMBER[3..7],
            &NUMBER[7..]
        ),
    }
}

/// A message whose content is secret in every field that can hold any.
fn secret_message(kind: &str, digits: u8) -> Value {
    let mut message = message(kind, &format!("order-{kind}-{digits}"), digits);
    message["to"] = json!(to(kind, digits));
    message["text"] = json!(format!("{SECRET_TEXT} {digits}"));
    if message.get("from").is_some() {
        message["from"] = json!("02-0000-0000");
    }
    match kind {
        "LMS" | "MMS" | "RCS" => message["subject"] = json!(SECRET_TEXT),
        "KAKAO_ALIMTALK" => message["template"]["variables"] = json!({"얼룩말": SECRET_TEXT}),
        _ => {}
    }
    message
}

/// Everything that must be found nowhere, in every way it could be written.
fn secrets() -> Vec<Vec<u8>> {
    let mut secrets = vec![USER.as_bytes().to_vec()];
    // National and E.164 end alike.
    let (middle, end) = (&NUMBER[3..7], &NUMBER[7..]);
    for between in ["-", " ", "."] {
        secrets.push(format!("10{between}{middle}{between}{end}").into_bytes());
    }
    for digits in DIGITS {
        secrets.push(format!("10{middle}{end}{digits:02}").into_bytes());
    }
    let (hangul, _) = SECRET_TEXT.split_once(' ').unwrap();
    for text in [SECRET_TEXT, hangul, "[739142]"] {
        let escaped: String = text
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        let (euc_kr, _, lossy) = EUC_KR.encode(text);
        assert!(!lossy);
        secrets.push(text.as_bytes().to_vec());
        secrets.push(euc_kr.into_owned());
        secrets.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        secrets.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        secrets.push(escaped.into_bytes());
    }
    secrets
}

/// Which of `needles` stand in `hay`.
fn found(hay: &[u8], needles: &[Vec<u8>]) -> Vec<String> {
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut begins = vec![false; 1 << 16];
    for needle in needles {
        begins[pair(needle)] = true;
    }
    let mut found = BTreeSet::new();
    for (at, two) in hay.windows(2).enumerate() {
        if begins[pair(two)] {
            found.extend(
                needles
                    .iter()
                    .filter(|needle| hay[at..].starts_with(needle)),
            );
        }
    }
    found
        .into_iter()
        .map(|needle| String::from_utf8_lossy(needle).into_owned())
        .collect()
}

/// Every file below `folder`, name and bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
            continue;
        }
        let mut bytes = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
        all.push((path.display().to_string(), bytes));
    }
    all
}

/// Sends a message of every type into every kind of trouble and waits until all have ended; their
/// ids, and the token they were sent with.
async fn run(welcome: &Welcome, client: &reqwest::Client) -> (Vec<String>, String) {
    let Welcome {
        base,
        client_id,
        client_secret,
        ..
    } = welcome;
    let login = json!({"clientId": client_id, "clientSecret": client_secret});
    let answer = Answer::to(client.post(format!("{base}/v1/auth/token")).json(&login)).await;
    let token = answer.text("accessToken").to_owned();
    let post = |path: &str, body: String| {
        let request = client.post(format!("{base}{path}")).bearer_auth(&token);
        Answer::to(
            request
                .header("content-type", "application/json")
                .body(body),
        )
    };
    let mut ids = Vec::new();
    for kind in TYPES {
        // One vendor that refuses connections for a while is enough.
        let digits = DIGITS
            .into_iter()
            .filter(|digits| kind == "SMS" || *digits != 60);
        let messages: Vec<_> = digits.map(|digits| secret_message(kind, digits)).collect();
        let single = post("/v1/messages", messages[0].to_string()).await;
        ids.push(single.text("messageId").to_owned());
        let rest = json!({"messages": messages[1..]});
        let answer = post("/v1/messages/batch", rest.to_string()).await;
        assert_eq!(answer.body["rejected"], 0, "{answer:?}");
        let results = answer.body["results"].as_array().unwrap();
        ids.extend(
            results
                .iter()
                .map(|one| one["messageId"].as_str().unwrap().to_owned()),
        );
    }
    // What is refused must not be told either, neither here nor in a log.
    let good = secret_message("SMS", 0);
    let faults = [
        ("text", json!(format!("{SECRET_TEXT}😀"))),
        ("text", json!(SECRET_TEXT.repeat(9))),
    ];
    let more = [
        ("to", json!([to("SMS", 0)])),
        (SECRET_TEXT, json!(1)),
        ("to", json!(SECRET_TEXT)),
    ];
    for (field, value) in faults.into_iter().chain(more) {
        let mut bad = good.clone();
        bad[field] = value;
        let answer = post("/v1/messages", bad.to_string()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let told = found(answer.body.to_string().as_bytes(), &secrets());
        assert!(
            field == SECRET_TEXT || told.is_empty(),
            "{told:?} in {answer:?}"
        );
    }
    // Addresses are written to logs more easily than bodies.
    for path in [
        to("SMS", 0),
        format!("?clientMsgId={}", &to("NAVER_TALK", 0)),
    ] {
        let request = client.get(format!("{base}/v1/messages/{path}"));
        assert!(Answer::to(request.bearer_auth(&token)).await.status >= 400);
    }
    let torn = good.to_string().replace(':', "=");
    assert_eq!(post("/v1/messages", torn).await.status, 400);
    for id in &ids {
        eventually(async || {
            let request = client
                .get(format!("{base}/v1/messages/{id}"))
                .bearer_auth(&token);
            let answer = Answer::to(request).await;
            if answer.body["finalAt"].is_string() {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    }
    (ids, token)
}

/// Stops the program as a terminal does, and waits until it is gone.
fn stop(mut program: Program) {
    let process = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(status) = program.0.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(std::time::Instant::now() < until, "it does not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_recipient_and_no_text_can_be_read_in_files_logs_or_metrics() {
    let stack = Stack::overheard().await;
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let (program, welcome) = start(&data, &stack, &log);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (ids, token) = run(&welcome, &client).await;
    let metrics = Answer::to(client.get(format!("{}/metrics", welcome.base))).await;
    // While it runs, the newest pages are in files that a stop tidies away.
    let mut all = files(&data);
    stop(program);
    all.extend(files(folder.path()));
    all.extend(stack.said());
    all.push((
        "metrics".to_owned(),
        metrics.body.as_str().unwrap().as_bytes().to_vec(),
    ));

    let mut forbidden = secrets();
    let keys = [&welcome.client_secret, &welcome.webhook_secret, &token];
    forbidden.extend(keys.map(|key| key.as_bytes().to_vec()));
    for (name, bytes) in &all {
        assert_eq!(found(bytes, &forbidden), Vec::<String>::new(), "in {name}");
    }
    // The search finds what is there: ids are in the logs, client ids in the ledger.
    let holds = |name: &str, needle: &str| {
        let needle = [needle.as_bytes().to_vec()];
        all.iter()
            .any(|(file, bytes)| file.contains(name) && !found(bytes, &needle).is_empty())
    };
    assert!(holds("/log", &ids[0]), "the log names no message");
    assert!(
        holds(stack::LEDGER, "order-SMS-0"),
        "the ledger has no client id"
    );
}
