//! Reading what vendors write: ids in several notations, codes, times, and answers that may lack
//! entries.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::report::VendorMessageId;
use serde::Deserialize;

use crate::provider::Answer;

/// The longest vendor code kept, in bytes.
const CODE: usize = 64;
/// A report's own time counts only near the present.
const PAST: Duration = Duration::from_secs(7 * 24 * 3600);
const FUTURE: Duration = Duration::from_secs(300);

/// An id as a vendor writes it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum WireId {
    /// A JSON number: always decimal.
    Number(u64),
    /// Text, in the vendor's base.
    Text(String),
}

/// In which base a vendor writes its ids as text.
#[derive(Clone, Copy)]
pub(super) enum Base {
    Decimal,
    Hexadecimal,
}

impl WireId {
    /// One notation for every way to write the same id: `prefix` (in any case) and leading zeros
    /// gone, lower case, in the vendor's base. An id of another shape is kept as it is, in lower
    /// case, so that it is seen rather than lost; `None` if it is empty or too long.
    pub(super) fn normal(&self, prefix: &str, base: Base) -> Option<VendorMessageId> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number_of(text, prefix, base),
        };
        match (number, self, base) {
            (Some(number), _, Base::Decimal) => VendorMessageId::new(&number.to_string()),
            (Some(number), _, Base::Hexadecimal) => VendorMessageId::new(&format!("{number:x}")),
            (None, Self::Text(text), _) => VendorMessageId::new(&text.trim().to_lowercase()),
            (None, Self::Number(_), _) => None,
        }
    }
}

fn number_of(text: &str, prefix: &str, base: Base) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .get(..prefix.len())
        .filter(|head| head.eq_ignore_ascii_case(prefix))
        .map_or(text, |_| &text[prefix.len()..]);
    let (radix, fits) = match base {
        Base::Decimal => (10, digits.bytes().all(|byte| byte.is_ascii_digit())),
        Base::Hexadecimal => (16, digits.bytes().all(|byte| byte.is_ascii_hexdigit())),
    };
    // `from_str_radix` alone would take a sign.
    fits.then(|| u64::from_str_radix(digits, radix).ok())
        .flatten()
}

/// A vendor's code, cut to what is kept.
pub(super) fn short_code(code: &str) -> String {
    code[..code.floor_char_boundary(CODE)].to_owned()
}

/// A report's time in Unix milliseconds, or `now` if it has none or a senseless one.
pub(super) fn occurred_at(millis: Option<i64>, now: Timestamp) -> Timestamp {
    millis
        .map(Timestamp::from_millis)
        .filter(|at| (now.minus(PAST)..=now.plus(FUTURE)).contains(at))
        .unwrap_or(now)
}

/// The answers of one call, filled in whatever order the vendor gives them.
pub(super) struct Answers(Vec<Option<Answer>>);

impl Answers {
    /// For a call of so many messages.
    pub(super) fn of(messages: usize) -> Self {
        Self(vec![None; messages])
    }

    /// Notes the answer for one message; `None` if the place does not exist or is taken, which
    /// makes the whole answer untrustworthy.
    pub(super) fn put(&mut self, index: usize, answer: Answer) -> Option<()> {
        let place = self.0.get_mut(index)?;
        place.is_none().then(|| *place = Some(answer))
    }

    /// The answers in the call's order. A message without one has an unknown outcome; an answer
    /// that speaks of no message at all is none.
    pub(super) fn complete(self) -> Option<Vec<Answer>> {
        if self.0.iter().all(Option::is_none) {
            return None;
        }
        let missing = || Answer::Unknown {
            code: "MISSING".to_owned(),
        };
        let answers = self.0.into_iter();
        Some(
            answers
                .map(|answer| answer.unwrap_or_else(missing))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(id: WireId, base: Base) -> Option<String> {
        id.normal("RCS-", base).map(|id| id.as_str().to_owned())
    }

    proptest! {
        #[test]
        fn every_notation_of_a_hexadecimal_id_is_the_same_id(number: u64) {
            let expected = Some(format!("{number:x}"));
            for text in [
                format!("{number:x}"),
                format!("{number:X}"),
                format!("{number:016X}"),
                format!("RCS-{number:016X}"),
                format!("rcs-{number:x}"),
                format!(" {number:x} "),
            ] {
                prop_assert_eq!(normal(WireId::Text(text), Base::Hexadecimal), expected.clone());
            }
            prop_assert_eq!(normal(WireId::Number(number), Base::Hexadecimal), expected);
        }

        #[test]
        fn every_notation_of_a_decimal_id_is_the_same_id(number: u64) {
            let expected = Some(number.to_string());
            for text in [number.to_string(), format!("{number:020}"), format!("Rcs-{number:020}")] {
                prop_assert_eq!(normal(WireId::Text(text), Base::Decimal), expected.clone());
            }
            prop_assert_eq!(normal(WireId::Number(number), Base::Decimal), expected);
        }

        #[test]
        fn any_text_is_an_id_or_none_but_never_a_panic(text in "\\PC{0,200}") {
            for base in [Base::Decimal, Base::Hexadecimal] {
                if let Some(id) = WireId::Text(text.clone()).normal("RCS-", base) {
                    prop_assert!(id.as_str().len() <= VendorMessageId::MAX);
                }
            }
            prop_assert!(short_code(&text).len() <= CODE);
        }

        #[test]
        fn a_senseless_time_is_replaced_by_now(millis: i64) {
            let now = Timestamp::from_millis(1_795_000_000_000);
            let at = occurred_at(Some(millis), now);
            prop_assert!(at >= now.minus(PAST) && at <= now.plus(FUTURE));
        }
    }
}
