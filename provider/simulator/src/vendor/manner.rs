//! Which row of the table, or which forced answer, decides how a whole call is treated.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use pabal_common::domain::id::MessageId;
use tokio::time::Instant;

use super::fault::Fault;
use super::{Member, Vendor, lock};
use crate::outcome::Outcome;
use crate::script::NextAnswer;

/// How many messages' first sights are remembered.
const SIGHTS: usize = 100_000;

/// How a whole call is treated.
pub(super) enum Manner {
    /// Taken, answered after so long.
    Answer(Duration),
    /// Taken, answered after so long, when nobody may listen any more.
    AnswerLate(Duration),
    /// Taken, then the fault.
    Take(Fault),
    /// Not taken.
    Leave(Fault),
    /// Not taken, and the door closes for a while.
    ShutDoor,
}

impl Vendor {
    /// How to treat a call: as the script says, else as its recipients do.
    pub(super) fn manner(&self, members: &mut [Member]) -> Manner {
        let forced = lock(&self.script).pop_front();
        match forced {
            None | Some(NextAnswer::Normal) => self.manner_of_recipients(members),
            Some(NextAnswer::Row { digits }) => {
                for member in members.iter_mut() {
                    member.outcome = Outcome::of_digits(digits);
                }
                self.manner_of_recipients(members)
            }
            Some(NextAnswer::Throttle { retry_after }) => {
                Manner::Leave(Fault::Throttled { retry_after })
            }
            Some(NextAnswer::Refuse) => Manner::Leave(Fault::Refused),
            Some(NextAnswer::Cut { taken }) => take_if(taken, Fault::Cut),
            Some(NextAnswer::Raw {
                status,
                body,
                taken,
            }) => take_if(taken, Fault::Raw { status, body }),
            Some(NextAnswer::Slow { millis }) => Manner::Answer(Duration::from_millis(millis)),
        }
    }

    /// One faulty recipient makes the whole call faulty; faults that take nothing come first.
    fn manner_of_recipients(&self, members: &[Member]) -> Manner {
        let with = |outcome| members.iter().filter(move |m| m.outcome == outcome);
        let any = |outcome| with(outcome).next().is_some();
        let now = Instant::now();
        let mut sights = lock(&self.sights);
        let mut seen_now = false;
        for member in with(Outcome::ConnectionRefused) {
            seen_now |= sights.first(member.message, now).1;
        }
        if seen_now {
            return Manner::ShutDoor;
        }
        let mut throttled = false;
        for member in with(Outcome::Throttled) {
            let (first, _) = sights.first(member.message, now);
            throttled |= now.duration_since(first) < self.pace.throttled;
        }
        drop(sights);
        if throttled {
            return Manner::Leave(Fault::Throttled {
                retry_after: Some(1),
            });
        }
        if any(Outcome::ErrorNotTaken) {
            Manner::Leave(Fault::Error)
        } else if any(Outcome::AnswerLost) || any(Outcome::AnswerLostUnreported) {
            Manner::Take(Fault::Cut)
        } else if any(Outcome::ErrorTaken) {
            Manner::Take(Fault::Error)
        } else if any(Outcome::Garbled) {
            Manner::Take(Fault::Garbled)
        } else if any(Outcome::TooSlow) {
            Manner::AnswerLate(self.pace.too_slow)
        } else if any(Outcome::Slow) {
            Manner::Answer(self.pace.slow)
        } else {
            Manner::Answer(Duration::ZERO)
        }
    }
}

const fn take_if(taken: bool, fault: Fault) -> Manner {
    if taken {
        Manner::Take(fault)
    } else {
        Manner::Leave(fault)
    }
}

/// When messages were first seen; the oldest are forgotten.
#[derive(Default)]
pub(super) struct Sights {
    at: HashMap<MessageId, Instant>,
    order: VecDeque<MessageId>,
}

impl Sights {
    /// The first sight of a message, and whether it is this one.
    fn first(&mut self, message: MessageId, now: Instant) -> (Instant, bool) {
        if let Some(first) = self.at.get(&message) {
            return (*first, false);
        }
        if self.order.len() == SIGHTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.at.remove(&oldest);
        }
        self.at.insert(message, now);
        self.order.push_back(message);
        (now, true)
    }
}
