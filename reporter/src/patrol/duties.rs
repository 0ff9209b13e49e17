//! Carrying out what the judge found, each kind for many messages in one transaction.

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::ledger::{Dispatch, LedgerError, Watched};
use pabal_common::telemetry::metric;

use super::judge::{Duty, Orphaned};
use super::{Found, Patrol};
use crate::answer::in_time;

type Call = (MessageId, SubmissionId, Option<Timestamp>);

/// The duties of one page of messages.
#[derive(Debug, Default)]
pub(super) struct Duties {
    lapsed: Vec<Call>,
    too_old: Vec<Call>,
    queue_again: Vec<(MessageId, Timestamp)>,
    ask: Vec<MessageId>,
    expire: Vec<MessageId>,
    report_again: Vec<(MessageId, Timestamp)>,
    delay_again: Vec<MessageId>,
}

impl Duties {
    /// Adds what there is to do about a message; `ask_at` is when its vendor can be asked.
    pub(super) fn add(&mut self, row: &Watched, duty: Duty, ask_at: Option<Timestamp>) {
        match duty {
            Duty::TakeOver(call, Orphaned::Lapsed) => self.lapsed.push((row.id, call, ask_at)),
            Duty::TakeOver(call, Orphaned::TooOld) => self.too_old.push((row.id, call, ask_at)),
            Duty::QueueAgain => self.queue_again.push((row.id, row.queued_at)),
            Duty::Ask => self.ask.push(row.id),
            Duty::Expire => self.expire.push(row.id),
            Duty::ReportAgain => {
                let answered_at = row.answered_at;
                self.report_again.extend(answered_at.map(|at| (row.id, at)));
            }
            Duty::DelayAgain => self.delay_again.push(row.id),
        }
    }
}

impl Patrol {
    /// Carries everything out. What fails is found again in the next round.
    pub(super) async fn carry_out(&self, duties: &Duties) -> Found {
        let node = &self.node;
        Found {
            taken_over: self.take_over(&duties.lapsed, Orphaned::Lapsed).await
                + self.take_over(&duties.too_old, Orphaned::TooOld).await,
            queued_again: self.queue_again(&duties.queue_again).await,
            asked: self.ask(&duties.ask).await,
            expired: self.expire(&duties.expire).await,
            reported_again: self.report_again(&duties.report_again).await,
            delayed_again: match duties.delay_again.as_slice() {
                [] => 0,
                waiting => {
                    let delayed = node.ledger.delay_again(waiting, node.clock.now());
                    done(
                        "messages without a delay wait again",
                        in_time(delayed).await,
                    )
                }
            },
            ..Found::default()
        }
    }

    async fn take_over(&self, calls: &[Call], orphaned: Orphaned) -> u32 {
        // Asked again at the last moment: to be too slow here is to take the living for dead.
        if calls.is_empty() || !self.node.instance.unbroken() {
            return 0;
        }
        let now = self.node.clock.now();
        let taken = self.node.ledger.take_over(calls, orphaned.why(), now);
        let count = done("calls without an owner are unknown", in_time(taken).await);
        metric::messages_taken_over(u64::from(count));
        count
    }

    async fn queue_again(&self, lost: &[(MessageId, Timestamp)]) -> u32 {
        if lost.is_empty() {
            return 0;
        }
        let (me, ids) = (self.node.instance.id(), self.node.instance.ids());
        let now = self.node.clock.now();
        let queued = self.node.ledger.queue_again(me, ids.outbox(), lost, now);
        let count = self.publish(lost.len(), in_time(queued).await).await;
        metric::messages_requeued(u64::from(count));
        count
    }

    async fn report_again(&self, answered: &[(MessageId, Timestamp)]) -> u32 {
        if answered.is_empty() {
            return 0;
        }
        let (me, ids) = (self.node.instance.id(), self.node.instance.ids());
        let now = self.node.clock.now();
        let reported = self
            .node
            .ledger
            .report_again(me, ids.outbox(), answered, now);
        self.publish(answered.len(), in_time(reported).await).await
    }

    async fn ask(&self, overdue: &[MessageId]) -> u32 {
        if overdue.is_empty() {
            return 0;
        }
        let now = self.node.clock.now();
        let asked = self.node.ledger.ask_once_more(overdue, now);
        done("overdue messages are asked for", in_time(asked).await)
    }

    async fn expire(&self, overdue: &[MessageId]) -> u32 {
        if overdue.is_empty() {
            return 0;
        }
        let (me, ids) = (self.node.instance.id(), self.node.instance.ids());
        let webhook_ids: Vec<_> = overdue.iter().map(|_| ids.webhook()).collect();
        let now = self.node.clock.now();
        let limits = self.config.overdue;
        let expired = self
            .node
            .ledger
            .expire(me, overdue, &webhook_ids, now, limits);
        let count = done("overdue messages ended", in_time(expired).await);
        if count > 0 {
            self.webhooks.wake();
        }
        count
    }

    /// Publishes what goes into the queues again. Some of `count` may have moved on meanwhile.
    async fn publish(&self, count: usize, dispatch: Result<Option<Dispatch>, LedgerError>) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match dispatch {
            Ok(None) => 0,
            Ok(Some(dispatch)) => {
                // What is not published now the outbox has.
                self.node.relay.publish(dispatch).await;
                done("lost frames are in the outbox again", Ok(count))
            }
            Err(error) => done("lost frames are in the outbox again", Err(error)),
        }
    }
}

/// Says what was done, or that it was not.
fn done(what: &'static str, outcome: Result<u32, LedgerError>) -> u32 {
    match outcome {
        Ok(0) => 0,
        Ok(messages) => {
            tracing::info!(messages, "{what}");
            messages
        }
        Err(error) => {
            tracing::warn!(%error, "the patrol could not carry out a duty");
            0
        }
    }
}
