//! What is written when messages move towards their end: whatever moved them, a report or a
//! deadline, their rows, webhooks, events and statistics are decided here and written together by
//! the implementation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::FromRow;

use super::LedgerError;
use super::rows::{MessageRow, NewEvent, status_number};
use crate::clock::Timestamp;
use crate::domain::event::{EventKind, ResultEvent, compose};
use crate::domain::id::{MessageId, WebhookId};
use crate::domain::kind::MessageType;
use crate::domain::phase::{Effect, Event, Row, step};
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::status::Status;
use crate::telemetry::metric;

/// An event for a loaded message.
pub(super) struct Move {
    pub(super) message: MessageId,
    /// What wants to move it.
    pub(super) event: Event,
    /// The vendor's code that goes with it.
    pub(super) vendor_code: Option<String>,
    /// When it happened.
    pub(super) at: Timestamp,
}

impl Move {
    /// What a report wants of the message it was matched to.
    pub(super) fn report(message: MessageId, report: &Report) -> Self {
        Self {
            message,
            event: Event::Report {
                account: report.account.clone(),
                vendor_id: report.vendor_id.clone(),
                by_our_id: report.message == Some(message),
                submission: report.submission,
                verdict: report.verdict,
            },
            vendor_code: report.vendor_code.clone(),
            at: report.occurred_at,
        }
    }

    /// The deadline of the message's phase.
    pub(super) const fn deadline(message: MessageId, now: Timestamp) -> Self {
        Self {
            message,
            event: Event::Deadline,
            vendor_code: None,
            at: now,
        }
    }
}

/// What one move did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// The row moved.
    Moved,
    /// A stray report: an event only.
    Stray,
    /// Nothing.
    Nothing,
}

/// A message while its moves are carried out.
struct Moving {
    stored: MessageRow,
    row: Row,
    changed: bool,
    reason: Option<Reason>,
    vendor_code: Option<String>,
    sent_at: Option<i64>,
    ended: bool,
    tell_sent: bool,
}

/// How many messages ended how.
type Ends = HashMap<(MessageType, Status, Option<Reason>), u64>;

/// What a transaction of moves came to.
pub(super) struct Written {
    /// How many messages ended.
    pub(super) ended: u32,
    /// How many webhook rows were written.
    pub(super) webhooks: u32,
    ends: Ends,
}

impl Written {
    /// Counts the ends in the metrics: after the commit, so that none is counted twice.
    pub(super) fn count(&self) {
        for ((kind, status, reason), messages) in &self.ends {
            metric::messages_ended(*kind, *status, *reason, *messages);
        }
    }
}

/// A partner that has an endpoint, and what it wants to be told there.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Audience {
    pub(super) partner_id: String,
    /// The most results in a webhook.
    pub(super) webhook_batch: i64,
    /// Whether SENT is told too.
    pub(super) webhook_sent: bool,
}

/// The new values of a message's row.
pub(super) struct Changed {
    pub(super) message: MessageId,
    pub(super) phase: u8,
    pub(super) status: i64,
    pub(super) reason: Option<&'static str>,
    pub(super) vendor_code: Option<String>,
    pub(super) vendor_id: Option<String>,
    pub(super) sent_at: Option<i64>,
    pub(super) final_at: Option<i64>,
    pub(super) sent_told: bool,
}

/// A webhook row, due at once.
pub(super) struct NewWebhook {
    pub(super) id: WebhookId,
    pub(super) partner_id: String,
    pub(super) results: usize,
    pub(super) body: String,
}

/// What is added to a row of the daily statistics.
pub(super) struct DayCounts {
    pub(super) partner_id: String,
    /// The day of acceptance in Korea as yyyymmdd.
    pub(super) day: i32,
    pub(super) kind: i64,
    pub(super) total: i64,
    pub(super) success: i64,
    pub(super) failed: i64,
    pub(super) expired: i64,
}

/// Everything a transaction of moves writes.
pub(super) struct Outcome {
    /// In key order.
    pub(super) rows: Vec<Changed>,
    pub(super) webhooks: Vec<NewWebhook>,
    pub(super) events: Vec<NewEvent>,
    /// In key order; each row once.
    pub(super) days: Vec<DayCounts>,
    pub(super) written: Written,
}

/// The messages of a transaction while they move.
pub(super) struct Ending {
    now: Timestamp,
    rows: BTreeMap<MessageId, Moving>,
    strays: Vec<NewEvent>,
}

impl Ending {
    pub(super) fn new(now: Timestamp, stored: Vec<MessageRow>) -> Result<Self, LedgerError> {
        let rows = stored
            .into_iter()
            .map(|stored| {
                let moving = Moving {
                    row: stored.to_phase_row()?,
                    changed: false,
                    reason: stored.reason.as_deref().and_then(Reason::parse),
                    vendor_code: stored.vendor_code.clone(),
                    sent_at: stored.sent_at,
                    ended: false,
                    tell_sent: false,
                    stored,
                };
                Ok((moving.stored.message_id, moving))
            })
            .collect::<Result<_, LedgerError>>()?;
        Ok(Self {
            now,
            rows,
            strays: Vec::new(),
        })
    }

    /// Lets the phase machine decide on one move.
    pub(super) fn carry_out(&mut self, one: &Move) -> Did {
        let Some(moving) = self.rows.get_mut(&one.message) else {
            return Did::Nothing;
        };
        // A repeated "taken" moves nothing, but a partner that wants SENT is told once.
        if let Event::Report { verdict, .. } = &one.event
            && !verdict.is_final()
            && moving.row.status == Status::Sent
        {
            moving.tell_sent = true;
        }
        let Some(next) = step(&moving.row, &one.event) else {
            return Did::Nothing;
        };
        if next.effects.contains(&Effect::Stray) {
            let code = one.vendor_code.as_deref().unwrap_or("none");
            self.strays.push(NewEvent {
                message: one.message,
                kind: EventKind::StrayReport,
                note: format!("came too late or for an earlier call; code {code}"),
            });
            return Did::Stray;
        }
        moving.changed = true;
        if one.vendor_code.is_some() {
            moving.vendor_code.clone_from(&one.vendor_code);
        }
        for effect in &next.effects {
            if let Effect::End(status, reason) = effect {
                moving.ended = true;
                moving.reason = *reason;
                if *status == Status::Delivered {
                    moving.sent_at = moving
                        .sent_at
                        .or(Some(one.at.millis().min(self.now.millis())));
                }
            }
        }
        if next.row.status == Status::Sent {
            moving.sent_at = moving
                .sent_at
                .or(Some(one.at.millis().min(self.now.millis())));
            moving.tell_sent = true;
        }
        moving.row = next.row;
        Did::Moved
    }

    /// The partners to whom something happened that they may want to be told.
    pub(super) fn partners(&self) -> BTreeSet<&str> {
        self.to_tell()
            .map(|moving| moving.stored.partner_id.as_str())
            .collect()
    }

    /// Decides what is written, given those of [`partners`](Self::partners) that have an endpoint
    /// and an id for every webhook there may be.
    pub(super) fn outcome(
        self,
        audience: &[Audience],
        webhook_ids: &[WebhookId],
    ) -> Result<Outcome, LedgerError> {
        let mut ids = webhook_ids.iter();
        let mut webhooks = Vec::new();
        let mut told = BTreeSet::new();
        for partner in audience {
            let results = self.results(partner, &mut told)?;
            let size = usize::try_from(partner.webhook_batch)
                .unwrap_or(1)
                .clamp(1, 100);
            for chunk in results.chunks(size) {
                let id = *ids.next().ok_or_else(|| {
                    LedgerError::Refused("fewer webhook ids than webhooks".into())
                })?;
                webhooks.push(NewWebhook {
                    id,
                    partner_id: partner.partner_id.clone(),
                    results: chunk.len(),
                    body: compose(id, chunk),
                });
            }
        }
        Ok(Outcome {
            rows: self.changed(&told),
            written: self.written(&webhooks)?,
            webhooks,
            days: self.days(),
            events: self.strays,
        })
    }

    fn to_tell(&self) -> impl Iterator<Item = &Moving> {
        self.rows
            .values()
            .filter(|moving| moving.ended || moving.tell_sent)
    }

    /// What one partner is told; who is told SENT by it is added to `told`.
    fn results(
        &self,
        partner: &Audience,
        told: &mut BTreeSet<MessageId>,
    ) -> Result<Vec<ResultEvent>, LedgerError> {
        let mut results = Vec::new();
        for moving in self
            .to_tell()
            .filter(|moving| moving.stored.partner_id == partner.partner_id)
        {
            if !moving.ended {
                if !partner.webhook_sent || moving.stored.sent_told {
                    continue;
                }
                told.insert(moving.stored.message_id);
            }
            results.push(self.result(moving)?);
        }
        Ok(results)
    }

    fn result(&self, moving: &Moving) -> Result<ResultEvent, LedgerError> {
        Ok(ResultEvent {
            message: moving.stored.message_id,
            client_msg_id: moving.stored.client()?,
            kind: moving.stored.kind()?,
            status: moving.row.status,
            reason: moving.reason.filter(|_| moving.ended),
            vendor_code: moving.vendor_code.clone(),
            accepted_at: Timestamp::from_millis(moving.stored.created_at),
            sent_at: moving.sent_at.map(Timestamp::from_millis),
            final_at: moving.ended.then_some(self.now),
            metadata: moving.stored.detail.clone(),
        })
    }

    fn changed(&self, told: &BTreeSet<MessageId>) -> Vec<Changed> {
        self.rows
            .iter()
            .filter(|(id, moving)| moving.changed || told.contains(id))
            .map(|(id, moving)| Changed {
                message: *id,
                phase: moving.row.phase.number(),
                status: status_number(moving.row.status),
                reason: moving.reason.map(Reason::name),
                vendor_code: moving.vendor_code.clone(),
                vendor_id: moving.row.vendor_id.as_ref().map(ToString::to_string),
                sent_at: moving.sent_at,
                final_at: moving.ended.then_some(self.now.millis()),
                sent_told: moving.stored.sent_told || told.contains(id),
            })
            .collect()
    }

    fn written(&self, webhooks: &[NewWebhook]) -> Result<Written, LedgerError> {
        let mut ended = 0;
        let mut ends = Ends::new();
        for moving in self.rows.values().filter(|moving| moving.ended) {
            let end = (moving.stored.kind()?, moving.row.status, moving.reason);
            *ends.entry(end).or_default() += 1;
            ended += 1;
        }
        Ok(Written {
            ended,
            webhooks: u32::try_from(webhooks.len()).unwrap_or(u32::MAX),
            ends,
        })
    }

    /// Daily statistics, aggregated so that one row is written once.
    fn days(&self) -> Vec<DayCounts> {
        let mut days: BTreeMap<(&str, i32, i64), DayCounts> = BTreeMap::new();
        for moving in self.rows.values().filter(|moving| moving.ended) {
            let day = Timestamp::from_millis(moving.stored.created_at)
                .kst_day()
                .number();
            let (partner, kind) = (
                moving.stored.partner_id.as_str(),
                moving.stored.message_type,
            );
            let counts = days
                .entry((partner, day, kind))
                .or_insert_with(|| DayCounts {
                    partner_id: partner.to_owned(),
                    day,
                    kind,
                    total: 0,
                    success: 0,
                    failed: 0,
                    expired: 0,
                });
            let delivered = i64::from(moving.row.status == Status::Delivered);
            counts.total += 1;
            counts.success += delivered;
            counts.failed += 1 - delivered;
            counts.expired += i64::from(moving.row.status == Status::Expired);
        }
        days.into_values().collect()
    }
}
