//! The implementations under test, and what every test needs of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use pabal_common::broker::{Member, Publication, ReportFrame, SendFrame};
use pabal_common::clock::{Clock as _, ManualClock, Timestamp};
use pabal_common::domain::id::{Ids, InstanceId, MessageId, PartnerId, SubmissionId, WebhookId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::text::Unencodable;
use pabal_common::ledger::{
    Accepted, AcceptedBatch, Applied, ApplyOutcome, Claim, ClaimedCall, Dispatch, DueGroup,
    DueWebhook, Ledger, MessageView, NewPartner, Partner, PartnerStatus, Settlement,
    WebhookSettings,
};
use tempfile::TempDir;

use crate::mysql::Schema;

/// An implementation of the port.
pub(crate) struct Stack {
    pub(crate) open: fn() -> LocalBoxFuture<'static, Fixture>,
}

/// Every implementation.
pub(crate) fn stacks() -> Vec<Stack> {
    vec![
        Stack {
            open: || Box::pin(crate::sqlite::open()),
        },
        Stack {
            open: || Box::pin(crate::mysql::open()),
        },
    ]
}

/// Runs a test against every implementation, each with a ledger of its own.
pub(crate) async fn each<Test, Running>(test: Test)
where
    Test: Fn(Fixture) -> Running,
    Running: Future<Output = ()>,
{
    for stack in stacks() {
        let it = (stack.open)().await;
        // A test that names a few fields only would let go of the others at once.
        let _place = Arc::clone(&it.place);
        test(it).await;
    }
}

/// What the port does not show, and damage the port does not do.
#[async_trait]
pub(crate) trait BackDoor: Send + Sync {
    /// Columns of a message that no view has, and its delay rows.
    async fn hidden(&self, id: MessageId) -> Hidden;

    /// How a statement writes this message's id.
    fn id(&self, id: MessageId) -> String;

    /// Runs one statement that every implementation understands.
    async fn run(&self, sql: &str);

    /// Counts with one statement that every implementation understands.
    async fn count(&self, sql: &str) -> u64;
}

/// See [`BackDoor::hidden`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) route_closed: bool,
    /// The attempt its retry or deferral was written for.
    pub(crate) retry: Option<u16>,
    /// Whether its answer is to be asked for.
    pub(crate) ask: bool,
}

/// The moment every test begins: noon in Korea.
pub(crate) const START: &str = "2026-11-21T03:00:00.000Z";

/// A fresh ledger, a partner `shop` and one live process.
pub(crate) struct Fixture {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ids: Ids,
    pub(crate) me: InstanceId,
    pub(crate) back: Arc<dyn BackDoor>,
    next: AtomicU64,
    place: Arc<Place>,
}

/// Where a ledger is kept; it goes with the fixture.
pub(crate) enum Place {
    Folder {
        _folder: TempDir,
    },
    Schema {
        _schema: Box<Schema>,
    },
    /// The test keeps it.
    Elsewhere,
}

/// How long a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

impl Fixture {
    pub(crate) async fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<ManualClock>,
        back: Arc<dyn BackDoor>,
        place: Place,
    ) -> Self {
        let joined = ledger.join("test", LEASE).await.unwrap();
        let shared: Arc<dyn pabal_common::clock::Clock> = clock.clone();
        let it = Self {
            ledger,
            clock,
            ids: Ids::new(shared, joined.node),
            me: joined.instance,
            back,
            next: AtomicU64::new(1),
            place: Arc::new(place),
        };
        it.add_partner(partner("shop")).await;
        it
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn join(&self) -> InstanceId {
        self.ledger.join("test", LEASE).await.unwrap().instance
    }

    pub(crate) async fn add_partner(&self, partner: Partner) {
        let senders = vec!["0212345678".to_owned()];
        assert!(
            self.ledger
                .add_partner(&NewPartner { partner, senders })
                .await
                .unwrap()
        );
    }

    /// Changes a partner's webhook settings.
    pub(crate) async fn webhook(&self, id: &str, change: impl FnOnce(&mut WebhookSettings)) {
        let read = self.ledger.partner(&name(id)).await.unwrap().unwrap();
        let mut partner = read.clone();
        change(&mut partner.webhook);
        assert!(self.ledger.update_partner(&read, &partner).await.unwrap());
    }

    /// A message of `shop` with a client id of its own.
    pub(crate) fn new_message(&self, kind: MessageType) -> NewMessage {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        NewMessage {
            id: self.ids.message(),
            partner: name("shop"),
            client_msg_id: format!("order-{number}").parse().unwrap(),
            digest: [7; 16],
            kind,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            accepted_at: self.now(),
            valid_until: self.now().plus(Duration::from_secs(3600)),
            metadata: Some(r#"{"order":1}"#.to_owned()),
            sealed: vec![1, 2, 3],
            recipient_hash: [9; 16],
        }
    }

    pub(crate) async fn accept(&self, messages: &[NewMessage]) -> AcceptedBatch {
        self.ledger
            .accept(self.me, self.ids.outbox(), messages, &[])
            .await
            .unwrap()
    }

    /// Accepts messages of a type; they are QUEUED.
    pub(crate) async fn queued(&self, kind: MessageType, how_many: usize) -> Vec<MessageId> {
        let messages: Vec<_> = (0..how_many).map(|_| self.new_message(kind)).collect();
        let batch = self.accept(&messages).await;
        assert!(
            batch
                .outcomes
                .iter()
                .all(|outcome| *outcome == Accepted::Kept)
        );
        messages.into_iter().map(|message| message.id).collect()
    }

    /// Accepts one SMS.
    pub(crate) async fn one(&self) -> MessageId {
        self.queued(MessageType::Sms, 1).await[0]
    }

    /// The wish to take messages at attempt 0.
    pub(crate) fn wish(&self, ids: &[MessageId]) -> Claim {
        Claim {
            submission: self.ids.submission(),
            route: "sms-a".into(),
            account: account(),
            members: ids
                .iter()
                .map(|id| Member {
                    id: *id,
                    attempt: 0,
                })
                .collect(),
        }
    }

    pub(crate) async fn claim(&self, wish: &Claim) -> ClaimedCall {
        let calls = self
            .ledger
            .claim(self.me, std::slice::from_ref(wish), self.now())
            .await;
        calls.unwrap().remove(0)
    }

    /// Claims messages of attempt 0 for one call; all of them must be had.
    pub(crate) async fn claimed(&self, ids: &[MessageId]) -> SubmissionId {
        let wish = self.wish(ids);
        assert_eq!(self.claim(&wish).await.messages.len(), ids.len());
        wish.submission
    }

    pub(crate) fn settlement(
        &self,
        id: MessageId,
        submission: SubmissionId,
        settled: Settled,
    ) -> Settlement {
        Settlement {
            id,
            submission,
            settled,
            account: account(),
            vendor_code: Some("1000".into()),
            at: self.now(),
            due: None,
            tell_sent: false,
        }
    }

    pub(crate) async fn settle(&self, settlements: &[Settlement]) -> Option<Dispatch> {
        self.ledger
            .settle(self.me, self.ids.outbox(), settlements, &[])
            .await
            .unwrap()
    }

    /// A message a vendor has taken under `vendor_id`.
    pub(crate) async fn sent(&self, kind: MessageType, vendor_id: &str) -> MessageId {
        let id = self.queued(kind, 1).await[0];
        let call = self.claimed(&[id]).await;
        let taken = Settled::Taken(VendorMessageId::new(vendor_id));
        assert_eq!(self.settle(&[self.settlement(id, call, taken)]).await, None);
        id
    }

    /// A report by the vendor's id.
    pub(crate) fn report(&self, vendor_id: &str, verdict: Verdict) -> Report {
        Report {
            account: account(),
            vendor_id: VendorMessageId::new(vendor_id),
            message: None,
            submission: None,
            verdict,
            vendor_code: Some("4430".into()),
            occurred_at: self.now(),
        }
    }

    /// A report by our own id.
    pub(crate) fn report_on(&self, id: MessageId, verdict: Verdict) -> Report {
        Report {
            vendor_id: None,
            message: Some(id),
            ..self.report("unused", verdict)
        }
    }

    pub(crate) async fn apply(&self, reports: &[Report]) -> ApplyOutcome {
        let ids = self.webhook_ids(reports.len());
        self.ledger
            .apply(self.me, reports, &ids, self.now())
            .await
            .unwrap()
    }

    /// What one report did.
    pub(crate) async fn applied(&self, report: Report) -> Applied {
        self.apply(&[report]).await.applied[0]
    }

    pub(crate) fn webhook_ids(&self, how_many: usize) -> Vec<WebhookId> {
        (0..how_many).map(|_| self.ids.webhook()).collect()
    }

    pub(crate) async fn view(&self, id: MessageId) -> MessageView {
        self.ledger.message(id).await.unwrap().unwrap()
    }

    /// The kinds of events of a message.
    pub(crate) async fn events(&self, id: MessageId) -> Vec<String> {
        let events = self.ledger.events(id).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    /// Releases whatever is due of every type.
    pub(crate) async fn release(&self, now: Timestamp) -> Option<Dispatch> {
        let groups = MessageType::ALL.map(|kind| DueGroup {
            kind,
            limit: 10_000,
        });
        let outbox = self.ids.outbox();
        self.ledger
            .release_due(self.me, outbox, &groups, now)
            .await
            .unwrap()
    }

    /// Every webhook row of a partner that this process owns.
    pub(crate) async fn webhooks(&self, partner: &str) -> Vec<DueWebhook> {
        let far = self.now().plus(YEAR);
        self.ledger
            .due_webhooks(self.me, &name(partner), far, &[], 100_000)
            .await
            .unwrap()
    }

    /// What a partner is to be told, as (message, status).
    pub(crate) async fn told(&self, partner: &str) -> Vec<(String, String)> {
        let webhooks = self.webhooks(partner).await;
        webhooks
            .iter()
            .flat_map(|webhook| results(&webhook.body))
            .collect()
    }

    /// Every outbox row of this process.
    pub(crate) async fn outbox(&self) -> Vec<Dispatch> {
        self.ledger
            .outbox_of(self.me, None, self.now().plus(YEAR), 100_000)
            .await
            .unwrap()
    }
}

/// Longer than anything in these tests lasts.
pub(crate) const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn name(partner: &str) -> PartnerId {
    partner.parse().unwrap()
}

/// The vendor account of every call here.
pub(crate) fn account() -> VendorAccount {
    VendorAccount::new("carrier", "main")
}

/// An active partner with an endpoint that wants one result a webhook.
pub(crate) fn partner(id: &str) -> Partner {
    Partner {
        id: name(id),
        name: id.to_uppercase(),
        status: PartnerStatus::Active,
        secret_hash: "$argon2id$".into(),
        credential_version: 1,
        per_second: 1000,
        express_per_second: 10,
        unencodable: Unencodable::Replace('?'),
        webhook: WebhookSettings {
            url: Some("https://shop.example/results".into()),
            secret: vec![1],
            batch: 1,
            ..WebhookSettings::default()
        },
        created_at: Timestamp::parse_rfc3339(START).unwrap(),
    }
}

/// The results in a webhook's body, as (message, status).
pub(crate) fn results(body: &str) -> Vec<(String, String)> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = body["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| (text(&event["messageId"]), text(&event["status"])))
        .collect()
}

/// The members of send frames.
pub(crate) fn members(frames: &[Publication]) -> Vec<Member> {
    frames
        .iter()
        .flat_map(|frame| SendFrame::decode(&frame.body).unwrap().members)
        .collect()
}

/// The reports of report frames.
pub(crate) fn reports(dispatch: &Option<Dispatch>) -> Vec<Report> {
    let frames = dispatch.iter().flat_map(|dispatch| &dispatch.frames);
    frames
        .flat_map(|frame| ReportFrame::decode(&frame.body).unwrap().reports)
        .collect()
}
