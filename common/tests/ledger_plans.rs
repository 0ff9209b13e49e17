//! No hot statement of the embedded ledger reads a table from end to end: each is caught as the
//! port's methods run it, and explained on a filled table.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pabal_common::broker::{Broker as _, EmbeddedBroker, Member, QueueName};
use pabal_common::clock::{Clock as _, ManualClock, Timestamp};
use pabal_common::domain::id::{InstanceId, MessageId, OutboxId, SubmissionId, WebhookId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorAccount, VendorMessageId, Verdict};
use pabal_common::ledger::sqlite::SqliteLedger;
use pabal_common::ledger::{
    Claim, Delays as _, DueGroup, Hold, Intake as _, Outbox as _, Overdue, Queries as _,
    Reports as _, Settlement, StatsQuery, Submissions as _, Upkeep as _, WatchedStatus,
    Webhooks as _,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const ROWS: i64 = 20_000;

/// Tables that grow with what was ever sent or with what waits, and their names in statements.
const LARGE: [&str; 10] = [
    "messages",
    "m",
    "delays",
    "d",
    "webhooks",
    "w",
    "message_events",
    "parked_reports",
    "partner_daily_stats",
    "broker_frames",
];

/// The statements run so far, as the driver logs them.
#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<String>>>);

impl Caught {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Caught {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut seen = Statement::default();
            event.record(&mut seen);
            // A statement that is its own summary is not logged twice.
            let sql = if seen.full.trim().is_empty() {
                seen.summary
            } else {
                seen.full
            };
            self.0.lock().unwrap().push(sql.trim().to_owned());
        }
    }
}

#[derive(Default)]
struct Statement {
    summary: String,
    full: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => self.summary = value.to_owned(),
            "db.statement" => self.full = value.to_owned(),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

struct Plans {
    caught: Caught,
    pool: SqlitePool,
}

impl Plans {
    /// The plans of what was run since the last check; none may read a large table from end to
    /// end, and together they must use these indexes.
    async fn check(&self, what: &str, wanted: &[&str]) {
        let mut steps = Vec::new();
        let used = async {
            // The driver logs a statement about when its result is there, perhaps a moment later.
            while !wanted
                .iter()
                .all(|index| steps.iter().any(|step: &String| step.contains(index)))
            {
                for sql in self.caught.take() {
                    steps.extend(self.explain(what, &sql).await);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(5), used)
            .await
            .is_ok();
        assert!(in_time, "{what} does not use {wanted:?}: {steps:#?}");
    }

    async fn explain(&self, what: &str, sql: &str) -> Vec<String> {
        if !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|word| sql.starts_with(word))
        {
            return Vec::new();
        }
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}: {sql}"));
        let steps: Vec<String> = explained.iter().map(|row| row.get("detail")).collect();
        for step in &steps {
            let table = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            assert!(
                !table.is_some_and(|table| LARGE.contains(&table)),
                "{what}: {step} in {sql}"
            );
        }
        steps
    }
}

#[tokio::test]
async fn hot_statements_go_by_their_index_on_a_filled_table() {
    let caught = Caught::default();
    let subscriber = tracing_subscriber::registry().with(caught.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let file = folder.path().join("pabal.db");
    let start = Timestamp::parse_rfc3339("2026-11-21T03:00:00Z").unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let ledger = SqliteLedger::open(&file, clock.clone()).await.unwrap();
    let pool = fill(&file, start).await;
    let plans = Plans { caught, pool };
    plans.caught.take();

    let (me, now) = (InstanceId::from_number(7), clock.now());
    let id = |number| MessageId::from_number(number);
    let call = SubmissionId::from_number(1);
    let account = VendorAccount::new("carrier", "main");

    let message = new_message(ROWS.unsigned_abs() + 1, now);
    ledger
        .accept(me, OutboxId::from_number(1), &[message], &[])
        .await
        .unwrap();
    plans
        .check("accept", &["uk_message_partner_client_msg"])
        .await;

    let members = [1, 2, 3].map(|number| Member {
        id: id(number),
        attempt: 0,
    });
    let claim = Claim {
        submission: call,
        route: "sms-a".into(),
        account: account.clone(),
        members: members.to_vec(),
    };
    ledger.claim(me, &[claim], now).await.unwrap();
    plans
        .check("claim", &["messages USING INTEGER PRIMARY KEY"])
        .await;
    ledger
        .hold(
            MessageType::Sms,
            &[Member {
                id: id(9),
                attempt: 0,
            }],
            Hold::NoRoute,
            now,
            now,
        )
        .await
        .unwrap();
    plans
        .check("hold", &["messages USING INTEGER PRIMARY KEY"])
        .await;

    let settlement = |number, settled| Settlement {
        id: id(number),
        submission: call,
        settled,
        account: account.clone(),
        vendor_code: None,
        at: now,
        due: Some(now),
        tell_sent: true,
    };
    let settlements = [
        settlement(1, Settled::Taken(VendorMessageId::new("V"))),
        settlement(2, Settled::NotTaken { charged: true }),
        settlement(3, Settled::Lost),
        settlement(4, Settled::Final(Verdict::Delivered, None)),
    ];
    ledger
        .settle(me, OutboxId::from_number(2), &settlements, &[])
        .await
        .unwrap();
    plans
        .check("settle", &["messages USING INTEGER PRIMARY KEY"])
        .await;
    ledger.submitting(me, now, 10).await.unwrap();
    plans
        .check("submitting", &["idx_message_claimed (owner=?)"])
        .await;

    let groups = [DueGroup {
        kind: MessageType::Sms,
        limit: 10,
    }];
    ledger
        .release_due(me, OutboxId::from_number(3), &groups, now)
        .await
        .unwrap();
    plans
        .check(
            "release",
            &["idx_delay_group_due", "messages USING INTEGER PRIMARY KEY"],
        )
        .await;
    ledger.next_due(&MessageType::ALL).await.unwrap();
    plans.check("next due", &["idx_delay_group_due"]).await;
    ledger.take_asks(now, now, 10).await.unwrap();
    plans
        .check(
            "asks",
            &["idx_delay_group_due (kind=? AND route_group=? AND due<?)"],
        )
        .await;

    let report = |vendor_id: Option<&str>, message| Report {
        account: account.clone(),
        vendor_id: vendor_id.and_then(VendorMessageId::new),
        message,
        submission: None,
        verdict: Verdict::Failed(Reason::Spam),
        vendor_code: None,
        occurred_at: now,
    };
    let reports = [report(Some("V-77"), None), report(None, Some(id(78)))];
    let fresh = |number| WebhookId::from_number(ROWS.unsigned_abs() + number);
    let outcome = ledger
        .apply(me, &reports, &[fresh(1), fresh(2)], now)
        .await
        .unwrap();
    assert_eq!(outcome.ended, 2);
    plans
        .check(
            "apply",
            &["idx_message_vendor", "messages USING INTEGER PRIMARY KEY"],
        )
        .await;
    let late = now.plus(Duration::from_secs(1_000_000));
    ledger
        .expire(me, &[id(80)], &[fresh(3)], late, Overdue::default())
        .await
        .unwrap();
    plans
        .check("expire", &["idx_parked_vendor", "idx_parked_message"])
        .await;
    ledger.take_parked(now, now, 10).await.unwrap();
    plans.check("parked", &["idx_parked_due"]).await;

    ledger
        .walk(WatchedStatus::Received, Some(id(500)), 100)
        .await
        .unwrap();
    plans
        .check("walk", &["idx_message_status (status=? AND rowid>?)"])
        .await;
    ledger.endpoints_due(me, now, 10).await.unwrap();
    plans
        .check(
            "endpoints",
            &["idx_webhook_endpoint (owner=? AND partner_id=?)"],
        )
        .await;
    let shop = "shop".parse().unwrap();
    ledger.due_webhooks(me, &shop, now, &[], 10).await.unwrap();
    plans
        .check(
            "due webhooks",
            &["idx_webhook_endpoint (owner=? AND partner_id=? AND next_attempt_at<?)"],
        )
        .await;
    ledger
        .adopt_webhooks(InstanceId::from_number(8), 10)
        .await
        .unwrap();
    plans
        .check("adopt webhooks", &["idx_webhook_endpoint (owner>?)"])
        .await;
    ledger
        .retire_messages(now.minus(Duration::from_secs(1)), 10)
        .await
        .unwrap();
    plans
        .check(
            "retention",
            &[
                "idx_message_created_at",
                "webhooks USING INTEGER PRIMARY KEY",
            ],
        )
        .await;
    ledger.outbox_of(me, now, 10).await.unwrap();
    ledger
        .take_over(&[(id(5), call, None)], "gone", now)
        .await
        .unwrap();
    ledger
        .queue_again(me, OutboxId::from_number(4), &[(id(5), now)], now)
        .await
        .unwrap();
    ledger
        .report_again(me, OutboxId::from_number(5), &[id(5)], now)
        .await
        .unwrap();
    ledger.delay_again(&[id(5)], now).await.unwrap();
    plans
        .check("upkeep", &["messages USING INTEGER PRIMARY KEY"])
        .await;

    ledger.message(id(5)).await.unwrap();
    ledger
        .message_by_client_id(&shop, &"order-5".parse().unwrap())
        .await
        .unwrap();
    ledger.events(id(5)).await.unwrap();
    plans
        .check(
            "query",
            &["uk_message_partner_client_msg", "idx_event_message"],
        )
        .await;
    let day = now.kst_day();
    let query = StatsQuery {
        partner: shop,
        from: day,
        to: day,
        kind: None,
    };
    ledger.daily(&query).await.unwrap();
    plans
        .check(
            "daily",
            &["uk_stat_partner_date_type", "PRIMARY KEY (partner_id=?"],
        )
        .await;

    let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
    plans.caught.take();
    let mut frames = broker.subscribe(QueueName::Report, 2).await.unwrap();
    frames.next().await.unwrap().ack().await;
    broker.flush().await;
    frames.next().await.unwrap().reject().await;
    broker.dead_frames(1).await.unwrap();
    let wanted = [
        "idx_frame_queue (dead=? AND queue=? AND frame_id>?)",
        "idx_frame_queue (dead=?)",
        "broker_frames USING INTEGER PRIMARY KEY",
    ];
    plans.check("broker", &wanted).await;
}

fn new_message(number: u64, now: Timestamp) -> NewMessage {
    NewMessage {
        id: MessageId::from_number(number),
        partner: "shop".parse().unwrap(),
        client_msg_id: format!("order-{number}").parse().unwrap(),
        digest: [0; 16],
        kind: MessageType::Sms,
        purpose: Purpose::Info,
        lane: Lane::Ordinary,
        accepted_at: now,
        valid_until: now.plus(Duration::from_secs(3600)),
        metadata: None,
        sealed: vec![1],
        recipient_hash: [0; 16],
    }
}

/// Messages of every status, half of them ended; and delays, webhooks and parked reports.
async fn fill(file: &Path, start: Timestamp) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(file);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let at = start.millis();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
    );
    let statements = [
        "INSERT INTO partners VALUES ('shop', 'Shop', 1, '', 1, 1, 1, 'reject', 'https://x', \
         x'00', NULL, NULL, 1, 1, NULL, 0, 0)"
            .to_owned(),
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, submission_id, provider_account, \
             vendor_message_id, claimed_at, created_at, valid_until, final_at, recipient_hash, \
             sealed) {numbers} SELECT i, 'shop', 'order-' || i, zeroblob(16), 1, 2, 0, \
             CASE WHEN i <= 50 THEN 1 WHEN i % 2 THEN 3 ELSE 4 END, \
             CASE WHEN i <= 50 THEN 1 WHEN i % 2 THEN 5 ELSE 6 END, 2, {at}, i, 'carrier/main', \
             CASE WHEN i > 50 THEN 'V-' || i END, {at}, {at} + i, {at} + 3600000, \
             CASE WHEN i > 50 AND i % 2 = 0 THEN {at} END, x'00', x'00' FROM n"
        ),
        // Two rows for the reports below.
        "UPDATE messages SET phase = 5, status = 3, final_at = NULL \
         WHERE message_id IN (77, 78, 80)"
            .to_owned(),
        format!("INSERT INTO delays {numbers} SELECT i, 1 + i % 2, 0, 1, {at} + i FROM n"),
        format!(
            "INSERT INTO webhooks {numbers} SELECT i, 'shop', 7, 0, {at} + i, 1, '{{}}', {at} \
             FROM n"
        ),
        format!(
            "INSERT INTO parked_reports (provider_account, vendor_message_id, message_id, report, \
             misses, since, due) {numbers} SELECT 'carrier/main', 'P-' || i, {ROWS} + i, x'00', 0, \
             {at}, {at} + i FROM n"
        ),
        format!("INSERT INTO broker_frames {numbers} SELECT i, 102, 0, x'00' FROM n"),
        format!(
            "INSERT INTO message_events (message_id, at, kind, note) {numbers} \
             SELECT i, {at}, 'RETRY', '' FROM n"
        ),
    ];
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    pool
}
