//! What is asked of the broker now, and what is not: a breaker for the broker as a whole, and one
//! for each queue.
//!
//! A queue that is full, or whose leader is away, says nothing of the others: its frames wait in the
//! outbox, and everything else goes on. The broker as a whole counts as away when it cannot be
//! reached, takes nothing, or confirms nothing to anyone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::breaker::{Breaker, BreakerRules, Open, State};
use crate::broker::{BrokerError, QueueName};

/// How publishing to one queue ended.
#[derive(Debug)]
pub(super) enum Ending {
    Confirmed,
    /// The broker is there, and this queue took the frames not.
    Refused(BrokerError),
    /// Nothing was heard in time.
    Late(BrokerError),
    /// The broker is not there, or takes nothing at all.
    Away(BrokerError),
}

/// What opened or closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) broker: Option<Turn>,
    pub(super) queue: Option<Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    Closed,
}

/// Every breaker of a relay.
#[derive(Debug)]
pub(super) struct Breakers {
    rules: BreakerRules,
    broker: Breaker,
    queues: BTreeMap<QueueName, Breaker>,
    /// When anything was confirmed last.
    confirmed: Option<Duration>,
}

impl Breakers {
    pub(super) const fn new(rules: BreakerRules) -> Self {
        Self {
            rules,
            broker: Breaker::new(rules),
            queues: BTreeMap::new(),
            confirmed: None,
        }
    }

    /// What may pass to the broker as a whole.
    pub(super) fn broker(&self, now: Duration) -> State {
        self.broker.state(now)
    }

    /// For how long the broker as a whole has not been usable.
    pub(super) fn broken_for(&self, now: Duration) -> Option<Duration> {
        self.broker.broken_for(now)
    }

    /// Asks to probe the broker after it was away.
    pub(super) fn try_broker(&mut self, now: Duration) -> bool {
        self.broker.admit(now).is_ok()
    }

    /// The probe's result.
    pub(super) fn probed(&mut self, is_back: bool, now: Duration) -> Option<Turn> {
        match is_back {
            true => closed(self.broker.succeeded(now)),
            false => opened(self.broker.failed(now)),
        }
    }

    /// Asks to publish to a queue. Once its pause is over, whoever comes first is its trial.
    pub(super) fn try_queue(&mut self, queue: QueueName, now: Duration) -> bool {
        let breaker = self.queues.get_mut(&queue);
        breaker.is_none_or(|breaker| breaker.admit(now).is_ok())
    }

    /// Whether [`try_queue`](Self::try_queue) would let someone through.
    pub(super) fn admits(&self, queue: QueueName, now: Duration) -> Result<(), Open> {
        let breaker = self.queues.get(&queue);
        breaker.map_or(Ok(()), |breaker| breaker.clone().admit(now))
    }

    /// The queues that are left alone, or tried.
    pub(super) fn refusing(&self, now: Duration) -> Vec<QueueName> {
        let open = |(_, breaker): &(&QueueName, &Breaker)| breaker.broken_for(now).is_some();
        let open = self.queues.iter().filter(open);
        open.map(|(queue, _)| *queue).collect()
    }

    /// Notes how publishing to `queue`, begun at `begun`, ended.
    pub(super) fn note(
        &mut self,
        queue: QueueName,
        ending: &Ending,
        begun: Duration,
        now: Duration,
    ) -> Turned {
        match ending {
            Ending::Confirmed => {
                self.confirmed = Some(now);
                let breaker = self.queues.remove(&queue);
                Turned {
                    broker: closed(self.broker.succeeded(now)),
                    queue: self.keep_if_open(queue, breaker, now),
                }
            }
            Ending::Refused(_) => Turned {
                broker: None,
                queue: self.queue_failed(queue, now),
            },
            Ending::Late(_) => {
                // Where others were heard of meanwhile, or a queue's silence is known already, it
                // is not the broker's.
                let is_news = self.is_closed(queue, now);
                let others_are_heard = self.confirmed.is_some_and(|at| at >= begun);
                let counts = is_news && !others_are_heard;
                Turned {
                    broker: opened(counts && self.broker.failed(now)),
                    queue: self.queue_failed(queue, now),
                }
            }
            Ending::Away(_) => Turned {
                broker: opened(self.broker.failed(now)),
                queue: None,
            },
        }
    }

    /// A late confirm from before a queue's breaker opened does not close it; its trial decides.
    fn keep_if_open(
        &mut self,
        queue: QueueName,
        breaker: Option<Breaker>,
        now: Duration,
    ) -> Option<Turn> {
        let mut breaker = breaker?;
        let has_closed = breaker.succeeded(now);
        if breaker.broken_for(now).is_some() {
            self.queues.insert(queue, breaker);
        }
        closed(has_closed)
    }

    fn queue_failed(&mut self, queue: QueueName, now: Duration) -> Option<Turn> {
        let rules = self.rules;
        let breaker = self.queues.entry(queue);
        opened(breaker.or_insert_with(|| Breaker::new(rules)).failed(now))
    }

    fn is_closed(&self, queue: QueueName, now: Duration) -> bool {
        let breaker = self.queues.get(&queue);
        breaker.is_none_or(|breaker| breaker.state(now) == State::Closed)
    }
}

fn opened(opened: bool) -> Option<Turn> {
    opened.then_some(Turn::Opened)
}

fn closed(closed: bool) -> Option<Turn> {
    closed.then_some(Turn::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kind::{Lane, MessageType};

    const SMS: QueueName = QueueName::of(MessageType::Sms, Lane::Ordinary);
    const RCS: QueueName = QueueName::of(MessageType::Rcs, Lane::Ordinary);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn refused() -> Ending {
        Ending::Refused(BrokerError::Refused(RCS))
    }

    fn late() -> Ending {
        Ending::Late(BrokerError::Unavailable("late".into()))
    }

    fn breakers() -> Breakers {
        Breakers::new(BreakerRules::default())
    }

    #[test]
    fn a_queue_that_refuses_is_left_alone_and_the_broker_is_not() {
        let mut breakers = breakers();
        for _ in 0..4 {
            assert_eq!(
                breakers.note(RCS, &refused(), at(0), at(1)),
                Turned::default()
            );
        }
        assert!(breakers.admits(RCS, at(1)).is_ok());
        assert_eq!(breakers.refusing(at(1)), []);
        let turned = breakers.note(RCS, &refused(), at(0), at(1));
        assert_eq!((turned.queue, turned.broker), (Some(Turn::Opened), None));
        assert!(breakers.admits(RCS, at(1)).is_err());
        assert!(!breakers.try_queue(RCS, at(1)));
        assert!(breakers.try_queue(SMS, at(1)));
        assert_eq!(breakers.refusing(at(1)), [RCS]);
        for _ in 0..20 {
            breakers.note(RCS, &refused(), at(0), at(1));
        }
        assert_eq!(breakers.broker(at(1)), State::Closed);
    }

    #[test]
    fn after_the_pause_one_is_let_through_and_its_success_lets_all() {
        let mut breakers = breakers();
        for _ in 0..5 {
            breakers.note(RCS, &refused(), at(0), at(0));
        }
        assert!(breakers.admits(RCS, at(1_000)).is_ok());
        assert!(breakers.try_queue(RCS, at(1_000)));
        assert!(breakers.admits(RCS, at(1_000)).is_err(), "one at a time");
        assert!(!breakers.try_queue(RCS, at(1_000)));
        assert_eq!(
            breakers.refusing(at(1_000)),
            [RCS],
            "until it has taken one"
        );
        let turned = breakers.note(RCS, &Ending::Confirmed, at(1_000), at(1_001));
        assert_eq!(turned.queue, Some(Turn::Closed));
        assert_eq!(breakers.refusing(at(1_001)), []);
        assert!(breakers.try_queue(RCS, at(1_001)) && breakers.try_queue(RCS, at(1_001)));
    }

    #[test]
    fn a_late_confirm_from_before_does_not_close_a_queue() {
        let mut breakers = breakers();
        for _ in 0..5 {
            breakers.note(RCS, &refused(), at(0), at(0));
        }
        assert_eq!(
            breakers.note(RCS, &Ending::Confirmed, at(0), at(1)).queue,
            None
        );
        assert!(breakers.admits(RCS, at(1)).is_err());
    }

    #[test]
    fn silence_of_one_queue_is_its_own_while_others_are_heard() {
        let mut breakers = breakers();
        for _ in 0..5 {
            breakers.note(SMS, &Ending::Confirmed, at(900), at(1_000));
            breakers.note(RCS, &late(), at(0), at(2_000));
        }
        assert!(breakers.admits(RCS, at(2_000)).is_err());
        assert_eq!(breakers.broker(at(2_000)), State::Closed);
    }

    #[test]
    fn silence_of_all_is_the_brokers_and_a_failed_trial_of_one_queue_is_not() {
        let mut breakers = breakers();
        for _ in 0..5 {
            breakers.note(RCS, &late(), at(0), at(2_000));
        }
        assert_ne!(breakers.broker(at(2_000)), State::Closed);
        assert!(breakers.try_broker(at(3_000)));
        assert_eq!(breakers.probed(true, at(3_001)), Some(Turn::Closed));
        let mut now = at(3_001);
        for _ in 0..20 {
            now += at(40_000);
            assert!(breakers.try_queue(RCS, now));
            breakers.note(RCS, &late(), now, now + at(2_000));
            assert_eq!(breakers.broker(now + at(2_000)), State::Closed);
        }
    }

    #[test]
    fn a_broker_that_cannot_be_reached_opens_no_queue() {
        let mut breakers = breakers();
        for _ in 0..5 {
            let away = Ending::Away(BrokerError::Unavailable("away".into()));
            breakers.note(RCS, &away, at(0), at(1));
        }
        assert_ne!(breakers.broker(at(1)), State::Closed);
        assert!(breakers.admits(RCS, at(1)).is_ok());
    }
}
