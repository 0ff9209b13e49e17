//! The gateway's books, which every test checks at its end.

use std::collections::HashMap;
use std::fmt::Debug;

use pabal_common::clock::{Clock as _, Day, SystemClock};

use crate::api::{TYPES, sms};
use crate::house::House;
use crate::partner::Partner;
use crate::wait::eventually;

impl House {
    /// Waits until nothing that was accepted is still on its way.
    #[track_caller]
    pub(crate) fn all_ended(&self) -> impl Future<Output = ()> {
        eventually(async || {
            let totals = self.ledger().totals().await.unwrap();
            let open: Vec<_> = totals
                .iter()
                .filter(|row| row.accepted > row.delivered + row.failed + row.expired)
                .collect();
            none_of(&open)
        })
    }

    /// Waits until no webhook waits.
    #[track_caller]
    pub(crate) fn all_told(&self) -> impl Future<Output = ()> {
        eventually(
            async || match self.ledger().webhooks_size().await.unwrap() {
                0 => Ok(()),
                waiting => Err(format!("{waiting} webhooks wait")),
            },
        )
    }

    /// How many messages the ledger holds.
    pub(crate) async fn kept(&self) -> u64 {
        let totals = self.ledger().totals().await.unwrap();
        totals.iter().map(|row| row.accepted).sum()
    }

    /// Nothing was kept of what was sent so far, nothing went to a vendor, and a good message under
    /// the client id `order-1` is delivered.
    pub(crate) async fn nothing_was_kept(&self, partner: &Partner) {
        assert_eq!(self.kept().await, 0);
        assert_eq!(self.ledger().outbox_size().await.unwrap(), 0);
        assert_eq!(self.simulator().taken_count(), 0);
        let id = self.accept(partner, &sms("order-1")).await;
        assert_eq!(self.result(partner, &id).await["status"], "DELIVERED");
    }

    /// How often vendors took a message.
    pub(crate) fn times_taken(&self, id: &str) -> usize {
        let taken = self.simulator().taken();
        taken
            .iter()
            .filter(|one| one.message.to_string() == id)
            .count()
    }

    /// The end of a test: everything ended, was told, and is in the books.
    pub(crate) async fn close(mut self) {
        self.all_ended().await;
        self.all_told().await;
        self.check_books().await;
        self.stop().await;
    }

    /// No message was taken twice; what the API said to have accepted is what the ledger has; the
    /// daily numbers are the sums of the messages; every webhook was authentic, and whatever was
    /// told more than once was told under one id.
    pub(crate) async fn check_books(&self) {
        if let Some(simulator) = &self.running().simulator {
            assert_eq!(simulator.duplicates(), []);
        }
        assert_eq!(self.ledger().reconcile().await.unwrap(), []);
        let partners = self.partners().clone();
        for partner in &partners {
            let said = partner.accepted_by_type();
            let (kept, numbers) = (self.kept_by_type(partner).await, self.daily(partner).await);
            for kind in TYPES {
                let at = format!("{} {kind}", partner.id);
                let none = Kept::default();
                let kept = kept.get(kind).unwrap_or(&none);
                assert_eq!(said.get(kind).copied().unwrap_or(0), kept.accepted, "{at}");
                let numbers = numbers.get(kind).unwrap_or(&none);
                assert_eq!(numbers.ended(), kept.ended(), "{at}");
                assert_eq!(
                    kept.in_flight,
                    kept.accepted - kept.ended().iter().sum::<u64>(),
                    "{at}"
                );
            }
            partner.check_webhooks();
        }
    }

    /// What the ledger's messages of a partner add up to.
    async fn kept_by_type(&self, partner: &Partner) -> HashMap<String, Kept> {
        let mut sums: HashMap<String, Kept> = HashMap::new();
        for row in self.ledger().totals().await.unwrap() {
            if row.partner == partner.id {
                let sum = sums.entry(row.kind.name().to_owned()).or_default();
                sum.accepted += row.accepted;
                sum.delivered += row.delivered;
                sum.failed += row.failed;
                sum.expired += row.expired;
            }
        }
        let accepted = partner.accepted();
        for (id, kind) in &accepted {
            let view = self.view(id).await;
            assert_eq!(
                (&view.partner, view.kind.name()),
                (&partner.id, kind.as_str()),
                "{id}"
            );
            if !view.status.is_final() {
                sums.entry(kind.clone()).or_default().in_flight += 1;
            }
        }
        sums
    }

    /// The daily numbers as the API tells them, summed over the days around now.
    pub(crate) async fn daily(&self, partner: &Partner) -> HashMap<String, Kept> {
        let (from, to) = days_around_now();
        let answer = self
            .get(partner, &format!("/v1/stats/daily?from={from}&to={to}"))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut sums: HashMap<String, Kept> = HashMap::new();
        for row in answer.body["items"].as_array().unwrap() {
            let number = |field: &str| row[field].as_u64().unwrap();
            assert_eq!(
                number("total"),
                number("success") + number("failed"),
                "{row}"
            );
            let sum = sums
                .entry(row["type"].as_str().unwrap().to_owned())
                .or_default();
            sum.delivered += number("success");
            sum.failed += number("failed") - number("expired");
            sum.expired += number("expired");
        }
        sums
    }
}

/// Messages of one type, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    in_flight: u64,
}

impl Kept {
    /// Delivered, failed, expired.
    pub(crate) const fn ended(&self) -> [u64; 3] {
        [self.delivered, self.failed, self.expired]
    }
}

/// Yesterday and tomorrow in Korea: whatever this test does lies between.
pub(crate) fn days_around_now() -> (Day, Day) {
    let today = SystemClock.now().kst_day().number();
    (Day::from_number(today - 1), Day::from_number(today + 1))
}

/// `Ok` if there is none.
fn none_of<T: Debug>(things: &[T]) -> Result<(), String> {
    match things {
        [] => Ok(()),
        some => Err(format!("{some:?}")),
    }
}
