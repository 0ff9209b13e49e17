//! A vendor's codes and what they mean: one table per vendor, used for answers, for reports and
//! for the list of definitive refusals.

use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{VendorMessageId, Verdict};

use super::reading::short_code;
use crate::provider::{Answer, Closed};

/// What a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The vendor has the message; a report will tell more. Also "I have this id already".
    Taken,
    /// It has arrived.
    Delivered,
    /// It was surely not taken, or will surely not arrive.
    Definitive(Reason),
    /// Too much just now; not taken.
    Throttled,
    /// Not taken: the account is closed until somebody acts.
    Closes(Closed),
    /// It says nothing sure.
    Ambiguous,
}

/// One vendor's codes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes(pub(super) &'static [(&'static str, Meaning)]);

impl Codes {
    /// What `code` says; `None` if it is not in the table.
    pub(super) fn meaning(self, code: &str) -> Option<Meaning> {
        let listed = self.0.iter().find(|(listed, _)| *listed == code);
        listed.map(|(_, meaning)| *meaning)
    }

    /// An answer with this code. A code that is not in the table is an unknown outcome.
    pub(super) fn answer(self, code: &str, vendor_id: Option<VendorMessageId>) -> Answer {
        match self.meaning(code) {
            Some(Meaning::Taken) => Answer::Taken { vendor_id },
            Some(Meaning::Delivered) => Answer::Delivered {
                vendor_id,
                code: Some(short_code(code)),
            },
            Some(Meaning::Definitive(reason)) => Answer::Refused {
                code: short_code(code),
                reason,
            },
            Some(Meaning::Throttled) => Answer::Throttled,
            Some(Meaning::Closes(why)) => Answer::Closed {
                code: short_code(code),
                why,
            },
            Some(Meaning::Ambiguous) | None => Answer::Unknown {
                code: short_code(code),
            },
        }
    }

    /// A report with this code. Vendors report ends; a code that is not in the table is a failure
    /// we have no word for.
    pub(super) fn verdict(self, code: &str) -> Verdict {
        match self.meaning(code) {
            Some(Meaning::Taken | Meaning::Throttled | Meaning::Ambiguous) => Verdict::Taken,
            Some(Meaning::Delivered) => Verdict::Delivered,
            Some(Meaning::Definitive(reason)) => Verdict::Failed(reason),
            // Reported, so it was taken before.
            Some(Meaning::Closes(Closed::Quota)) => Verdict::Failed(Reason::QuotaExceeded),
            Some(Meaning::Closes(_)) => Verdict::Failed(Reason::ProviderError),
            None => Verdict::Failed(Reason::Unspecified),
        }
    }

    /// How many codes are definitive.
    pub(super) const fn count_definitive(self) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < self.0.len() {
            if let Meaning::Definitive(_) = self.0[at].1 {
                count += 1;
            }
            at += 1;
        }
        count
    }

    /// The definitive codes alone; `N` is [`count_definitive`](Self::count_definitive).
    pub(super) const fn definitive<const N: usize>(self) -> [(&'static str, Reason); N] {
        let mut list = [("", Reason::Unspecified); N];
        let (mut at, mut next) = (0, 0);
        while at < self.0.len() {
            if let (code, Meaning::Definitive(reason)) = self.0[at] {
                list[next] = (code, reason);
                next += 1;
            }
            at += 1;
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{carrier, kakao, navertalk, nhn, rbm, rcshub, smpp, smtp, solapi, talk};

    const TABLES: [Codes; 12] = [
        carrier::CODES,
        rcshub::CODES,
        kakao::CODES,
        talk::CODES,
        navertalk::CODES,
        rbm::CODES,
        rbm::EVENTS,
        solapi::CODES,
        nhn::SMS,
        nhn::KAKAO,
        smpp::CODES,
        smtp::CODES,
    ];

    #[test]
    fn no_code_stands_twice_in_a_table() {
        for codes in TABLES {
            for (at, (code, meaning)) in codes.0.iter().enumerate() {
                assert!(!code.is_empty());
                assert_eq!(codes.meaning(code), Some(*meaning), "{code}");
                assert!(codes.0[at + 1..].iter().all(|(other, _)| other != code));
            }
        }
    }

    #[test]
    fn a_code_that_is_not_listed_is_an_unknown_outcome_and_an_unspecified_failure() {
        for codes in TABLES {
            let answer = codes.answer("no such code", None);
            assert!(matches!(answer, Answer::Unknown { .. }));
            let verdict = codes.verdict("no such code");
            assert_eq!(verdict, Verdict::Failed(Reason::Unspecified));
        }
    }

    #[test]
    fn kakao_3005_stays_taken_because_the_message_may_still_arrive() {
        let answer = kakao::CODES.answer("3005", None);
        assert_eq!(answer, Answer::Taken { vendor_id: None });
        assert_eq!(kakao::CODES.verdict("3005"), Verdict::Taken);
    }
}
