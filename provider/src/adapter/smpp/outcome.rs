//! What came of a call, from what came of its messages.

use super::bind::Down;
use super::binds::NoRoom;
use super::status;
use crate::provider::{Answer, Closed, Lost, NotConnected, Outcome};

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was answered.
    Answered(Answer),
    /// Surely no byte of it left.
    Unsent(NotConnected),
    /// Nor here: no window has room.
    Crowded,
    /// Nor here: the message centre does not know our name or password.
    Closed { status: u32 },
    /// It may have been taken.
    Lost(Lost),
    /// Some of its parts were taken and some were not.
    Partial,
}

impl From<NoRoom> for Fate {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Crowded,
            NoRoom::Down(Down::NotConnected(why)) => Self::Unsent(why),
            NoRoom::Down(Down::Refused(status)) if status::is_about_credentials(status) => {
                Self::Closed { status }
            }
            NoRoom::Down(Down::Refused(_)) => Self::Unsent(NotConnected::Refused),
        }
    }
}

/// The outcome of a call. What all its messages share is said of the whole.
pub(super) fn of(fates: Vec<Fate>) -> Outcome {
    let alike = fates.iter().all(|fate| {
        let first = fates.first().unwrap_or(fate);
        std::mem::discriminant(fate) == std::mem::discriminant(first)
    });
    match fates.first() {
        Some(Fate::Unsent(why)) if alike => Outcome::NotConnected(*why),
        Some(Fate::Crowded) if alike => Outcome::Throttled { retry_after: None },
        Some(Fate::Lost(how)) if alike => Outcome::Unknown(*how),
        Some(Fate::Closed { status }) if alike => Outcome::Closed {
            code: status::code(*status),
            why: Closed::Credentials,
        },
        _ => Outcome::Answered(fates.into_iter().map(answer).collect()),
    }
}

fn answer(fate: Fate) -> Answer {
    let unknown = |code: &str| Answer::Unknown {
        code: code.to_owned(),
    };
    match fate {
        Fate::Answered(answer) => answer,
        // Beside messages that were sent, these wait for a better moment.
        Fate::Unsent(_) | Fate::Crowded => Answer::Throttled,
        Fate::Closed { status } => Answer::Closed {
            code: status::code(status),
            why: Closed::Credentials,
        },
        Fate::Lost(Lost::TimedOut) => unknown("TIMEOUT"),
        Fate::Lost(_) => unknown("RESET"),
        Fate::Partial => unknown("PARTIAL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Fate = Fate::Answered(Answer::Taken { vendor_id: None });

    #[test]
    fn what_all_messages_share_is_said_of_the_call() {
        let refused = Fate::Unsent(NotConnected::Refused);
        assert_eq!(
            of(vec![refused.clone(), refused]),
            Outcome::NotConnected(NotConnected::Refused)
        );
        let lost = Fate::Lost(Lost::Reset);
        assert_eq!(of(vec![lost.clone(), lost]), Outcome::Unknown(Lost::Reset));
        let crowded = of(vec![Fate::Crowded]);
        assert_eq!(crowded, Outcome::Throttled { retry_after: None });
        let closed = of(vec![Fate::Closed { status: 0x0E }]);
        assert!(
            matches!(closed, Outcome::Closed { code, why: Closed::Credentials } if code == "0x0E")
        );
    }

    #[test]
    fn beside_a_message_that_was_sent_an_unsent_one_waits_and_a_lost_one_is_unknown() {
        let mixed = of(vec![
            TAKEN,
            Fate::Unsent(NotConnected::Refused),
            Fate::Crowded,
            Fate::Lost(Lost::TimedOut),
            Fate::Partial,
        ]);
        let Outcome::Answered(answers) = mixed else {
            panic!("{mixed:?}");
        };
        let [
            Answer::Taken { .. },
            Answer::Throttled,
            Answer::Throttled,
            Answer::Unknown { .. },
            Answer::Unknown { .. },
        ] = answers.as_slice()
        else {
            panic!("{answers:?}");
        };
    }
}
