//! Sender numbers that vendors refuse: after a few refusals in a row, without a message that was
//! taken in between, a number is blocked, so that the partner hears it at once and not message by
//! message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pabal_common::deadline::in_time;
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::reason::Reason;
use pabal_common::ledger::{Blocked, ClaimedMessage, LedgerError};
use pabal_common::telemetry::metric;
use pabal_provider::route::Route;
use pabal_provider::{Answer, Outcome, Outgoing};

use crate::desk::Desk;

/// So many refusals in a row block a number.
const ENOUGH: u32 = 3;
/// The most numbers that are counted; one more takes the place of any of them.
const MOST: usize = 10_000;
/// How long the ledger may take to block a number; the next refusals try again.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

type Number = (PartnerId, String);

/// Refusals in a row, by partner and sender number; none is known of those that are not there.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Number, u32>>);

impl Refusals {
    /// The vendor refused the number; whether that is enough.
    fn refused(&self, number: Number) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST
            && !counts.contains_key(&number)
            && let Some(other) = counts.keys().next().cloned()
        {
            counts.remove(&other);
        }
        match counts.entry(number) {
            Entry::Occupied(count) if *count.get() + 1 >= ENOUGH => {
                count.remove();
                true
            }
            Entry::Occupied(mut count) => {
                *count.get_mut() += 1;
                false
            }
            Entry::Vacant(free) => {
                free.insert(1);
                false
            }
        }
    }

    /// The vendor took a message from the number.
    fn taken(&self, number: &Number) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(number);
    }

    fn is_empty(&self) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.is_empty()
    }
}

/// Counts what a call showed of its sender numbers, and blocks those that were refused often enough.
pub(crate) async fn note(
    desk: &Desk,
    route: &Route,
    claimed: &[ClaimedMessage],
    sent: &[Outgoing],
    outcome: &Outcome,
) {
    for number in refused_enough(&desk.refusals, claimed, sent, outcome) {
        match block(desk, route, &number).await {
            Ok(true) => {
                metric::sender_blocked();
                tracing::error!(
                    partner = %number.0,
                    route = route.name(),
                    "vendors refuse a sender number of the partner: it is blocked until it is allowed again"
                );
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a sender number could not be blocked"),
        }
    }
}

async fn block(desk: &Desk, route: &Route, number: &Number) -> Result<bool, LedgerError> {
    let blocked = Blocked {
        since: desk.node.clock.now(),
        why: format!("refused by the vendor of route {}", route.name()),
    };
    let (partner, digits) = number;
    let block = desk.node.ledger.block_sender(partner, digits, &blocked);
    in_time(LEDGER_LIMIT, block).await
}

fn refused_enough(
    refusals: &Refusals,
    claimed: &[ClaimedMessage],
    sent: &[Outgoing],
    outcome: &Outcome,
) -> Vec<Number> {
    let mut enough = Vec::new();
    for (place, (message, outgoing)) in claimed.iter().zip(sent).enumerate() {
        let Some(refused) = is_refused(outcome, place) else {
            continue;
        };
        if !refused && refusals.is_empty() {
            continue;
        }
        // A mail's sender is refused by one recipient's server, not by carriers that share a register.
        if message.kind == MessageType::Email {
            continue;
        }
        let Some(from) = &outgoing.content.from else {
            continue;
        };
        let number = (message.partner.clone(), from.clone());
        match refused {
            true if refusals.refused(number.clone()) => enough.push(number),
            true => {}
            false => refusals.taken(&number),
        }
    }
    enough
}

/// Whether the number was refused, or a message from it taken; `None` if the answer tells neither.
fn is_refused(outcome: &Outcome, place: usize) -> Option<bool> {
    let rejects = |reason: &Reason| (*reason == Reason::SenderRejected).then_some(true);
    match outcome {
        Outcome::Refused { reason, .. } => rejects(reason),
        Outcome::Answered(answers) => match answers.get(place)? {
            Answer::Refused { reason, .. } => rejects(reason),
            Answer::Taken { .. } | Answer::Delivered { .. } => Some(false),
            Answer::Throttled
            | Answer::Deferred { .. }
            | Answer::Closed { .. }
            | Answer::Unknown { .. } => None,
        },
        Outcome::NotConnected(_)
        | Outcome::Throttled { .. }
        | Outcome::Closed { .. }
        | Outcome::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::Clock as _;
    use pabal_common::domain::text::Unencodable;
    use pabal_common::ledger::{NewPartner, Partner, PartnerStatus, WebhookSettings};
    use proptest::prelude::*;

    use super::*;
    use crate::fake::{House, SENDER, UNREGISTERED};

    fn shop() -> PartnerId {
        "shop".parse().unwrap()
    }

    async fn house() -> House {
        let house = House::open(1_000, false).await;
        let partner = Partner {
            id: shop(),
            name: "Shop".to_owned(),
            status: PartnerStatus::Active,
            secret_hash: String::new(),
            credential_version: 1,
            per_second: 100,
            express_per_second: 10,
            unencodable: Unencodable::Reject,
            webhook: WebhookSettings::default(),
            created_at: house.clock.now(),
        };
        let senders = vec![SENDER.to_owned()];
        let new = NewPartner { partner, senders };
        assert!(house.desk.node.ledger.add_partner(&new).await.unwrap());
        house
    }

    /// Sends one message after the other; whether the partner may still send from its number.
    async fn allowed_after(house: &House, texts: &[&str]) -> bool {
        for text in texts {
            let id = house.accept(text).await;
            assert!(house.carry(&[id]).await);
        }
        let senders = house.desk.node.ledger.senders(&shop()).await;
        senders.unwrap() == [SENDER]
    }

    #[tokio::test]
    async fn a_number_that_the_vendor_refuses_again_and_again_is_blocked_and_may_be_allowed_again()
    {
        let house = house().await;
        assert!(allowed_after(&house, &[UNREGISTERED, UNREGISTERED, "text"]).await);
        assert!(allowed_after(&house, &[UNREGISTERED, UNREGISTERED]).await);
        assert!(!allowed_after(&house, &[UNREGISTERED]).await);
        let ledger = &house.desk.node.ledger;
        let now = house.clock.now();
        ledger.allow_sender(&shop(), SENDER, now).await.unwrap();
        assert!(allowed_after(&house, &[UNREGISTERED, UNREGISTERED]).await);
    }

    fn number(name: &str) -> Number {
        ("shop".parse().unwrap(), name.to_owned())
    }

    #[test]
    fn three_refusals_in_a_row_are_enough_and_a_message_that_is_taken_begins_the_count_anew() {
        let refusals = Refusals::default();
        let told: Vec<bool> = (0..3).map(|_| refusals.refused(number("1"))).collect();
        assert_eq!(told, [false, false, true]);
        for _ in 0..5 {
            assert!(!refusals.refused(number("2")));
            assert!(!refusals.refused(number("2")));
            refusals.taken(&number("2"));
        }
        assert!(refusals.is_empty());
    }

    proptest! {
        #[test]
        fn a_number_is_blocked_exactly_where_its_own_last_three_were_refused(
            steps in proptest::collection::vec((0..4_usize, any::<bool>()), 1..300),
        ) {
            let refusals = Refusals::default();
            let mut rows = [0_u32; 4];
            for (which, refused) in steps {
                let number = number(&which.to_string());
                if refused {
                    rows[which] += 1;
                    let enough = rows[which] == ENOUGH;
                    prop_assert_eq!(refusals.refused(number), enough);
                    if enough {
                        rows[which] = 0;
                    }
                } else {
                    rows[which] = 0;
                    refusals.taken(&number);
                }
            }
        }
    }

    #[test]
    fn however_many_numbers_are_refused_few_are_remembered() {
        let refusals = Refusals::default();
        for one in 0..MOST + 100 {
            refusals.refused(number(&one.to_string()));
        }
        assert_eq!(refusals.0.lock().unwrap().len(), MOST);
    }
}
