//! What a vendor's answer means for each message of a call. Pure.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::SubmissionId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::Settled;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{VendorAccount, Verdict};
use pabal_common::domain::retry::{MAX_RETRIES, before_attempt, before_mail};
use pabal_common::ledger::{ClaimedMessage, Settlement};
use pabal_common::telemetry::metric::{self, CallOutcome};
use pabal_provider::route::Observation;
use pabal_provider::{Answer, Outcome};

/// The longest a vendor's hint can defer a message.
const HINT_CAP: Duration = Duration::from_secs(60);

/// What an answer is judged by, beside itself.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) submission: SubmissionId,
    pub(crate) account: VendorAccount,
    pub(crate) can_be_asked: bool,
    /// A failure that finds the route closed costs no attempt.
    pub(crate) route_was_closed: bool,
    pub(crate) now: Timestamp,
    pub(crate) jitter: f64,
    pub(crate) throttle_pause: Duration,
    pub(crate) ask_after: Duration,
}

/// How the route looks after this outcome.
pub(crate) fn observation(outcome: &Outcome) -> Observation {
    match outcome {
        Outcome::Answered(answers) => {
            let closed = answers.iter().find_map(|answer| match answer {
                Answer::Closed { why, .. } => Some(*why),
                _ => None,
            });
            if let Some(why) = closed {
                Observation::Closed(why)
            } else if answers.contains(&Answer::Throttled) {
                Observation::Throttled { retry_after: None }
            } else {
                Observation::Answered
            }
        }
        Outcome::Closed { why, .. } => Observation::Closed(*why),
        Outcome::Refused { .. } => Observation::Answered,
        Outcome::Throttled { retry_after } => Observation::Throttled {
            retry_after: *retry_after,
        },
        Outcome::NotConnected(_) => Observation::NotConnected,
        Outcome::Unknown(_) => Observation::Lost,
    }
}

/// Counts the call, and says a word about one that went wrong.
pub(crate) fn tell(route: &str, outcome: &Outcome, messages: usize, took: Duration) {
    let counted = match outcome {
        Outcome::Answered(answers) => match answers.first() {
            Some(Answer::Refused { .. }) => CallOutcome::Refused,
            Some(Answer::Throttled) => CallOutcome::Throttled,
            Some(Answer::Deferred { .. }) => CallOutcome::Deferred,
            Some(Answer::Closed { code, why }) => {
                tracing::info!(route, code, %why, messages, "the account is closed to us");
                CallOutcome::Closed
            }
            Some(Answer::Unknown { .. }) => CallOutcome::Unknown,
            _ => CallOutcome::Taken,
        },
        Outcome::Refused { code, reason } => {
            tracing::warn!(
                route,
                code,
                reason = reason.name(),
                messages,
                "a call was refused"
            );
            CallOutcome::Refused
        }
        Outcome::Throttled { .. } => CallOutcome::Throttled,
        Outcome::Closed { code, why } => {
            tracing::info!(route, code, %why, messages, "the account is closed to us");
            CallOutcome::Closed
        }
        Outcome::NotConnected(why) => {
            tracing::info!(route, %why, messages, "not connected");
            CallOutcome::NotConnected
        }
        Outcome::Unknown(why) => {
            tracing::warn!(route, %why, messages, took_ms = took.as_millis(), "the answer is lost");
            CallOutcome::Unknown
        }
    };
    metric::vendor_call(route, counted, messages as u64, took);
}

/// What is to be recorded for each message, in the call's order.
pub(crate) fn settlements(
    claimed: &[ClaimedMessage],
    outcome: &Outcome,
    with: &Circumstances,
) -> Vec<Settlement> {
    claimed
        .iter()
        .enumerate()
        .map(|(place, message)| match outcome {
            Outcome::Answered(answers) => answered(message, answers.get(place), with),
            Outcome::Refused { code, reason } => {
                ended(message, Verdict::Failed(*reason), Some(code), with)
            }
            Outcome::Throttled { retry_after } => deferred(message, *retry_after, with),
            Outcome::Closed { .. } => deferred(message, None, with),
            Outcome::NotConnected(_) => not_connected(message, with),
            Outcome::Unknown(why) => lost(message, &why.to_string(), with),
        })
        .collect()
}

/// The call was not begun.
pub(crate) fn given_back(claimed: &[ClaimedMessage], with: &Circumstances) -> Vec<Settlement> {
    claimed
        .iter()
        .map(|message| deferred(message, None, with))
        .collect()
}

fn answered(message: &ClaimedMessage, answer: Option<&Answer>, with: &Circumstances) -> Settlement {
    match answer {
        Some(Answer::Taken { vendor_id }) => Settlement {
            settled: Settled::Taken(vendor_id.clone()),
            tell_sent: message.tell_sent,
            ..settlement(message, with)
        },
        Some(Answer::Delivered { vendor_id, code }) => Settlement {
            settled: Settled::Final(Verdict::Delivered, vendor_id.clone()),
            vendor_code: code.as_deref().map(short),
            ..settlement(message, with)
        },
        Some(Answer::Refused { code, reason }) => {
            ended(message, Verdict::Failed(*reason), Some(code), with)
        }
        Some(Answer::Throttled | Answer::Closed { .. }) => deferred(message, None, with),
        Some(Answer::Deferred { retry_after, .. }) => on_schedule(message, *retry_after, with),
        Some(Answer::Unknown { code }) => lost(message, code, with),
        None => lost(message, "no answer for this message", with),
    }
}

fn not_connected(message: &ClaimedMessage, with: &Circumstances) -> Settlement {
    if with.route_was_closed {
        return deferred(message, None, with);
    }
    // A mail waits for its server as long as it is valid (RFC 5321 §4.5.4.1).
    if message.kind == MessageType::Email {
        return on_schedule(message, None, with);
    }
    if message.attempt >= MAX_RETRIES {
        return ended(message, Verdict::Failed(Reason::NotConnected), None, with);
    }
    Settlement {
        settled: Settled::NotTaken { charged: true },
        due: Some(
            with.now
                .plus(before_attempt(message.attempt + 1, with.jitter)),
        ),
        ..settlement(message, with)
    }
}

fn deferred(message: &ClaimedMessage, hint: Option<Duration>, with: &Circumstances) -> Settlement {
    let wait = with
        .throttle_pause
        .max(hint.unwrap_or_default().min(HINT_CAP));
    Settlement {
        settled: Settled::NotTaken { charged: false },
        due: Some(with.now.plus(wait + wait.mul_f64(with.jitter / 4.0))),
        ..settlement(message, with)
    }
}

/// As long as the adapter says, or as the message is old.
fn on_schedule(
    message: &ClaimedMessage,
    wait: Option<Duration>,
    with: &Circumstances,
) -> Settlement {
    let age = with.now.since(message.id.made_at());
    let wait = before_mail(age, wait, with.jitter);
    Settlement {
        settled: Settled::NotTaken { charged: false },
        due: Some(with.now.plus(wait)),
        ..settlement(message, with)
    }
}

fn ended(
    message: &ClaimedMessage,
    verdict: Verdict,
    code: Option<&String>,
    with: &Circumstances,
) -> Settlement {
    Settlement {
        settled: Settled::Final(verdict, None),
        vendor_code: code.map(|code| short(code)),
        ..settlement(message, with)
    }
}

fn lost(message: &ClaimedMessage, why: &str, with: &Circumstances) -> Settlement {
    Settlement {
        settled: Settled::Lost,
        vendor_code: Some(short(why)),
        due: with.can_be_asked.then(|| with.now.plus(with.ask_after)),
        ..settlement(message, with)
    }
}

fn settlement(message: &ClaimedMessage, with: &Circumstances) -> Settlement {
    Settlement {
        id: message.id,
        submission: with.submission,
        settled: Settled::Lost,
        account: with.account.clone(),
        vendor_code: None,
        at: with.now,
        due: None,
        tell_sent: false,
    }
}

/// A vendor's code as it is kept: at most 64 bytes.
fn short(code: &str) -> String {
    let end = (0..=code.len().min(64))
        .rev()
        .find(|at| code.is_char_boundary(*at))
        .unwrap_or(0);
    code[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use pabal_common::domain::id::MessageId;
    use pabal_common::domain::kind::{Lane, Purpose};
    use pabal_provider::{Lost, NotConnected};

    use super::*;

    fn message(attempt: u16) -> ClaimedMessage {
        ClaimedMessage {
            id: MessageId::from_number(1),
            partner: "shop".parse().unwrap(),
            kind: MessageType::Sms,
            purpose: Purpose::Info,
            lane: Lane::Ordinary,
            attempt,
            sealed: Vec::new(),
            valid_until: Timestamp::from_millis(i64::MAX),
            poison: 0,
            tell_sent: false,
        }
    }

    fn with() -> Circumstances {
        Circumstances {
            submission: SubmissionId::from_number(1),
            account: VendorAccount::new("a", "1"),
            can_be_asked: false,
            route_was_closed: false,
            now: Timestamp::from_millis(0),
            jitter: 0.0,
            throttle_pause: Duration::from_secs(1),
            ask_after: Duration::from_secs(2),
        }
    }

    fn settled(attempt: u16, outcome: &Outcome, with: &Circumstances) -> Settlement {
        settlements(&[message(attempt)], outcome, with).remove(0)
    }

    #[test]
    fn three_retries_after_the_first_attempt_then_it_has_failed() {
        let refused = Outcome::NotConnected(NotConnected::Refused);
        let waits: Vec<_> = (0..3)
            .map(|attempt| settled(attempt, &refused, &with()))
            .inspect(|one| assert_eq!(one.settled, Settled::NotTaken { charged: true }))
            .map(|one| one.due.unwrap().millis())
            .collect();
        assert_eq!(waits, [1000, 2000, 4000]);
        let last = settled(3, &refused, &with());
        assert_eq!(
            last.settled,
            Settled::Final(Verdict::Failed(Reason::NotConnected), None)
        );
    }

    #[test]
    fn a_failure_that_finds_the_route_closed_costs_no_attempt() {
        let closed = Circumstances {
            route_was_closed: true,
            ..with()
        };
        let one = settled(3, &Outcome::NotConnected(NotConnected::TimedOut), &closed);
        assert_eq!(one.settled, Settled::NotTaken { charged: false });
    }

    #[test]
    fn an_account_that_is_closed_to_us_costs_a_message_nothing_and_closes_the_route_with_the_reason()
     {
        let why = pabal_provider::Closed::Balance;
        let code = String::from("1011");
        let whole = Outcome::Closed {
            code: code.clone(),
            why,
        };
        let one = Outcome::Answered(vec![Answer::Closed { code, why }]);
        for outcome in [whole, one] {
            let settled = settled(3, &outcome, &with());
            assert_eq!(settled.settled, Settled::NotTaken { charged: false });
            assert_eq!(observation(&outcome), Observation::Closed(why));
        }
    }

    #[test]
    fn throttling_defers_at_no_cost_and_at_least_as_long_as_the_vendor_asks() {
        let throttled = Outcome::Throttled {
            retry_after: Some(Duration::from_secs(5)),
        };
        let one = settled(3, &throttled, &with());
        assert_eq!(one.settled, Settled::NotTaken { charged: false });
        assert_eq!(one.due.unwrap().millis(), 5000);
    }

    #[test]
    fn a_message_that_may_be_taken_later_waits_as_long_as_it_is_old_and_never_fails() {
        let minute = 60_000;
        let made = MessageId::from_number(1).made_at();
        let wait = |minutes: i64, retry_after: Option<Duration>| {
            let code = "4.7.1".to_owned();
            let answers = vec![Answer::Deferred { code, retry_after }];
            let then = Circumstances {
                now: Timestamp::from_millis(made.millis() + minutes * minute),
                ..with()
            };
            let one = settled(3, &Outcome::Answered(answers), &then);
            assert_eq!(one.settled, Settled::NotTaken { charged: false });
            (one.due.unwrap().millis() - then.now.millis()) / minute
        };
        let waits = [0, 1, 2, 4, 20, 300].map(|minutes| wait(minutes, None));
        assert_eq!(waits, [1, 1, 2, 4, 20, 30]);
        assert_eq!(wait(0, Some(Duration::from_secs(600))), 10);
    }

    #[test]
    fn a_message_deferred_alone_says_nothing_of_the_route() {
        let answers = vec![Answer::Deferred {
            code: "450".to_owned(),
            retry_after: None,
        }];
        assert_eq!(
            observation(&Outcome::Answered(answers)),
            Observation::Answered
        );
    }

    #[test]
    fn a_mail_whose_server_is_away_uses_up_no_attempt() {
        let mail = ClaimedMessage {
            kind: MessageType::Email,
            ..message(3)
        };
        let refused = Outcome::NotConnected(NotConnected::Refused);
        let one = settlements(&[mail], &refused, &with()).remove(0);
        assert_eq!(one.settled, Settled::NotTaken { charged: false });
        assert!(one.due.is_some());
    }

    #[test]
    fn every_way_to_lose_an_answer_is_an_unknown_outcome() {
        for why in [
            Lost::Reset,
            Lost::TimedOut,
            Lost::Status(500),
            Lost::Garbled,
        ] {
            let one = settled(0, &Outcome::Unknown(why), &with());
            assert_eq!(one.settled, Settled::Lost);
            assert_eq!(one.due, None);
        }
        let short_answer = settled(0, &Outcome::Answered(Vec::new()), &with());
        assert_eq!(short_answer.settled, Settled::Lost);
    }

    #[test]
    fn a_vendor_that_can_be_asked_is_asked_about_a_lost_answer() {
        let askable = Circumstances {
            can_be_asked: true,
            ..with()
        };
        let one = settled(0, &Outcome::Unknown(Lost::Reset), &askable);
        assert_eq!(one.due.unwrap().millis(), 2000);
    }

    #[test]
    fn a_long_code_is_cut_at_a_character() {
        assert_eq!(short(&"가".repeat(40)).len(), 63);
    }
}
