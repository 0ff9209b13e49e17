//! Every metric, by a function. The names stand here and nowhere else, and no label can hold an id
//! or a partner's text: each is a word of ours or the name of a configured route or account.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::broker::QueueName;
use crate::domain::code::{Code, ErrorReason};
use crate::domain::kind::MessageType;
use crate::domain::reason::Reason;
use crate::domain::report::{VendorAccount, Verdict};
use crate::domain::status::Status;
use crate::ledger::DeadLetterKind;

const MESSAGES_ACCEPTED: &str = "pabal_messages_accepted_total";
const MESSAGES_ENDED: &str = "pabal_messages_ended_total";
const REQUESTS_REFUSED: &str = "pabal_requests_refused_total";
const HTTP_REQUEST: &str = "pabal_http_request_seconds";
const HTTP_CONNECTIONS: &str = "pabal_http_connections";
const HTTP_ACCEPT_ERRORS: &str = "pabal_http_accept_errors_total";
const VENDOR_CALLS: &str = "pabal_vendor_calls_total";
const VENDOR_CALL: &str = "pabal_vendor_call_seconds";
const ROUTE_USABLE: &str = "pabal_route_usable";
const ROUTE_CLOSED: &str = "pabal_route_closed";
const SENDERS_BLOCKED: &str = "pabal_senders_blocked_total";
const VENDOR_REPORTS: &str = "pabal_vendor_reports_total";
const CALLBACKS_REFUSED: &str = "pabal_vendor_callbacks_refused_total";
const POLL_FAILURES: &str = "pabal_vendor_poll_failures_total";
const REPORTS: &str = "pabal_reports_total";
const REPORTS_LATE: &str = "pabal_reports_late_total";
const REPORTS_PARKED: &str = "pabal_reports_parked";
const WEBHOOKS: &str = "pabal_webhooks_total";
const WEBHOOK_CALL: &str = "pabal_webhook_call_seconds";
const DEAD_LETTERS: &str = "pabal_dead_letters_total";
const QUEUE_READY: &str = "pabal_queue_ready";
const PUBLISH: &str = "pabal_publish_seconds";
const BREAKER_OPEN: &str = "pabal_breaker_open";
const QUEUE_BREAKER_OPEN: &str = "pabal_queue_breaker_open";
const BROKER_CONNECTED: &str = "pabal_broker_connected";
const BROKER_BLOCKED: &str = "pabal_broker_blocked";
const QUOTA_DEGRADED: &str = "pabal_quota_degraded";
const QUOTA_UNASKED: &str = "pabal_quota_unasked_total";
const OUTBOX_ROWS: &str = "pabal_outbox_rows";
const DELAYS_DUE: &str = "pabal_delays_due";
const LEDGER_COMMIT: &str = "pabal_ledger_commit_seconds";
const BATCH_SIZE: &str = "pabal_batch_size";
const LEASE_AGE: &str = "pabal_lease_age_seconds";
const TAKEN_OVER: &str = "pabal_messages_taken_over_total";
const REQUEUED: &str = "pabal_messages_requeued_total";

/// How a vendor call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The vendor took the message.
    Taken,
    /// It refused for good.
    Refused,
    /// It asked us to slow down.
    Throttled,
    /// It does not take this message yet.
    Deferred,
    /// It takes nothing from the account until somebody acts.
    Closed,
    /// Nothing reached it.
    NotConnected,
    /// Nobody knows.
    Unknown,
}

impl CallOutcome {
    const ALL: [Self; 7] = [
        Self::Taken,
        Self::Refused,
        Self::Throttled,
        Self::Deferred,
        Self::Closed,
        Self::NotConnected,
        Self::Unknown,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Deferred => "deferred",
            Self::Closed => "closed",
            Self::NotConnected => "not_connected",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a vendor's callback was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackRefusal {
    /// The vendor does not call back.
    NotExpected,
    /// It is not proven to be the vendor's, or not of now.
    NotAuthentic,
    /// It cannot be read.
    Unreadable,
    /// Too many of its account are being read.
    Busy,
    /// Neither the broker nor the ledger took it.
    NotKept,
}

impl CallbackRefusal {
    const ALL: [Self; 5] = [
        Self::NotExpected,
        Self::NotAuthentic,
        Self::Unreadable,
        Self::Busy,
        Self::NotKept,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NotExpected => "not_expected",
            Self::NotAuthentic => "not_authentic",
            Self::Unreadable => "unreadable",
            Self::Busy => "busy",
            Self::NotKept => "not_kept",
        }
    }
}

/// How a webhook attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// 2xx.
    Delivered,
    /// It will be tried again.
    Retry,
    /// The endpoint refused it for good.
    Refused,
    /// Its attempts are used up.
    Exhausted,
    /// The address is one we do not call.
    Forbidden,
    /// The endpoint asked to be left alone (410).
    Gone,
}

impl WebhookOutcome {
    const ALL: [Self; 6] = [
        Self::Delivered,
        Self::Retry,
        Self::Refused,
        Self::Exhausted,
        Self::Forbidden,
        Self::Gone,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
        }
    }
}

/// Messages answered with 202.
pub fn messages_accepted(kind: MessageType, count: u64) {
    counter!(MESSAGES_ACCEPTED, "type" => kind.name()).increment(count);
}

/// Messages that reached a final status; `reason` for those that were not delivered.
pub fn messages_ended(kind: MessageType, status: Status, reason: Option<Reason>, count: u64) {
    counter!(
        MESSAGES_ENDED,
        "type" => kind.name(),
        "status" => status.name(),
        "reason" => reason.map_or("", Reason::name),
    )
    .increment(count);
}

/// A refused request, or a refused item of a batch.
pub fn request_refused(code: Code, reason: ErrorReason) {
    count_refused_requests(code, reason, 1);
}

fn count_refused_requests(code: Code, reason: ErrorReason, count: u64) {
    counter!(REQUESTS_REFUSED, "code" => code.name(), "reason" => reason.name()).increment(count);
}

/// An answered HTTP request; `route` is the matched pattern, never the path.
pub fn http_request(route: &str, status: u16, took: Duration) {
    histogram!(HTTP_REQUEST, "route" => route.to_owned(), "status" => status_class(status))
        .record(took);
}

const fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "1xx",
    }
}

/// A connection a client holds; counted until it is dropped.
#[derive(Debug)]
pub struct Connection(());

impl Connection {
    /// One more.
    pub fn open() -> Self {
        gauge!(HTTP_CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        gauge!(HTTP_CONNECTIONS).decrement(1.0);
    }
}

/// The listener could not accept a connection.
pub fn accept_failed() {
    counter!(HTTP_ACCEPT_ERRORS).increment(1);
}

/// A vendor call that ended; `messages` went with it.
pub fn vendor_call(route: &str, outcome: CallOutcome, messages: u64, took: Duration) {
    count_vendor_call(route, outcome, messages);
    histogram!(VENDOR_CALL, "route" => route.to_owned()).record(took);
}

fn count_vendor_call(route: &str, outcome: CallOutcome, messages: u64) {
    counter!(VENDOR_CALLS, "route" => route.to_owned(), "outcome" => outcome.name())
        .increment(messages);
}

/// The share of its rate a route may use: 1 when well, 0 when closed. The route's counters are
/// there from the first time on.
pub fn route_usable(route: &str, share: f64) {
    for outcome in CallOutcome::ALL {
        count_vendor_call(route, outcome, 0);
    }
    gauge!(ROUTE_USABLE, "route" => route.to_owned()).set(share);
}

/// Whether a route's vendor has closed the account, and `why`, a word of ours.
pub fn route_closed(route: &str, why: &'static str, is_closed: bool) {
    let value = if is_closed { 1.0 } else { 0.0 };
    gauge!(ROUTE_CLOSED, "route" => route.to_owned(), "why" => why).set(value);
}

/// A sender number was blocked because vendors refuse it.
pub fn sender_blocked() {
    counter!(SENDERS_BLOCKED).increment(1);
}

/// Reports of one verdict that came from a vendor and are safe.
pub fn vendor_reports(account: &VendorAccount, verdict: Verdict, count: u64) {
    counter!(VENDOR_REPORTS, "account" => account.to_string(), "verdict" => verdict.name())
        .increment(count);
}

/// A vendor's callback that was refused.
pub fn callback_refused(account: &VendorAccount, why: CallbackRefusal) {
    count_refused_callbacks(account, why, 1);
}

fn count_refused_callbacks(account: &VendorAccount, why: CallbackRefusal, count: u64) {
    counter!(CALLBACKS_REFUSED, "account" => account.to_string(), "why" => why.name())
        .increment(count);
}

/// A poll of a vendor that failed.
pub fn poll_failed(account: &VendorAccount) {
    count_failed_polls(account, 1);
}

fn count_failed_polls(account: &VendorAccount, count: u64) {
    counter!(POLL_FAILURES, "account" => account.to_string()).increment(count);
}

/// Reports are expected from this account: its counters begin at 0.
pub fn account_known(account: &VendorAccount) {
    for verdict in VERDICTS {
        vendor_reports(account, verdict, 0);
    }
    for why in CallbackRefusal::ALL {
        count_refused_callbacks(account, why, 0);
    }
    count_failed_polls(account, 0);
}

/// One verdict of each name.
const VERDICTS: [Verdict; 3] = [
    Verdict::Taken,
    Verdict::Delivered,
    Verdict::Failed(Reason::Unspecified),
];

/// A report the reporter took up.
pub fn report(verdict: Verdict) {
    count_reports(verdict, 1);
}

fn count_reports(verdict: Verdict, count: u64) {
    counter!(REPORTS, "verdict" => verdict.name()).increment(count);
}

/// A report that came after its message had expired.
pub fn report_late(verdict: Verdict) {
    count_late_reports(verdict, 1);
}

fn count_late_reports(verdict: Verdict, count: u64) {
    counter!(REPORTS_LATE, "verdict" => verdict.name()).increment(count);
}

/// Reports that wait for a message they fit.
pub fn reports_parked(rows: u64) {
    gauge!(REPORTS_PARKED).set(as_f64(rows));
}

/// A webhook attempt.
pub fn webhook(outcome: WebhookOutcome, took: Duration) {
    count_webhooks(outcome, 1);
    histogram!(WEBHOOK_CALL).record(took);
}

fn count_webhooks(outcome: WebhookOutcome, count: u64) {
    counter!(WEBHOOKS, "outcome" => outcome.name()).increment(count);
}

/// Something went to the dead letters.
pub fn dead_letter(kind: DeadLetterKind) {
    count_dead_letters(kind, 1);
}

fn count_dead_letters(kind: DeadLetterKind, count: u64) {
    counter!(DEAD_LETTERS, "kind" => kind.name()).increment(count);
}

/// Frames ready in a queue.
pub fn queue_ready(queue: QueueName, frames: u64) {
    gauge!(QUEUE_READY, "queue" => queue.name()).set(as_f64(frames));
}

/// A publish, from the call to its confirm.
pub fn published(queue: QueueName, took: Duration) {
    histogram!(PUBLISH, "queue" => queue.name()).record(took);
}

/// Whether the circuit breaker towards the queues is open.
pub fn breaker_open(open: bool) {
    gauge!(BREAKER_OPEN).set(f64::from(u8::from(open)));
}

/// Whether the circuit breaker towards one queue is open.
pub fn queue_breaker_open(queue: QueueName, open: bool) {
    gauge!(QUEUE_BREAKER_OPEN, "queue" => queue.name()).set(f64::from(u8::from(open)));
}

/// Whether a connection to the broker stands; `connection` says what it is for.
pub fn broker_connected(connection: &'static str, connected: bool) {
    gauge!(BROKER_CONNECTED, "connection" => connection).set(f64::from(u8::from(connected)));
}

/// Whether the broker takes nothing on a connection because it runs short of memory or disk.
pub fn broker_blocked(connection: &'static str, blocked: bool) {
    gauge!(BROKER_BLOCKED, "connection" => connection).set(f64::from(u8::from(blocked)));
}

/// Whether each receiver limits by its share, because nothing counts for all of them.
pub fn quota_degraded(degraded: bool) {
    gauge!(QUOTA_DEGRADED).set(f64::from(u8::from(degraded)));
}

/// Items let pass by a receiver's share of a limit, because nothing counted for all of them.
pub fn quota_unasked(items: u32) {
    counter!(QUOTA_UNASKED).increment(u64::from(items));
}

/// Rows in the outbox.
pub fn outbox_rows(rows: u64) {
    gauge!(OUTBOX_ROWS).set(as_f64(rows));
}

/// Delays whose time has come and whose route lets nothing through yet.
pub fn delays_due(rows: u64) {
    gauge!(DELAYS_DUE).set(as_f64(rows));
}

/// One commit of the ledger.
pub fn ledger_commit(took: Duration) {
    histogram!(LEDGER_COMMIT).record(took);
}

/// What one group commit took along; `batch` is a word of ours.
pub fn batch_size(batch: &'static str, items: usize) {
    histogram!(BATCH_SIZE, "batch" => batch).record(as_f64(items as u64));
}

/// How long ago this process last renewed its lease.
pub fn lease_age(age: Duration) {
    gauge!(LEASE_AGE).set(age.as_secs_f64());
}

/// Messages whose owner had lapsed and that are unknown now.
pub fn messages_taken_over(count: u64) {
    counter!(TAKEN_OVER).increment(count);
}

/// Messages the broker had lost and the sweep brought back.
pub fn messages_requeued(count: u64) {
    counter!(REQUEUED).increment(count);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count beyond 2^52 is not going to happen, and a gauge need not be exact"
)]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Brings every counter into being whose labels are known from the start, at 0: an alarm on the
/// increase of one that appears with its first event would miss that event. The counters of routes
/// and accounts follow when these are known: [`route_usable`], [`account_known`].
pub(super) fn begin_at_zero() {
    for kind in MessageType::ALL {
        messages_accepted(kind, 0);
        for (status, reason) in ends() {
            messages_ended(kind, status, reason, 0);
        }
    }
    for &reason in ErrorReason::ALL {
        count_refused_requests(reason.code(), reason, 0);
    }
    for verdict in VERDICTS {
        count_reports(verdict, 0);
        count_late_reports(verdict, 0);
    }
    for outcome in WebhookOutcome::ALL {
        count_webhooks(outcome, 0);
    }
    for kind in DeadLetterKind::ALL {
        count_dead_letters(kind, 0);
    }
    messages_taken_over(0);
    messages_requeued(0);
    counter!(HTTP_ACCEPT_ERRORS).increment(0);
    counter!(QUOTA_UNASKED).increment(0);
    counter!(SENDERS_BLOCKED).increment(0);
}

/// Every way in which a message ends.
fn ends() -> impl Iterator<Item = (Status, Option<Reason>)> {
    let with_reason = Reason::ALL.into_iter().map(|reason| match reason {
        Reason::ValidityPassed | Reason::NoReport | Reason::UnknownOutcome => {
            (Status::Expired, Some(reason))
        }
        _ => (Status::Failed, Some(reason)),
    });
    std::iter::once((Status::Delivered, None)).chain(with_reason)
}

/// The counters with their help texts.
pub(super) const COUNTERS: &[(&str, &str)] = &[
    (MESSAGES_ACCEPTED, "Messages answered with 202."),
    (MESSAGES_ENDED, "Messages that reached a final status."),
    (REQUESTS_REFUSED, "Refused requests and batch items."),
    (
        HTTP_ACCEPT_ERRORS,
        "Connections that could not be accepted.",
    ),
    (VENDOR_CALLS, "Messages handed to vendors, by outcome."),
    (
        SENDERS_BLOCKED,
        "Sender numbers blocked because vendors refuse them.",
    ),
    (VENDOR_REPORTS, "Reports received from vendors, by verdict."),
    (CALLBACKS_REFUSED, "Vendors' callbacks that were refused."),
    (POLL_FAILURES, "Polls of vendors that failed."),
    (REPORTS, "Reports taken up."),
    (
        REPORTS_LATE,
        "Reports that came after the message had expired.",
    ),
    (WEBHOOKS, "Webhook attempts."),
    (DEAD_LETTERS, "Dead letters."),
    (QUOTA_UNASKED, "Items let pass without asking Redis."),
    (TAKEN_OVER, "Messages whose owner had lapsed."),
    (REQUEUED, "Messages the broker had lost."),
];

/// Gives every metric its help text.
pub(super) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in [
        (HTTP_CONNECTIONS, "Connections clients hold."),
        (ROUTE_USABLE, "Share of its rate a route may use."),
        (
            ROUTE_CLOSED,
            "1 while the vendor has closed the route's account, by why.",
        ),
        (REPORTS_PARKED, "Reports that wait for a message they fit."),
        (QUEUE_READY, "Frames ready in a queue."),
        (
            BREAKER_OPEN,
            "1 while the breaker towards the queues is open.",
        ),
        (
            QUEUE_BREAKER_OPEN,
            "1 while the breaker towards this queue is open.",
        ),
        (
            BROKER_CONNECTED,
            "1 while the connection to the broker stands.",
        ),
        (
            BROKER_BLOCKED,
            "1 while the broker takes no frames for want of memory or disk.",
        ),
        (
            QUOTA_DEGRADED,
            "1 while each receiver limits by its share, without Redis.",
        ),
        (OUTBOX_ROWS, "Rows in the outbox."),
        (
            DELAYS_DUE,
            "Delays that are due and held back by their route.",
        ),
        (LEASE_AGE, "Time since the last renewal of the lease."),
    ] {
        describe_gauge!(name, help);
    }
    for (name, help) in [
        (HTTP_REQUEST, "Time to answer an HTTP request."),
        (VENDOR_CALL, "Time of a vendor call."),
        (WEBHOOK_CALL, "Time of a webhook attempt."),
        (PUBLISH, "Time from publishing to the confirm."),
        (LEDGER_COMMIT, "Time of a ledger commit."),
    ] {
        describe_histogram!(name, Unit::Seconds, help);
    }
    describe_histogram!(BATCH_SIZE, "Items of one group commit.");
}
