//! Ids: 64-bit TSIDs, written as 13 Crockford base32 characters.
//!
//! 42 bits of milliseconds since 2020-01-01, 10 bits of node id, 12 bits of counter. They sort by
//! time, and no two nodes make the same one as long as each node id is leased to one process.
//!
//! The `tsid` crate is not used: its factory takes a random 8-bit node id when the environment
//! names none, and panics on a clock before 2020. A leased node id, an injected clock and a rule
//! for clocks that go back are what keeps ids unique here.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Clock, Timestamp};

/// 2020-01-01T00:00:00Z in Unix milliseconds.
const EPOCH: i64 = 1_577_836_800_000;
const COUNTER_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
/// How many node ids there are.
pub const NODES: u16 = 1 << NODE_BITS;
const TIME_BITS: u32 = 42;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 13;

/// A 64-bit time-sorted id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tsid(u64);

impl Tsid {
    /// The number behind the id.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The id with this number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number as the ledger's signed column holds it.
    pub const fn to_column(self) -> i64 {
        self.0.cast_signed()
    }

    /// The id in the ledger's signed column.
    pub const fn from_column(column: i64) -> Self {
        Self(column.cast_unsigned())
    }
}

impl fmt::Display for Tsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; LENGTH];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Tsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 13 Crockford base32 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 13 characters of Crockford base32")]
pub struct NotAnId;

impl FromStr for Tsid {
    type Err = NotAnId;

    /// Reads upper or lower case; `I`, `L` and `O` are not letters of an id.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != LENGTH {
            return Err(NotAnId);
        }
        let mut number: u64 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET
                .iter()
                .position(|&letter| letter == upper)
                .ok_or(NotAnId)?;
            if place == 0 && digit > 15 {
                return Err(NotAnId);
            }
            number = number << 5 | digit as u64;
        }
        Ok(Self(number))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Tsid);

        impl $name {
            /// The number behind the id.
            pub const fn number(self) -> u64 {
                self.0.number()
            }

            /// The id with this number.
            pub const fn from_number(number: u64) -> Self {
                Self(Tsid::from_number(number))
            }

            /// The number as the ledger's signed column holds it.
            pub const fn to_column(self) -> i64 {
                self.0.to_column()
            }

            /// The id in the ledger's signed column.
            pub const fn from_column(column: i64) -> Self {
                Self(Tsid::from_column(column))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// One accepted message.
    MessageId
}
impl MessageId {
    /// When it was made, which is when its message was accepted. An id is never older than 2020.
    pub const fn made_at(self) -> Timestamp {
        let millis = self.number() >> (NODE_BITS + COUNTER_BITS);
        Timestamp::from_millis(EPOCH + millis.cast_signed())
    }
}
id! {
    /// One process, from its start to its end. A restart is a new instance.
    InstanceId
}
id! {
    /// One vendor call; every message claimed for the call carries it.
    SubmissionId
}
id! {
    /// One outbox row.
    OutboxId
}
id! {
    /// One webhook row; the `webhook-id` partners see.
    WebhookId
}
id! {
    /// One dead letter.
    DeadLetterId
}

id! {
    /// One file that a partner uploaded.
    FileId
}

/// A partner's short name; also its `clientId`. 1–32 of `a-z`, `0-9`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartnerId(Arc<str>);

/// The text cannot name a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a partner id is 1 to 32 characters of a-z, 0-9 and '-'")]
pub struct NotAPartnerId;

impl PartnerId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PartnerId {
    type Err = NotAPartnerId;

    fn from_str(text: &str) -> Result<Self, NotAPartnerId> {
        let fits = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NotAPartnerId)
        }
    }
}

impl fmt::Display for PartnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PartnerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PartnerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The partner's own id of a message: 1–64 visible ASCII characters, compared bytewise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientMsgId(Arc<str>);

/// The text cannot be a `clientMsgId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a clientMsgId is 1 to 64 visible ASCII characters")]
pub struct NotAClientMsgId;

impl ClientMsgId {
    /// The longest one, in bytes.
    pub const MAX: usize = 64;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientMsgId {
    type Err = NotAClientMsgId;

    fn from_str(text: &str) -> Result<Self, NotAClientMsgId> {
        let fits =
            (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NotAClientMsgId)
        }
    }
}

impl fmt::Display for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ClientMsgId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Makes ids for one process.
///
/// When the clock goes back, ids go on from the last millisecond used, so they stay unique and
/// in order; when a millisecond's 4,096 are used up, the next millisecond is borrowed.
#[derive(Debug)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    node: u64,
    last: Mutex<u64>,
}

impl Ids {
    /// A factory for the process that holds node id `node` (0–1023).
    pub fn new(clock: Arc<dyn Clock>, node: u16) -> Self {
        let node = u64::from(node % NODES);
        Self {
            clock,
            node,
            last: Mutex::new(0),
        }
    }

    /// The next id; greater than every one before it.
    pub fn next(&self) -> Tsid {
        let now = u64::try_from(self.clock.now().millis() - EPOCH).unwrap_or(0);
        let earliest = (now & ((1 << TIME_BITS) - 1)) << COUNTER_BITS;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = earliest.max(*last + 1);
        let (time, counter) = (*last >> COUNTER_BITS, *last & ((1 << COUNTER_BITS) - 1));
        Tsid(time << (NODE_BITS + COUNTER_BITS) | self.node << COUNTER_BITS | counter)
    }

    /// An id for a new message.
    pub fn message(&self) -> MessageId {
        MessageId(self.next())
    }

    /// An id for a new file.
    pub fn file(&self) -> FileId {
        FileId(self.next())
    }

    /// An id for a new vendor call.
    pub fn submission(&self) -> SubmissionId {
        SubmissionId(self.next())
    }

    /// An id for a new outbox row.
    pub fn outbox(&self) -> OutboxId {
        OutboxId(self.next())
    }

    /// An id for a new webhook row.
    pub fn webhook(&self) -> WebhookId {
        WebhookId(self.next())
    }

    /// An id for a new dead letter.
    pub fn dead_letter(&self) -> DeadLetterId {
        DeadLetterId(self.next())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    fn ids_at(millis: i64, node: u16) -> (Arc<ManualClock>, Ids) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(millis)));
        (Arc::clone(&clock), Ids::new(clock, node))
    }

    #[test]
    fn ids_stay_in_order_when_the_clock_goes_back() {
        let (clock, ids) = ids_at(1_795_000_000_000, 7);
        let before = ids.next();
        clock.set(Timestamp::from_millis(1_700_000_000_000));
        assert!(ids.next() > before);
    }

    #[test]
    fn a_clock_before_the_epoch_makes_ids_all_the_same() {
        let (_, ids) = ids_at(0, 0);
        assert!(ids.next() < ids.next());
    }

    #[test]
    fn more_ids_than_a_millisecond_holds_are_all_different() {
        let (_, ids) = ids_at(1_795_000_000_000, 1);
        let made: HashSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
    }

    #[test]
    fn two_nodes_never_make_the_same_id() {
        let (_, one) = ids_at(1_795_000_000_000, 1);
        let (_, two) = ids_at(1_795_000_000_000, 2);
        let made: HashSet<_> = (0..5_000).flat_map(|_| [one.next(), two.next()]).collect();
        assert_eq!(made.len(), 10_000);
    }

    #[test]
    fn letters_that_are_easily_mistaken_are_refused() {
        for text in ["0ILO000000000", "0000000000000 ", "", "G000000000000"] {
            assert_eq!(text.parse::<Tsid>(), Err(NotAnId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_thirteen_characters_and_reads_back(number: u64) {
            let id = Tsid::from_number(number);
            let text = id.to_string();
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(text.parse(), Ok(id));
            prop_assert_eq!(text.to_lowercase().parse(), Ok(id));
            prop_assert_eq!(Tsid::from_column(id.to_column()), id);
        }

        #[test]
        fn ids_are_in_order_whatever_the_clock_does(steps in proptest::collection::vec(-5_000_i64..5_000, 1..200)) {
            let (clock, ids) = ids_at(1_795_000_000_000, 3);
            let mut last = ids.next();
            for step in steps {
                clock.set(Timestamp::from_millis(clock.now().millis() + step));
                clock.advance(Duration::ZERO);
                let next = ids.next();
                prop_assert!(next > last);
                prop_assert_eq!(next.to_string() > last.to_string(), true);
                last = next;
            }
        }

        #[test]
        fn a_client_message_id_is_visible_ascii(text in ".{0,80}") {
            let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| ('!'..='~').contains(&c));
            prop_assert_eq!(text.parse::<ClientMsgId>().is_ok(), fits);
        }
    }
}
