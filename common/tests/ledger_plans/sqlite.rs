//! The embedded ledger, and the embedded broker in the same file. Statements come from the driver's
//! log.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use pabal_common::broker::{Broker as _, EmbeddedBroker, QueueName};
use pabal_common::clock::{Clock as _, ManualClock};
use pabal_common::ledger::sqlite::SqliteLedger;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::ALONE;
use crate::calls::{
    self, ADRIFT, ANSWERED, DONE, GONE, HOLDS_VERDICT, ME, ORPHANED, Plans, ROWS, START, WAITING,
};

/// Tables that grow with what was ever sent or with what waits, and their names in statements. The
/// outbox is none of them: its rows go when the broker in the same file has confirmed.
const LARGE: [&str; 18] = [
    "messages",
    "m",
    "delays",
    "d",
    "webhooks",
    "w",
    "message_events",
    "parked_reports",
    "dead_letters",
    "refresh_tokens",
    "partner_daily_stats",
    "partner_daily_accepted",
    "a",
    "broker_frames",
    "files",
    "f",
    "templates",
    "t",
];

const BY_KEY: &str = "messages USING INTEGER PRIMARY KEY";
const BY_KEY_TOO: &str = "m USING INTEGER PRIMARY KEY";

/// The indexes a call must use.
fn wanted(call: &str) -> &'static [&'static str] {
    match call {
        "accept" => &["uk_message_partner_client_msg"],
        "claim" | "hold" | "settle" | "take over" | "queue again" => &[BY_KEY],
        "look" | "reread" | "report again" | "ask once more" | "delay again" | "message" => {
            &[BY_KEY_TOO]
        }
        "release due" => &["idx_delay_group_due", BY_KEY],
        "next due" => &["idx_delay_group_due"],
        "take asks" => &["idx_delay_group_due (kind=? AND route_group=? AND due<?)"],
        "drop asks" => &["delays USING PRIMARY KEY (message_id=?"],
        "apply" => &["idx_message_vendor", BY_KEY],
        "expire" => &["idx_parked_vendor", "idx_parked_message"],
        "take parked" => &["idx_parked_due"],
        "repark" | "unpark" => &["parked_reports USING INTEGER PRIMARY KEY"],
        "walk" => &["idx_message_status (status=? AND rowid>?)"],
        "endpoints due" | "next webhook" => &["idx_webhook_endpoint (owner=? AND partner_id=?)"],
        "due webhooks" => {
            &["idx_webhook_endpoint (owner=? AND partner_id=? AND next_attempt_at<?)"]
        }
        "record deliveries" => &["webhooks USING INTEGER PRIMARY KEY"],
        "adopt webhooks" => &["idx_webhook_endpoint (owner>?)"],
        "outbox of" | "adopt outbox" => &["outbox"],
        "retire outbox" => &["outbox USING INTEGER PRIMARY KEY"],
        "heartbeat" => &["instances USING INTEGER PRIMARY KEY"],
        "lapsed" => &["instances"],
        "rotate token" | "revoke token" => &["refresh_tokens"],
        "files" => &["f USING INTEGER PRIMARY KEY"],
        "hold files" | "forget files" => &["files USING INTEGER PRIMARY KEY"],
        "file bytes" => &["COVERING INDEX idx_file_partner (partner_id=?)"],
        "expired files" => &["idx_file_expires (expires_at<?)"],
        "templates" => &["PRIMARY KEY (partner_id=? AND sender_key=? AND code=?)"],
        "list templates" => &["PRIMARY KEY (partner_id=? AND (sender_key,code)>(?,?))"],
        "message by client id" => &["uk_message_partner_client_msg"],
        "events" => &["idx_event_message"],
        "daily" => &["uk_stat_partner_date_type", "PRIMARY KEY (partner_id=?"],
        "dead letters" | "dead letters by id" | "replay" => {
            &["dead_letters USING INTEGER PRIMARY KEY"]
        }
        "dead letters of a partner" => &["idx_dead_letter_partner"],
        "bury" => &[],
        "retention" => &[
            "idx_message_created_at",
            "webhooks USING INTEGER PRIMARY KEY",
            "idx_dead_letter_created_at",
            "idx_refresh_expires",
        ],
        "broker" => &[
            "idx_frame_queue (dead=? AND queue=? AND frame_id>?)",
            "idx_frame_queue (dead=?)",
            "broker_frames USING INTEGER PRIMARY KEY",
        ],
        other => panic!("{other} wants no index"),
    }
}

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

struct Explained {
    caught: Caught,
    pool: SqlitePool,
}

#[async_trait]
impl Plans for Explained {
    async fn check(&self, call: &str) {
        let wanted = wanted(call);
        let mut steps = Vec::new();
        let used = async {
            // The driver logs a statement about when its result is there, perhaps a moment later.
            while !wanted
                .iter()
                .all(|index| steps.iter().any(|step: &String| step.contains(index)))
            {
                for sql in self.caught.take() {
                    steps.extend(self.explain(call, &sql).await);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(5), used)
            .await
            .is_ok();
        assert!(in_time, "{call} does not use {wanted:?}: {steps:#?}");
    }
}

impl Explained {
    async fn explain(&self, call: &str, sql: &str) -> Vec<String> {
        if !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|word| sql.starts_with(word))
        {
            return Vec::new();
        }
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{call}: {error}: {sql}"));
        let steps: Vec<String> = explained.iter().map(|row| row.get("detail")).collect();
        for step in &steps {
            let table = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            assert!(
                !table.is_some_and(|table| LARGE.contains(&table)),
                "{call}: {step} in {sql}"
            );
        }
        steps
    }
}

#[tokio::test]
async fn hot_statements_go_by_their_index_on_a_filled_table_of_sqlite() {
    let _alone = ALONE.lock().await;
    let caught = Caught::default();
    let subscriber = tracing_subscriber::registry().with(caught.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let file = folder.path().join("pabal.db");
    let clock = Arc::new(ManualClock::new(START));
    let ledger = SqliteLedger::open(&file, clock.clone()).await.unwrap();
    let pool = fill(&file).await;
    let plans = Explained { caught, pool };
    plans.caught.take();
    calls::make(&ledger, clock.now(), &plans).await;

    let broker = EmbeddedBroker::open(&ledger, None).await.unwrap();
    plans.caught.take();
    let mut frames = broker.subscribe(QueueName::Report, 2).await.unwrap();
    frames.next().await.unwrap().ack().await;
    broker.flush().await;
    frames.next().await.unwrap().reject().await;
    broker.dead_frames(1).await.unwrap();
    plans.check("broker").await;
}

async fn fill(file: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(file);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let (at, held) = (START.millis(), calls::key(HOLDS_VERDICT));
    let accepted = format!("{at} - ({ROWS} - i) * 1000");
    let owner = format!("CASE WHEN i <= {ORPHANED} THEN {GONE} ELSE {ME} END");
    let (first, step) = (calls::key(0), calls::key(1) - calls::key(0));
    let numbers = format!(
        "WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {ROWS}), \
         n (i, id) AS (SELECT i, {first} + i * {step} FROM i)"
    );
    let statements = [
        "INSERT INTO partners VALUES ('shop', 'Shop', 1, '', 1, 1, 1, 'reject', 'https://x', \
         x'00', NULL, NULL, 1, 1, NULL, 0, 0)"
            .to_owned(),
        format!("INSERT INTO instances VALUES ({ME}, 1, 'test', 1, {at}, {at} + 10000)"),
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, submission_id, provider_account, \
             vendor_message_id, claimed_at, created_at, valid_until, final_at, recipient_hash, \
             sealed) {numbers} SELECT id, 'shop', 'order-' || i, zeroblob(16), 1, 2, 0, \
             CASE WHEN i <= {DONE} THEN 4 WHEN i <= {ANSWERED} THEN 3 ELSE 1 END, \
             CASE WHEN i <= {DONE} THEN 6 WHEN i <= {ANSWERED} THEN 5 \
             WHEN i <= {WAITING} THEN 2 ELSE 1 END, \
             2, {at}, id, 'carrier/main', CASE WHEN i <= {ANSWERED} THEN 'V-' || i END, \
             CASE WHEN i <= {WAITING} THEN {at} END, {accepted}, {at} + 3600000, \
             CASE WHEN i <= {DONE} THEN {at} END, x'00', x'00' FROM n"
        ),
        format!(
            "UPDATE messages SET verdict = 'DELIVERED', answered_at = {at} \
             WHERE message_id = {held}"
        ),
        // What waits has its retry, every second one due; the rest are questions, some of them due.
        format!(
            "INSERT INTO delays {numbers} SELECT id, 1, 0, 1, {at} + (i % 2) * 60000 FROM n \
             WHERE i > {ANSWERED} AND i <= {WAITING} AND i <> {ADRIFT}"
        ),
        format!(
            "INSERT INTO delays {numbers} SELECT id, 3, 0, 1, {at} - 1000 FROM n \
             WHERE i > {ANSWERED} - 50 AND i <= {ANSWERED}"
        ),
        format!(
            "INSERT INTO delays {numbers} SELECT id, 2, 0, 1, {at} + 3600000 + i FROM n \
             WHERE i <= {DONE}"
        ),
        format!(
            "INSERT INTO webhooks {numbers} SELECT id, 'shop', {owner}, 0, \
             {at} + (i - {ROWS} / 2) * 1000, 1, '{{}}', {accepted} FROM n"
        ),
        format!("INSERT INTO outbox {numbers} SELECT id, {owner}, {accepted}, x'' FROM n"),
        format!(
            "INSERT INTO parked_reports (provider_account, vendor_message_id, message_id, report, \
             misses, since, due) {numbers} SELECT 'carrier/main', 'P-' || i, i, \
             x'00', 0, {at}, {at} + 1000 + i FROM n"
        ),
        format!("INSERT INTO broker_frames {numbers} SELECT id, 102, 0, x'00' FROM n"),
        format!(
            "INSERT INTO message_events (message_id, at, kind, note) {numbers} \
             SELECT id, {at}, 'RETRY', '' FROM n"
        ),
        format!(
            "INSERT INTO dead_letters {numbers} SELECT id, 'report', \
             CASE WHEN i % 10 THEN 'mall' ELSE 'shop' END, 'V-' || i, '', 1, x'', {accepted}, NULL \
             FROM n"
        ),
        format!(
            "INSERT INTO refresh_tokens {numbers} SELECT randomblob(32), randomblob(16), 'mall', \
             {at}, {at} + 3600000 + i, NULL, 0 FROM n"
        ),
        format!(
            "INSERT INTO files {numbers} SELECT id, \
             CASE WHEN i % 200 THEN 'mall' ELSE 'shop' END, zeroblob(32), i, 'image/jpeg', 1, 1, 1, \
             NULL, {at}, {at} + (i - 100) * 1000 FROM n"
        ),
        format!(
            "INSERT INTO templates {numbers} SELECT 'shop', 'k-' || (i % 50), 'T-' || i, '', '[]', \
             'APPROVED', {at} FROM n"
        ),
        format!(
            "INSERT INTO partner_daily_stats {numbers} SELECT 'p-' || (i % 50), 20000000 + i, 1, \
             1, 1, 0, 0, 0 FROM n"
        ),
        format!(
            "INSERT INTO partner_daily_accepted {numbers} SELECT 'p-' || (i % 50), 20000000 + i, \
             1, 1 FROM n"
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
