//! A ledger that has been in use for two months: very many messages that ended long ago.
//!
//! Each is a copy of one that has just gone the whole way, so that a row is as large as in life; its own
//! are the ids, the partner and the moments. They are spread evenly over the days and over
//! [`PARTNERS`] partners, of which the measured one is the first, and the books of the days are written
//! with them: `pabal reconcile` must agree.
//!
//! The statements are here and not in `common/src/ledger`: no gateway ever does this. A message comes
//! into a ledger by being accepted, and what can put it there otherwise should not be in a program that
//! runs in earnest.

use std::collections::BTreeMap;
use std::time::Duration;

use pabal_common::clock::{Day, Timestamp};
use pabal_common::domain::id::MessageId;

use self::ledger::Ledger;
use super::report::progress::Progress;
use super::stage::House;

mod ledger;
mod statement;

/// How many partners the messages are spread over.
const PARTNERS: u64 = 50;
const A_DAY: Duration = Duration::from_secs(86_400);
/// How old the oldest of the messages is.
const OLDEST: Duration = A_DAY.saturating_mul(60);
/// How old the youngest is: none is of a day on which something is measured.
const YOUNGEST: Duration = A_DAY;

/// The messages that fill a ledger, by number from 0, the oldest.
#[derive(Clone, Debug)]
pub(super) struct Filling {
    /// Who has every fiftieth of them.
    partner: String,
    rows: u64,
    /// When the oldest was accepted.
    first: Timestamp,
    /// What lies between two, in milliseconds.
    step: u64,
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    /// How large the messages are with their indexes, in bytes.
    pub(super) bytes: u64,
}

impl Filling {
    /// The most messages: one a millisecond.
    pub(super) const MOST: u64 = (OLDEST.as_millis() - YOUNGEST.as_millis()) as u64;

    /// So many, at least one, up to a day before `now`; every fiftieth is `partner`'s.
    pub(super) fn new(partner: &str, rows: u64, now: Timestamp) -> Self {
        let rows = rows.clamp(1, Self::MOST);
        Self {
            partner: partner.to_owned(),
            rows,
            first: now.minus(OLDEST),
            step: Self::MOST / rows,
        }
    }

    /// How many there are.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// A message of the measured partner, any of them.
    pub(super) fn any_own(&self) -> MessageId {
        self.id(fastrand::u64(..self.rows.div_ceil(PARTNERS)) * PARTNERS)
    }

    /// How many are of the first day, counted from the oldest.
    pub(super) fn of_first_day(&self) -> u64 {
        let day = A_DAY.as_millis() as u64;
        day.div_ceil(self.step).min(self.rows)
    }

    /// The youngest message of the measured partner that is of the first day.
    pub(super) fn last_own_of_first_day(&self) -> MessageId {
        self.id((self.of_first_day() - 1) / PARTNERS * PARTNERS)
    }

    /// How long messages may be kept if those of the first day are to go, and no others yet.
    pub(super) const fn all_but_first_day() -> Duration {
        OLDEST.saturating_sub(A_DAY)
    }

    fn id(&self, number: u64) -> MessageId {
        let column = statement::id_at(self.accepted_at(number).millis());
        MessageId::from_column(column)
    }

    fn accepted_at(&self, number: u64) -> Timestamp {
        self.first.plus(Duration::from_millis(number * self.step))
    }

    /// How many messages each partner, by the remainder of their numbers, has on each day.
    fn days(&self) -> BTreeMap<(u64, Day), u64> {
        let mut days = BTreeMap::new();
        for number in 0..self.rows {
            let day = self.accepted_at(number).kst_day();
            *days.entry((number % PARTNERS, day)).or_default() += 1;
        }
        days
    }

    /// Puts the messages into a ledger whose gateway runs and has nothing to do. `model` has gone the
    /// whole way.
    pub(super) async fn fill(
        &self,
        house: &House,
        model: MessageId,
        progress: Progress,
    ) -> anyhow::Result<Filled> {
        let mut ledger = Ledger::open(house).await?;
        let (dialect, chunk) = (ledger.dialect(), ledger.chunk());
        let mut from = 0;
        while from < self.rows {
            progress.say(&format!("{from} of {} rows filled in", self.rows));
            let count = chunk.min(self.rows - from);
            let messages = statement::messages(dialect, self, model, from, count);
            ledger.run(messages).await?;
            from += count;
        }
        for statement in statement::books(dialect, &self.partner, &self.days()) {
            ledger.run(statement).await?;
        }
        progress.say("what was filled in is written to the disk");
        ledger.settle().await?;
        let bytes = ledger.size().await?;
        Ok(Filled { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn messages_are_spread_from_sixty_days_ago_to_yesterday() {
        for rows in [1, 7, 3_000, 10_000_000] {
            let filling = Filling::new("bench-1", rows, NOW);
            assert_eq!(filling.accepted_at(0), NOW.minus(OLDEST));
            let last = filling.accepted_at(rows - 1);
            assert!(last <= NOW.minus(YOUNGEST), "{rows}");
            assert_ne!(
                filling.step, 0,
                "each has a moment, and so an id, of its own"
            );
        }
    }

    #[test]
    fn the_days_hold_every_message_once() {
        let filling = Filling::new("bench-1", 12_345, NOW);
        let days = filling.days();
        assert_eq!(days.values().sum::<u64>(), 12_345);
        let partners: std::collections::BTreeSet<_> = days.keys().map(|(who, _)| who).collect();
        assert_eq!(partners.len() as u64, PARTNERS);
    }

    #[test]
    fn the_first_day_ends_where_those_begin_that_stay() {
        let filling = Filling::new("bench-1", 3_000, NOW);
        let kept = NOW.minus(Filling::all_but_first_day());
        let count = filling.of_first_day();
        assert!(filling.accepted_at(count - 1) < kept);
        assert!(filling.accepted_at(count) >= kept);
        assert!(filling.last_own_of_first_day() <= filling.id(count - 1));
    }
}
