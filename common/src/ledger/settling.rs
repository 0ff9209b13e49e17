//! How calls ended: what follows from a settlement, however its row was moved.

use super::Settlement;
use super::rows::NewEvent;
use crate::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::domain::id::{MessageId, SubmissionId};
use crate::domain::phase::Settled;
use crate::domain::report::{Report, VendorMessageId, Verdict};

/// A call that may have been taken.
#[derive(Clone, Debug)]
pub(super) struct LostCall {
    pub(super) id: MessageId,
    pub(super) submission: SubmissionId,
    /// When to ask, where the vendor can be asked.
    pub(super) ask_at: Option<Timestamp>,
    /// For people.
    pub(super) note: String,
}

impl Settlement {
    pub(super) const fn charged(&self) -> bool {
        matches!(self.settled, Settled::NotTaken { charged: true })
    }

    /// The final answer, if it is one.
    pub(super) const fn verdict(&self) -> Option<Verdict> {
        match &self.settled {
            Settled::Final(verdict, _) => Some(*verdict),
            Settled::Taken(_) | Settled::NotTaken { .. } | Settled::Lost => None,
        }
    }

    pub(super) fn vendor_id(&self) -> Option<&VendorMessageId> {
        match &self.settled {
            Settled::Taken(id) | Settled::Final(_, id) => id.as_ref(),
            Settled::NotTaken { .. } | Settled::Lost => None,
        }
    }

    /// What the reporter hears of it: a final answer, and that the message was taken where its
    /// partner wants to be told SENT.
    pub(super) fn report(&self) -> Option<Report> {
        let verdict = match &self.settled {
            Settled::Taken(_) if self.tell_sent => Verdict::Taken,
            _ => self.verdict()?,
        };
        Some(Report {
            account: self.account.clone(),
            vendor_id: self.vendor_id().cloned(),
            message: Some(self.id),
            submission: Some(self.submission),
            verdict,
            vendor_code: self.vendor_code.clone(),
            occurred_at: self.at,
        })
    }

    /// The event of a message that was not taken, whose next attempt is this one.
    pub(super) fn waits(&self, attempt: i64) -> NewEvent {
        let (kind, note) = if self.charged() {
            let next = attempt + 1;
            (
                EventKind::Retry,
                format!("could not connect; attempt {next} follows"),
            )
        } else {
            (EventKind::Deferred, "not taken, not counted".to_owned())
        };
        NewEvent {
            message: self.id,
            kind,
            note,
        }
    }

    /// The call whose answer was lost, if it was.
    pub(super) fn lost(&self) -> Option<LostCall> {
        let note = match &self.vendor_code {
            Some(code) => format!("the answer was lost: {code}"),
            None => "the answer was lost".to_owned(),
        };
        (self.settled == Settled::Lost).then_some(LostCall {
            id: self.id,
            submission: self.submission,
            ask_at: self.due,
            note,
        })
    }
}

/// When the last of them was known.
pub(super) fn latest(settlements: &[Settlement]) -> Timestamp {
    let times = settlements.iter().map(|one| one.at);
    times.max().unwrap_or_default()
}
