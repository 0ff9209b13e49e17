//! A partner that does everything right: unique ids, a steady rate, and the same request again
//! under the same id, perhaps elsewhere, whenever an answer is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pabal_common::domain::kind::MessageType;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::site::{Partner, SENDER, Site};

const WORKERS: usize = 8;
const LARGEST_BATCH: usize = 30;
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The longest pause before a request is made again.
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// Which recipients, by the rows of the simulator's table.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// The last two digits of those that are not plainly delivered.
    rows: &'static [u8],
    /// How many in a hundred they are.
    percent: u32,
}

impl Mix {
    /// Every kind of trouble that ends.
    pub const TROUBLED: Self = Self {
        rows: &[
            51, 52, 53, 54, 55, 62, 63, 64, 65, 66, 70, 71, 72, 73, 74, 75, 80, 80, 80, 80,
        ],
        percent: 8,
    };
    /// Many answers on their way at any moment.
    pub const SLOW: Self = Self {
        rows: &[80, 80, 80, 70, 72, 62, 51],
        percent: 12,
    };
    /// Answers that are lost, garbled or far too late, and reports that come before them.
    pub const LOST: Self = Self {
        rows: &[62, 62, 62, 64, 66, 72, 72, 72, 81],
        percent: 60,
    };
    /// Nothing whose outcome could be in doubt.
    pub const GENTLE: Self = Self {
        rows: &[51, 52, 53, 54, 55, 71, 74, 80],
        percent: 10,
    };
}

/// A message that was accepted.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Our id.
    pub message: String,
    /// The partner's.
    pub client: String,
    /// Its type.
    pub kind: MessageType,
    /// The last two digits of its recipient.
    pub row: u8,
    /// When it was known to be accepted.
    pub at: Instant,
    /// When it was asked for first.
    pub asked: Instant,
}

/// What a load has sent.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Accepted, by our id.
    pub accepted: BTreeMap<String, Sent>,
    /// What must not happen, with the messages it happened to.
    pub faults: Vec<(String, Vec<String>)>,
    /// Requests whose answer was lost or was a 5xx.
    pub lost_answers: usize,
    /// Messages that turned out to have been accepted when they were sent again.
    pub known_before: usize,
    /// The longest time from asking for a message to knowing that it was accepted.
    pub longest: Duration,
}

/// How a load sends.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// To whom.
    pub mix: Mix,
    /// Messages a second while everything goes well.
    pub rate: f64,
    /// How long a request is repeated before it is given up as lost.
    pub patience: Duration,
}

/// A running load.
pub struct Load {
    desk: Arc<Desk>,
    workers: Vec<JoinHandle<()>>,
}

struct Desk {
    /// What its client ids begin with.
    name: String,
    receivers: Vec<String>,
    token: String,
    client: reqwest::Client,
    manner: Manner,
    stop: CancellationToken,
    turn: AtomicUsize,
    count: AtomicUsize,
    outbox: Mutex<Outbox>,
}

/// A message to be accepted.
#[derive(Clone)]
struct Draft {
    client: String,
    asked: Instant,
    kind: MessageType,
    row: u8,
    body: Value,
}

/// What an answer says of a draft.
enum Verdict {
    Accepted(String),
    KnownAs(String),
    Again,
    Wrong(String),
}

impl Load {
    /// Begins to send for this partner; `name` makes the client ids of one load different from those
    /// of another.
    pub fn start(
        site: &Site,
        partner: &Partner,
        name: &str,
        manner: Manner,
        mut random: fastrand::Rng,
    ) -> Self {
        let desk = Arc::new(Desk {
            name: name.to_owned(),
            receivers: site.receivers.clone(),
            token: partner.token.clone(),
            client: site.client.clone(),
            manner,
            stop: CancellationToken::new(),
            turn: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            outbox: Mutex::default(),
        });
        let workers = (0..WORKERS)
            .map(|worker| tokio::spawn(work(Arc::clone(&desk), worker, random.fork())))
            .collect();
        Self { desk, workers }
    }

    /// How many messages have been accepted so far.
    pub fn accepted(&self) -> usize {
        self.desk.count.load(Ordering::SeqCst)
    }

    /// The messages asked for after `since`, and accepted, so far: their ids.
    pub fn asked_since(&self, since: Instant) -> Vec<String> {
        let outbox = self.desk.outbox();
        let fresh = outbox.accepted.values().filter(|sent| sent.asked >= since);
        fresh.map(|sent| sent.message.clone()).collect()
    }

    /// Waits until `more` messages have been accepted from now on; false if they are not in time.
    pub async fn accepts(&self, more: usize) -> bool {
        let goal = self.accepted() + more;
        let begun = Instant::now();
        while self.accepted() < goal {
            if begun.elapsed() > self.desk.manner.patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Sends nothing new, and waits until it is known of every message what it was accepted as.
    pub async fn finish(self) -> Outbox {
        self.desk.stop.cancel();
        for worker in self.workers {
            if let Err(error) = worker.await {
                self.desk.fault(format!("the load failed: {error}"), None);
            }
        }
        self.desk.outbox().clone()
    }
}

async fn work(desk: Arc<Desk>, worker: usize, mut random: fastrand::Rng) {
    let mut number = 0;
    while !desk.stop.is_cancelled() {
        let size = match random.u32(0..4) {
            0 => random.usize(2..=LARGEST_BATCH),
            _ => 1,
        };
        let drafts: Vec<_> = (0..size)
            .map(|_| {
                number += 1;
                let client = format!("{}-{worker}-{number}", desk.name);
                desk.manner.mix.draft(client, &mut random)
            })
            .collect();
        desk.place(&drafts).await;
        // What was accepted stays accepted, whatever happened in between.
        if random.u32(0..20) == 0 {
            desk.ask_again(&drafts[0]).await;
        }
        let pause = Duration::from_secs_f64((size * WORKERS) as f64 / desk.manner.rate);
        tokio::select! {
            () = desk.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Desk {
    /// Sends the drafts until each has been accepted.
    async fn place(&self, drafts: &[Draft]) {
        let begun = Instant::now();
        let mut open = drafts.to_vec();
        let mut pause = AGAIN_AFTER;
        while !open.is_empty() {
            if begun.elapsed() > self.manner.patience {
                let what = format!(
                    "{} and {} more: not accepted in time",
                    open[0].client,
                    open.len() - 1
                );
                return self.fault(what, None);
            }
            let verdicts = self.submit(&open).await;
            let mut again = Vec::new();
            for (draft, verdict) in open.into_iter().zip(verdicts) {
                match verdict {
                    Verdict::Accepted(id) => self.note(&draft, id, false),
                    Verdict::KnownAs(id) => self.note(&draft, id, true),
                    Verdict::Again => again.push(draft),
                    Verdict::Wrong(answer) => {
                        self.fault(format!("{}: {answer}", draft.client), None)
                    }
                }
            }
            open = again;
            if !open.is_empty() {
                self.outbox().lost_answers += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_AT_MOST);
            }
        }
    }

    /// Sends what was accepted once more: it must be known under the same id.
    async fn ask_again(&self, draft: &Draft) {
        let verdict = self.submit(std::slice::from_ref(draft)).await.pop();
        let (what, id) = match verdict {
            Some(Verdict::Accepted(id)) => ("was accepted again", id),
            Some(Verdict::KnownAs(id)) => {
                let known = self
                    .outbox()
                    .accepted
                    .get(&id)
                    .is_some_and(|sent| sent.client == draft.client);
                if known {
                    return;
                }
                ("is known as another message", id)
            }
            _ => return,
        };
        self.fault(format!("{} {what}", draft.client), Some(id));
    }

    async fn submit(&self, drafts: &[Draft]) -> Vec<Verdict> {
        let (path, body) = match drafts {
            [one] => ("/v1/messages", one.body.clone()),
            many => {
                let bodies: Vec<_> = many.iter().map(|draft| &draft.body).collect();
                ("/v1/messages/batch", json!({ "messages": bodies }))
            }
        };
        let request = self.client.post(format!("{}{path}", self.receiver()));
        let answer = request.bearer_auth(&self.token).json(&body).send().await;
        let answer = match answer {
            Ok(answer) => (answer.status().as_u16(), answer.json::<Value>().await),
            Err(_) => return drafts.iter().map(|_| Verdict::Again).collect(),
        };
        match answer {
            (200, Ok(body)) => {
                let results = body["results"].as_array().cloned().unwrap_or_default();
                let result = |place| results.get(place).cloned().unwrap_or_default();
                (0..drafts.len())
                    .map(|place| verdict(200, &result(place)))
                    .collect()
            }
            (status, Ok(body)) => drafts.iter().map(|_| verdict(status, &body)).collect(),
            (_, Err(_)) => drafts.iter().map(|_| Verdict::Again).collect(),
        }
    }

    /// One after the other: a request that failed goes elsewhere.
    fn receiver(&self) -> &str {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.receivers[turn % self.receivers.len()]
    }

    fn note(&self, draft: &Draft, message: String, known_before: bool) {
        let sent = Sent {
            message: message.clone(),
            client: draft.client.clone(),
            kind: draft.kind,
            row: draft.row,
            at: Instant::now(),
            asked: draft.asked,
        };
        let mut outbox = self.outbox();
        outbox.known_before += usize::from(known_before);
        outbox.longest = outbox.longest.max(draft.asked.elapsed());
        let before = outbox.accepted.insert(message.clone(), sent);
        drop(outbox);
        if let Some(before) = before {
            self.fault(
                format!("one id for {} and {}", before.client, draft.client),
                Some(message),
            );
        }
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn fault(&self, what: String, message: Option<String>) {
        self.outbox()
            .faults
            .push((what, message.into_iter().collect()));
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verdict of a whole answer, or of one result of a batch.
fn verdict(status: u16, body: &Value) -> Verdict {
    let id = || body["messageId"].as_str().unwrap_or_default().to_owned();
    match (status, body["code"].as_str(), body["reason"].as_str()) {
        (_, Some("0000"), _) => Verdict::Accepted(id()),
        (_, Some("E004"), Some("SAME")) => Verdict::KnownAs(id()),
        (_, Some("E100" | "E101" | "E102"), _) => Verdict::Again,
        (500.., _, _) => Verdict::Again,
        _ => Verdict::Wrong(format!("HTTP {status} {body}")),
    }
}

/// The types that the reference vendors carry.
const KINDS: [MessageType; 7] = [
    MessageType::Sms,
    MessageType::Lms,
    MessageType::Mms,
    MessageType::KakaoAlimtalk,
    MessageType::KakaoBrandMessage,
    MessageType::NaverTalk,
    MessageType::Rcs,
];

impl Mix {
    /// A message of any of them to any recipient of the mix.
    fn draft(self, client: String, random: &mut fastrand::Rng) -> Draft {
        let kind = KINDS[random.usize(..KINDS.len())];
        let row = match random.u32(0..100) < self.percent {
            true => self.rows[random.usize(..self.rows.len())],
            false => random.u8(0..50),
        };
        let number = random.u32(0..1_000_000);
        let mut body = json!({
            "clientMsgId": client,
            "type": kind.name(),
            "to": match kind {
                MessageType::NaverTalk => format!("user-{number:06}{row:02}"),
                MessageType::Email => format!("user-{number:06}{row:02}@mail.example"),
                _ => format!("010{number:06}{row:02}"),
            },
            "text": "안녕하세요, 파발입니다.",
        });
        let carried = match kind {
            MessageType::Sms | MessageType::Lms | MessageType::Mms => json!({ "from": SENDER }),
            MessageType::Rcs => json!({
                "from": SENDER,
                "channel": {
                    "brandId": "BR.a1b2", "chatbotId": "15881234", "messagebaseId": "SL000000",
                },
            }),
            MessageType::KakaoAlimtalk => json!({
                "template": { "code": "T1", "variables": { "name": "홍길동" } },
                "channel": { "senderKey": "0123456789abcdef0123456789abcdef01234567" },
            }),
            MessageType::KakaoBrandMessage => json!({
                "channel": { "senderKey": "0123456789abcdef0123456789abcdef01234567" },
            }),
            MessageType::NaverTalk => json!({ "channel": { "talkId": "w4abcd" } }),
            MessageType::Email => json!({ "from": "load@shop.example", "subject": "파발" }),
        };
        if let (Some(body), Some(carried)) = (body.as_object_mut(), carried.as_object()) {
            body.extend(carried.clone());
            if random.u32(0..10) == 0 {
                body.insert("purpose".into(), "AUTH".into());
            }
        }
        Draft {
            client,
            asked: Instant::now(),
            kind,
            row,
            body,
        }
    }
}
