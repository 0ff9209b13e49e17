//! The ledger of many processes. Statements are heard on their way to the server, with what is bound
//! to them, and both explained and carried out again, to see how many rows they read.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pabal_common::clock::{Clock as _, ManualClock};
use pabal_common::domain::id::MessageId;
use pabal_common::ledger::mysql::{LeaseClock, MysqlConfig, MysqlLedger};
use serde_json::json;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, MySql, MySqlConnection, Row as _};
use tokio::sync::Mutex;

use crate::ALONE;
use crate::calls::{
    self, ADRIFT, ANSWERED, DONE, GONE, HOLDS_VERDICT, ME, ORPHANED, Plans, ROWS, START, WAITING,
};
use crate::tap::{Bound, Heard, Tap};

/// Where the server is, if not here.
const SERVER: &str = "PABAL_TEST_LEDGER_URL";
const HERE: &str = "mysql://root@127.0.0.1:3306";

/// What may be read from end to end: tables that are as large as the house, and not as what it has
/// sent.
const SMALL: [&str; 7] = [
    "partners",
    "sender_numbers",
    "instances",
    "ledger_counter",
    "queue_taken",
    "route_health",
    "poll_cursors",
];

/// The tables that grow with what was ever sent or with what waits.
const LARGE: [&str; 12] = [
    "messages",
    "message_events",
    "delays",
    "webhooks",
    "outbox",
    "parked_reports",
    "dead_letters",
    "refresh_tokens",
    "partner_daily_stats",
    "partner_daily_accepted",
    "files",
    "templates",
];

/// The names of a list that a statement brings with it.
const LIST: [&str; 2] = ["j", "list"];

/// How many rows a statement may read: each call here is about ten rows or a hundred, and there are
/// fifty partners.
const READS: i64 = 300;

/// The indexes a call must use, each behind its table.
fn wanted(call: &str) -> &'static [&'static str] {
    match call {
        "accept" => &["messages uk_message_partner_client_msg"],
        "look" | "claim" | "reread" | "settle" | "hold" | "take over" | "queue again"
        | "report again" | "delay again" | "ask once more" | "message" => &["messages PRIMARY"],
        "release due" => &["delays idx_delay_group_due", "messages PRIMARY"],
        "next due" | "take asks" => &["delays idx_delay_group_due"],
        "drop asks" => &["delays PRIMARY"],
        "apply" => &["messages idx_message_vendor", "messages PRIMARY"],
        "expire" => &[
            "parked_reports idx_parked_vendor",
            "parked_reports idx_parked_message",
        ],
        "take parked" => &["parked_reports idx_parked_due"],
        "repark" | "unpark" => &["parked_reports PRIMARY"],
        "walk" => &["messages idx_message_status"],
        "endpoints due" | "next webhook" | "due webhooks" | "adopt webhooks" => {
            &["webhooks idx_webhook_endpoint"]
        }
        "record deliveries" => &["webhooks PRIMARY"],
        "outbox of" => &["outbox idx_outbox_owner"],
        "adopt outbox" => &["outbox idx_outbox_owner", "outbox PRIMARY"],
        "retire outbox" => &["outbox PRIMARY"],
        "heartbeat" => &["instances PRIMARY"],
        "lapsed" => &[],
        "rotate token" => &["refresh_tokens PRIMARY"],
        "revoke token" => &[
            "refresh_tokens PRIMARY",
            "refresh_tokens idx_refresh_family",
        ],
        "files" | "hold files" | "forget files" => &["files PRIMARY"],
        "file bytes" => &["files idx_file_partner"],
        "expired files" => &["files idx_file_expires"],
        "templates" | "list templates" => &["templates PRIMARY"],
        "message by client id" => &["messages uk_message_partner_client_msg"],
        "events" => &["message_events idx_event_message"],
        "daily" => &[
            "partner_daily_accepted PRIMARY",
            "partner_daily_stats uk_stat_partner_date_type",
        ],
        "dead letters" | "dead letters by id" | "replay" => &["dead_letters PRIMARY"],
        "dead letters of a partner" => &["dead_letters idx_dead_letter_partner"],
        "bury" => &[],
        "retention" => &[
            "messages idx_message_created_at",
            "messages PRIMARY",
            "message_events idx_event_message",
            "partner_daily_stats uk_stat_partner_date_type",
            "webhooks PRIMARY",
            "dead_letters idx_dead_letter_created_at",
            "refresh_tokens idx_refresh_expires",
        ],
        other => panic!("{other} wants no index"),
    }
}

/// A schema of its own on the server, dropped at the end.
struct Schema {
    options: MySqlConnectOptions,
    name: String,
}

impl Schema {
    async fn create() -> Self {
        let url = std::env::var(SERVER).unwrap_or_else(|_| HERE.to_owned());
        let options: MySqlConnectOptions = url.parse().unwrap();
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let name = format!("pabal_test_{}_{:08x}", made.as_secs(), fastrand::u32(..));
        let it = Self { options, name };
        let create = format!("CREATE DATABASE {}", it.name);
        let mut connection = it.options.connect().await.unwrap_or_else(|error| {
            panic!("no server for the test at {url}, which {SERVER} may name: {error}")
        });
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        it
    }

    async fn connect(&self) -> MySqlConnection {
        let options = self.options.clone().database(&self.name);
        let mut connection = options.connect().await.unwrap();
        connection
            .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .await
            .unwrap();
        connection
    }

    /// The ledger's way to it through a tap, which understands no TLS.
    fn url(&self, tap: &Tap) -> String {
        let mut url = self.options.to_url_lossy();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(tap.port())).unwrap();
        url.set_path(&self.name);
        url.set_query(Some("ssl-mode=DISABLED"));
        url.to_string()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (options, drop) = (self.options.clone(), format!("DROP DATABASE {}", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut connection = options.connect().await.unwrap();
                connection.execute(AssertSqlSafe(drop)).await.unwrap();
            });
        });
        dropped.join().ok();
    }
}

struct Explained {
    tap: Tap,
    connection: Mutex<MySqlConnection>,
}

#[async_trait]
impl Plans for Explained {
    async fn check(&self, call: &str) {
        let mut connection = self.connection.lock().await;
        let mut used = Vec::new();
        for heard in self.tap.take() {
            if ["SELECT", "INSERT", "UPDATE", "DELETE"]
                .iter()
                .any(|word| heard.sql.starts_with(word))
            {
                used.extend(explain(&mut connection, call, &heard).await);
                let reads = carry_out(&mut connection, &heard).await;
                assert!(reads <= READS, "{call}: {reads} rows are read by {heard:?}");
            }
        }
        for index in wanted(call) {
            let is_used = used.iter().any(|one| one == index);
            assert!(is_used, "{call} does not use {index}: {used:#?}");
        }
    }
}

/// The index of each table of a statement; none may be read from end to end unless it is small.
async fn explain(connection: &mut MySqlConnection, call: &str, heard: &Heard) -> Vec<String> {
    let explain = format!("EXPLAIN {}", heard.sql);
    let rows = query(explain, heard)
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{call}: {error}: {heard:?}"));
    let mut used = Vec::new();
    for row in &rows {
        let column = |name| row.get::<Option<String>, _>(name);
        // No table: a row that was not found by its key, or values only.
        let (Some(table), Some(how)) = (column("table"), column("type")) else {
            continue;
        };
        let table = full_name(&heard.sql, &table);
        let key = column("key");
        let by_key = key.is_some() && !["ALL", "index"].contains(&how.as_str());
        let is_small = LIST.contains(&table) || table.starts_with('<') || SMALL.contains(&table);
        let is_values = how == "ALL" && heard.sql.starts_with("INSERT");
        assert!(
            by_key || is_small || is_values,
            "{call}: {table} {how} {key:?} in {heard:?}\n{:#?}",
            rows.iter().map(shown).collect::<Vec<_>>()
        );
        used.extend(key.map(|key| format!("{table} {key}")));
    }
    used
}

/// The table that a statement calls so.
fn full_name<'a>(sql: &'a str, name: &'a str) -> &'a str {
    let words: Vec<&str> = sql
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .collect();
    let named = words.windows(2).find(|pair| {
        let is_table = LARGE.contains(&pair[0]) || SMALL.contains(&pair[0]);
        is_table && pair[1] == name
    });
    named.map_or(name, |pair| pair[0])
}

fn shown(row: &MySqlRow) -> String {
    let texts = ["table", "type", "key", "Extra"].map(|name| row.get::<Option<String>, _>(name));
    format!("{texts:?}")
}

/// Carries a statement out again, undone afterwards; returns how many rows it read.
async fn carry_out(connection: &mut MySqlConnection, heard: &Heard) -> i64 {
    connection.execute("BEGIN").await.unwrap();
    let before = reads(connection).await;
    // A row that is inserted again is there already: that is no matter here.
    let done = query(heard.sql.clone(), heard)
        .fetch_all(&mut *connection)
        .await;
    assert!(done.is_ok() || heard.sql.starts_with("INSERT"), "{heard:?}");
    let after = reads(connection).await;
    connection.execute("ROLLBACK").await.unwrap();
    after - before
}

async fn reads(connection: &mut MySqlConnection) -> i64 {
    let rows = sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Handler\\_read%'")
        .fetch_all(connection)
        .await
        .unwrap();
    rows.iter()
        .map(|row| row.get::<String, _>("Value").parse::<i64>().unwrap())
        .sum()
}

fn query(sql: String, heard: &Heard) -> Query<'static, MySql, MySqlArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in heard.bound.clone() {
        query = match value {
            Bound::Null => query.bind(None::<i64>),
            Bound::Number(number) => query.bind(number),
            Bound::Text(text) => query.bind(text),
            Bound::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}

#[tokio::test]
async fn hot_statements_go_by_their_index_on_a_filled_table_of_mysql() {
    let _alone = ALONE.lock().await;
    let schema = Schema::create().await;
    let clock = Arc::new(ManualClock::new(START));
    let server = format!(
        "{}:{}",
        schema.options.get_host(),
        schema.options.get_port()
    );
    let tap = Tap::before(server).await;
    let config = MysqlConfig {
        url: schema.url(&tap),
        password: None,
        connections: 2,
        lease_clock: LeaseClock::Given(clock.clone()),
    };
    let ledger = MysqlLedger::open(&config).await.unwrap();
    let mut connection = schema.connect().await;
    fill(&mut connection).await;
    tap.take();
    let plans = Explained {
        tap,
        connection: Mutex::new(connection),
    };
    calls::make(&ledger, clock.now(), &plans).await;
    ledger.close().await;
}

async fn fill(connection: &mut MySqlConnection) {
    let numbers: Vec<_> = (1..=ROWS)
        .map(|number| {
            json!([
                number,
                MessageId::from_number(calls::key(number)).to_string()
            ])
        })
        .collect();
    connection
        .execute("CREATE TABLE n (i BIGINT NOT NULL PRIMARY KEY, id CHAR(13) CHARACTER SET ascii)")
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO n SELECT j.i, j.id FROM JSON_TABLE(?, '$[*]' COLUMNS \
         (i BIGINT PATH '$[0]', id CHAR(13) CHARACTER SET ascii PATH '$[1]')) j",
    )
    .bind(json!(numbers).to_string())
    .execute(&mut *connection)
    .await
    .unwrap();

    let at = START.millis();
    let accepted = format!("{at} - ({ROWS} - i) * 1000");
    let [me, gone, held] = [ME, GONE, calls::key(HOLDS_VERDICT)].map(MessageId::from_number);
    let owner = format!("CASE WHEN i <= {ORPHANED} THEN '{gone}' ELSE '{me}' END");
    let statements = [
        "INSERT INTO partners SELECT IF(i = 1, 'shop', concat('p-', i)), 'Shop', TRUE, '', 1, 1, \
         1, 'reject', 'https://x', x'00', NULL, NULL, 1, TRUE, NULL, 0, 0 FROM n WHERE i <= 50"
            .to_owned(),
        format!("INSERT INTO instances VALUES ('{me}', 1, 'test', 1, {at}, {at} + 10000)"),
        format!(
            "INSERT INTO messages (message_id, partner_id, client_msg_id, digest, message_type, \
             purpose, lane, status, phase, queue, queued_at, owner, submission_id, \
             provider_account, vendor_message_id, claimed_at, created_at, valid_until, final_at, \
             recipient_hash, sealed) SELECT id, 'shop', concat('order-', i), repeat(x'00', 16), 1, \
             2, 0, IF(i <= {DONE}, 4, IF(i <= {ANSWERED}, 3, 1)), \
             IF(i <= {DONE}, 6, IF(i <= {ANSWERED}, 5, IF(i <= {WAITING}, 2, 1))), 2, {at}, \
             IF(i <= {WAITING}, '{me}', NULL), id, 'carrier/main', \
             IF(i <= {ANSWERED}, concat('V-', i), NULL), IF(i <= {WAITING}, {at}, NULL), \
             {accepted}, {at} + 3600000, IF(i <= {DONE}, {at}, NULL), x'00', repeat(x'01', 300) \
             FROM n"
        ),
        format!(
            "UPDATE messages SET verdict = 'DELIVERED', answered_at = {at} \
             WHERE message_id = '{held}'"
        ),
        // What waits has its retry, every second one due; the rest are questions, some of them due.
        format!(
            "INSERT INTO delays SELECT id, 1, 0, 1, {at} + (i % 2) * 60000 FROM n \
             WHERE i > {ANSWERED} AND i <= {WAITING} AND i <> {ADRIFT}"
        ),
        format!(
            "INSERT INTO delays SELECT id, 3, 0, 1, {at} - 1000 FROM n \
             WHERE i > {ANSWERED} - 50 AND i <= {ANSWERED}"
        ),
        format!(
            "INSERT INTO delays SELECT id, 2, 0, 1, {at} + 3600000 + i FROM n WHERE i <= {DONE}"
        ),
        format!(
            "INSERT INTO webhooks SELECT id, 'shop', {owner}, 0, \
             {at} + (i - {ROWS} / 2) * 1000, 1, '{{}}', {accepted} FROM n"
        ),
        format!("INSERT INTO outbox SELECT id, {owner}, {accepted}, '' FROM n"),
        format!(
            "INSERT INTO parked_reports (provider_account, vendor_message_id, message_id, report, \
             misses, since, due) SELECT 'carrier/main', concat('P-', i), concat('Z', \
             substr(id, 2)), x'00', 0, {at}, {at} + 1000 + i FROM n"
        ),
        format!(
            "INSERT INTO message_events (message_id, at, kind, note) \
             SELECT id, {at}, 'RETRY', '' FROM n"
        ),
        format!(
            "INSERT INTO dead_letters SELECT id, 'report', IF(i % 10, 'mall', 'shop'), \
             concat('V-', i), '', 1, '', {accepted}, NULL FROM n"
        ),
        format!(
            "INSERT INTO refresh_tokens SELECT unhex(sha2(i, 256)), unhex(md5(i)), 'mall', {at}, \
             {at} + 3600000 + i, NULL, FALSE FROM n"
        ),
        format!(
            "INSERT INTO files SELECT id, IF(i % 200, 'mall', 'shop'), repeat(x'00', 32), i, \
             'image/jpeg', 1, 1, 1, NULL, {at}, {at} + (i - 100) * 1000 FROM n"
        ),
        format!(
            "INSERT INTO templates SELECT 'shop', concat('k-', i % 50), concat('T-', i), '', '[]', \
             'APPROVED', {at} FROM n"
        ),
        "INSERT INTO partner_daily_stats SELECT concat('p-', i % 50), 20000000 + i, 1, 1, 1, 0, 0, \
         FALSE FROM n"
            .to_owned(),
        "INSERT INTO partner_daily_accepted SELECT concat('p-', i % 50), 20000000 + i, 1, 0, 1 \
         FROM n"
            .to_owned(),
        "DROP TABLE n".to_owned(),
        // What is known of the tables is not left to chance.
        "ANALYZE TABLE messages, delays, webhooks, outbox, parked_reports, message_events, \
         dead_letters, refresh_tokens, partner_daily_stats, partner_daily_accepted, partners, \
         instances, files, templates"
            .to_owned(),
    ];
    for statement in statements {
        connection
            .execute(AssertSqlSafe(statement.clone()))
            .await
            .unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}
