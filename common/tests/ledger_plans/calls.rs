//! Every hot call of the port, on the messages both implementations are filled with.

use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::Member;
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{
    DeadLetterId, FileId, InstanceId, MessageId, OutboxId, PartnerId, SubmissionId, WebhookId,
};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::template::TemplateKey;
use pabal_common::ledger::{
    Claim, DeadLetterFilter, DeadLetterKind, DeliveryResult, DueGroup, Hold, Ledger, NewDeadLetter,
    Overdue, RefreshToken, Settlement, StatsQuery, WatchedStatus,
};

/// How many messages there are, and rows of every other large table. By number: DONE up to
/// [`DONE`], then ANSWERED up to [`ANSWERED`], then WAITING up to [`WAITING`], then QUEUED. Each was
/// accepted a second after the one before, the last one at the start.
pub(crate) const ROWS: u64 = 20_000;
pub(crate) const DONE: u64 = 16_000;
pub(crate) const ANSWERED: u64 = 18_000;
pub(crate) const WAITING: u64 = 19_000;
/// One of the ANSWERED that holds a final answer.
pub(crate) const HOLDS_VERDICT: u64 = ANSWERED - 100;
/// One of the WAITING without a delay.
pub(crate) const ADRIFT: u64 = WAITING - 8;
/// Up to this number outbox rows and webhooks belong to a process that is gone; the rest are of
/// [`ME`].
pub(crate) const ORPHANED: u64 = 2_000;
/// A live process.
pub(crate) const ME: u64 = 7;
/// One that is gone.
pub(crate) const GONE: u64 = 5;
/// The moment of the last message: noon in Korea.
pub(crate) const START: Timestamp = Timestamp::from_millis(START_MILLIS.cast_signed());
const START_MILLIS: u64 = 1_795_230_000_000;

/// The plans of what was run since the last check.
#[async_trait]
pub(crate) trait Plans {
    async fn check(&self, call: &str);
}

/// Makes every hot call and has its plans checked.
pub(crate) async fn make(ledger: &dyn Ledger, now: Timestamp, plans: &dyn Plans) {
    let calls = Calls { ledger, now, plans };
    calls.intake().await;
    calls.submissions().await;
    calls.delays().await;
    calls.reports().await;
    calls.upkeep().await;
    calls.webhooks().await;
    calls.outbox().await;
    calls.instances().await;
    calls.tokens().await;
    calls.files().await;
    calls.templates().await;
    calls.questions().await;
    calls.dead_letters().await;
    calls.retention().await;
}

struct Calls<'a> {
    ledger: &'a dyn Ledger,
    now: Timestamp,
    plans: &'a dyn Plans,
}

const ME_ID: InstanceId = InstanceId::from_number(ME);

/// The id of the message with a number, and of the row with it in every other table: as an id is
/// made from the time.
pub(crate) const fn key(number: u64) -> u64 {
    const EPOCH: u64 = 1_577_836_800_000;
    (START_MILLIS + number * 1000 - ROWS * 1000 - EPOCH) << 22 | number
}

const fn id(number: u64) -> MessageId {
    MessageId::from_number(key(number))
}

/// An outbox row of a call.
const fn outbox(call: u64) -> OutboxId {
    OutboxId::from_number(key(ROWS + call))
}

/// A webhook of a call.
const fn webhook(call: u64) -> WebhookId {
    WebhookId::from_number(key(ROWS + call))
}

fn shop() -> PartnerId {
    "shop".parse().unwrap()
}

fn account() -> VendorAccount {
    VendorAccount::new("carrier", "main")
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Calls<'_> {
    async fn intake(&self) {
        let message = self.new_message(ROWS + 1);
        let repeated = NewMessage {
            client_msg_id: "order-5".parse().unwrap(),
            ..self.new_message(ROWS + 2)
        };
        self.ledger
            .accept(ME_ID, outbox(1), &[message, repeated], &[])
            .await
            .unwrap();
        self.plans.check("accept").await;
    }

    fn new_message(&self, number: u64) -> NewMessage {
        NewMessage {
            id: id(number),
            partner: shop(),
            client_msg_id: format!("order-{number}").parse().unwrap(),
            digest: [0; 16],
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            accepted_at: self.now,
            valid_until: self.now.plus(seconds(3600)),
            metadata: None,
            sealed: vec![1],
            recipient_hash: [0; 16],
        }
    }

    async fn submissions(&self) {
        let (ledger, now, call) = (self.ledger, self.now, SubmissionId::from_number(1));
        let members = |numbers: &[u64]| -> Vec<Member> {
            let ids = numbers.iter().map(|number| id(*number));
            ids.map(|id| Member { id, attempt: 0 }).collect()
        };
        let numbers = [WAITING + 1, WAITING + 2, WAITING + 3, WAITING + 4];
        let claim = Claim {
            submission: call,
            route: "sms-a".into(),
            account: account(),
            members: members(&numbers),
        };
        let ids: Vec<MessageId> = claim.members.iter().map(|member| member.id).collect();
        assert_eq!(ledger.look(&ids).await.unwrap().len(), ids.len());
        self.plans.check("look").await;
        let claims = std::slice::from_ref(&claim);
        let calls = ledger.claim(ME_ID, claims, now).await.unwrap();
        assert_eq!(calls[0].messages.len(), numbers.len());
        self.plans.check("claim").await;
        ledger.reread(&claim).await.unwrap();
        self.plans.check("reread").await;

        let all = [
            Settled::Taken(VendorMessageId::new("V")),
            Settled::NotTaken { charged: true },
            Settled::Lost,
            Settled::Final(Verdict::Delivered, None),
        ];
        for (number, settled) in numbers.into_iter().zip(all) {
            let settlement = Settlement {
                id: id(number),
                submission: call,
                settled,
                account: account(),
                vendor_code: None,
                at: now,
                due: Some(now),
                tell_sent: true,
            };
            let outbox = outbox(number);
            ledger
                .settle(ME_ID, outbox, &[settlement], &[])
                .await
                .unwrap();
            self.plans.check("settle").await;
        }
        let held = members(&[WAITING + 9]);
        ledger
            .hold(MessageType::Sms, &held, Hold::NoRoute, now, now)
            .await
            .unwrap();
        self.plans.check("hold").await;
    }

    async fn delays(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let groups = [DueGroup {
            kind: MessageType::Sms,
            limit: 10,
        }];
        let released = ledger
            .release_due(ME_ID, outbox(3), &groups, now)
            .await
            .unwrap();
        assert!(released.is_some());
        self.plans.check("release due").await;
        ledger.next_due(&MessageType::ALL).await.unwrap();
        self.plans.check("next due").await;
        let asks = ledger.take_asks(now, now.plus(seconds(60)), 10).await;
        assert_eq!(asks.unwrap().len(), 10);
        self.plans.check("take asks").await;
        ledger.drop_asks(&[id(ANSWERED)]).await.unwrap();
        self.plans.check("drop asks").await;
    }

    async fn reports(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let report = |vendor_id: Option<&str>, message| Report {
            account: account(),
            vendor_id: vendor_id.and_then(VendorMessageId::new),
            message,
            submission: None,
            verdict: Verdict::Failed(Reason::Spam),
            vendor_code: None,
            occurred_at: now,
        };
        let by_vendor = format!("V-{}", DONE + 1);
        let reports = [
            report(Some(&by_vendor), None),
            report(None, Some(id(DONE + 5))),
        ];
        let outcome = ledger
            .apply(ME_ID, &reports, &[webhook(1), webhook(2)], now)
            .await
            .unwrap();
        assert_eq!(outcome.ended, 2);
        self.plans.check("apply").await;
        let late = now.plus(seconds(1_000_000));
        let ended = ledger
            .expire(
                ME_ID,
                &[id(DONE + 3)],
                &[webhook(3)],
                late,
                Overdue::default(),
            )
            .await;
        assert_eq!(ended.unwrap(), 1);
        self.plans.check("expire").await;
        let late = [const { DONE + 7 }; 10].map(|number| report(None, Some(id(number))));
        ledger.park(&late, now, now).await.unwrap();
        let parked = ledger.take_parked(now, now, 10).await.unwrap();
        assert_eq!(parked.len(), 10);
        self.plans.check("take parked").await;
        ledger.repark(&[(parked[0].key, now)]).await.unwrap();
        self.plans.check("repark").await;
        ledger.unpark(&[parked[0].key]).await.unwrap();
        self.plans.check("unpark").await;
    }

    async fn upkeep(&self) {
        let (ledger, now) = (self.ledger, self.now);
        for status in [WatchedStatus::Received, WatchedStatus::Sent] {
            for after in [None, Some(id(DONE + 500))] {
                let walked = ledger.walk(status, after, 100).await.unwrap();
                assert_eq!(walked.len(), 100);
                self.plans.check("walk").await;
            }
        }
        let queued = id(ROWS - 5);
        let claims = [(queued, SubmissionId::from_number(key(ROWS - 5)), None)];
        ledger.take_over(&claims, "gone", now).await.unwrap();
        self.plans.check("take over").await;
        let lost = [(queued, now)];
        let again = ledger.queue_again(ME_ID, outbox(4), &lost, now).await;
        assert!(again.unwrap().is_some());
        self.plans.check("queue again").await;
        let held = [(id(HOLDS_VERDICT), START)];
        let again = ledger.report_again(ME_ID, outbox(5), &held, now).await;
        assert!(again.unwrap().is_some());
        self.plans.check("report again").await;
        let asked = ledger.ask_once_more(&[id(DONE + 9)], now).await;
        assert_eq!(asked.unwrap(), 1);
        self.plans.check("ask once more").await;
        let delayed = ledger.delay_again(&[id(ADRIFT), queued], now).await;
        assert_eq!(delayed.unwrap(), 1);
        self.plans.check("delay again").await;
    }

    async fn webhooks(&self) {
        let (ledger, now) = (self.ledger, self.now);
        ledger.endpoints_due(ME_ID, now, 10).await.unwrap();
        self.plans.check("endpoints due").await;
        ledger.next_webhook(ME_ID).await.unwrap();
        self.plans.check("next webhook").await;
        let due = ledger
            .due_webhooks(ME_ID, &shop(), now, &[webhook(9)], 10)
            .await
            .unwrap();
        assert_eq!(due.len(), 10);
        self.plans.check("due webhooks").await;
        let retry = DeliveryResult::Retry {
            next_at: now.plus(seconds(60)),
            why: "away".into(),
        };
        let dead = DeliveryResult::Dead(self.letter(1));
        let results = [DeliveryResult::Delivered, retry, dead];
        for (webhook, result) in due.into_iter().zip(results) {
            let results = [(webhook, result)];
            ledger
                .record_deliveries(ME_ID, &results, now)
                .await
                .unwrap();
            self.plans.check("record deliveries").await;
        }
        let adopted = ledger.adopt_webhooks(ME_ID, 10).await.unwrap();
        assert_eq!(adopted, 10);
        self.plans.check("adopt webhooks").await;
    }

    async fn outbox(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let mine = ledger.outbox_of(ME_ID, None, now, 10).await.unwrap();
        assert_eq!(mine.len(), 10);
        self.plans.check("outbox of").await;
        let adopted = ledger.adopt_outbox(ME_ID, 10).await.unwrap();
        assert_eq!(adopted.len(), 10);
        self.plans.check("adopt outbox").await;
        ledger.retire(&[adopted[0].outbox]).await.unwrap();
        self.plans.check("retire outbox").await;
    }

    async fn instances(&self) {
        let (me, gone) = (ME_ID, InstanceId::from_number(GONE));
        self.ledger
            .heartbeat(me, seconds(10), &[], &[])
            .await
            .unwrap();
        self.plans.check("heartbeat").await;
        let lapsed = self.ledger.lapsed(&[me, gone]).await.unwrap();
        assert_eq!(lapsed, [gone]);
        self.plans.check("lapsed").await;
    }

    async fn tokens(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let token = RefreshToken {
            hash: [1; 32],
            family: [1; 16],
            partner: shop(),
            expires_at: now.plus(seconds(60)),
        };
        ledger.keep_refresh(&token, now).await.unwrap();
        let until = now.plus(seconds(120));
        ledger
            .rotate_refresh(&[1; 32], &[2; 32], until, seconds(1), now)
            .await
            .unwrap();
        self.plans.check("rotate token").await;
        ledger.revoke_refresh(&[2; 32]).await.unwrap();
        self.plans.check("revoke token").await;
    }

    async fn files(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let ids = [10, 20].map(|number| FileId::from_number(key(number)));
        assert_eq!(ledger.files(&ids).await.unwrap().len(), 2);
        self.plans.check("files").await;
        let held = [FileId::from_number(key(ROWS))];
        let until = now.plus(seconds(2 * ROWS));
        ledger.hold_files(&held, until).await.unwrap();
        self.plans.check("hold files").await;
        assert!(ledger.file_bytes(&shop()).await.unwrap() > 0);
        self.plans.check("file bytes").await;
        assert_eq!(ledger.expired_files(now, 10).await.unwrap().len(), 10);
        self.plans.check("expired files").await;
        assert_eq!(ledger.forget_files(&ids, now).await.unwrap(), 2);
        self.plans.check("forget files").await;
    }

    async fn templates(&self) {
        let named = |sender_key: &str, code: &str| TemplateKey {
            sender_key: sender_key.to_owned(),
            code: code.to_owned(),
        };
        let keys = [named("k-7", "T-7"), named("k-7", "T-8")];
        let found = self.ledger.templates(&shop(), &keys).await.unwrap();
        assert_eq!(found.len(), 1);
        self.plans.check("templates").await;
        let page = self
            .ledger
            .list_templates(&shop(), Some(&keys[0]), 10)
            .await;
        assert_eq!(page.unwrap().len(), 10);
        self.plans.check("list templates").await;
    }

    async fn questions(&self) {
        let ledger = self.ledger;
        assert!(ledger.message(id(5)).await.unwrap().is_some());
        self.plans.check("message").await;
        let client = "order-5".parse().unwrap();
        let found = ledger.message_by_client_id(&shop(), &client).await;
        assert!(found.unwrap().is_some());
        self.plans.check("message by client id").await;
        assert_eq!(ledger.events(id(5)).await.unwrap().len(), 1);
        self.plans.check("events").await;
        let day = self.now.kst_day();
        let mut query = StatsQuery {
            partner: shop(),
            from: day,
            to: day,
            kind: None,
        };
        ledger.daily(&query).await.unwrap();
        self.plans.check("daily").await;
        query.kind = Some(MessageType::Sms);
        ledger.daily(&query).await.unwrap();
        self.plans.check("daily").await;
    }

    fn letter(&self, call: u64) -> NewDeadLetter {
        NewDeadLetter {
            id: DeadLetterId::from_number(key(ROWS + call)),
            kind: DeadLetterKind::Report,
            partner: Some(shop()),
            subject: "V-1".into(),
            reason: "gave up".into(),
            attempts: 1,
            payload: vec![],
        }
    }

    async fn dead_letters(&self) {
        let (ledger, now) = (self.ledger, self.now);
        let page = DeadLetterFilter {
            after: Some(DeadLetterId::from_number(key(ROWS / 2))),
            limit: 10,
            ..DeadLetterFilter::default()
        };
        let of_partner = DeadLetterFilter {
            partner: Some(shop()),
            ..page.clone()
        };
        let by_id = DeadLetterFilter {
            ids: vec![DeadLetterId::from_number(key(ROWS - 1))],
            ..page.clone()
        };
        for (call, filter, found) in [
            ("dead letters", &page, 10),
            ("dead letters of a partner", &of_partner, 10),
            ("dead letters by id", &by_id, 1),
        ] {
            assert_eq!(ledger.dead_letters(filter).await.unwrap().len(), found);
            self.plans.check(call).await;
        }
        ledger.replay(ME_ID, outbox(6), &by_id, now).await.unwrap();
        self.plans.check("replay").await;
        ledger.bury(&[self.letter(2)], now).await.unwrap();
        self.plans.check("bury").await;
    }

    async fn retention(&self) {
        let before = self.now.minus(seconds(ROWS - 100));
        let retired = self.ledger.retire_messages(before, 10).await.unwrap();
        assert_eq!(retired, 10);
        self.plans.check("retention").await;
    }
}
