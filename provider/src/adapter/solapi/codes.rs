//! What Solapi's words mean: the status codes of messages, and the error codes of whole requests.
//!
//! Source: the vendor's own documents (github.com/solapi/documents at c203145):
//! `api-reference/message-status-codes.md` for the numbers, `authentication/api-key.md` and the pages
//! of the group calls, which `send-many` runs one after another, for the words.

use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;

use super::super::code::{Codes, Meaning};
use crate::provider::Closed;

/// An MMS without its picture (1034).
pub(super) const NO_IMAGE: &str = "1034";
/// A channel, brand or sender profile that there is not (1041).
pub(super) const NO_CHANNEL: &str = "1041";
/// A template that there is not (1042).
pub(super) const NO_TEMPLATE: &str = "1042";
/// A template filled in otherwise than it was approved (1043).
pub(super) const OTHER_THAN_TEMPLATE: &str = "1043";
/// A button that there is not (1044).
pub(super) const NO_BUTTON: &str = "1044";
/// A recipient that is no number (3010).
pub(super) const NO_NUMBER: &str = "3010";

/// 1xxx is refused when it comes in, 2000 taken, 2xxx failed at the platform, 3000 handed on, 3xxx
/// failed at the carrier or at Kakao, 4000 delivered. The errors of servers, "unknown" states and the
/// carriers' time-out say nothing sure: such a message may still arrive, or have arrived.
pub(in super::super) const CODES: Codes = Codes(&[
    ("1010", Meaning::Definitive(Reason::ContentRejected)),
    ("1011", Meaning::Definitive(Reason::ContentRejected)),
    ("1013", Meaning::Definitive(Reason::ContentRejected)),
    ("1014", Meaning::Definitive(Reason::ContentRejected)),
    ("1020", Meaning::Closes(Closed::Credentials)),
    ("1023", Meaning::Definitive(Reason::ContentRejected)),
    ("1024", Meaning::Ambiguous),
    ("1025", Meaning::Definitive(Reason::ContentRejected)),
    ("1026", Meaning::Definitive(Reason::Duplicate)),
    ("1027", Meaning::Definitive(Reason::ContentRejected)),
    ("1028", Meaning::Definitive(Reason::ContentRejected)),
    ("1029", Meaning::Definitive(Reason::ContentRejected)),
    ("1030", Meaning::Closes(Closed::Balance)),
    ("1031", Meaning::Definitive(Reason::ContentRejected)),
    ("1032", Meaning::Definitive(Reason::ContentRejected)),
    ("1033", Meaning::Definitive(Reason::ContentRejected)),
    (NO_IMAGE, Meaning::Definitive(Reason::ContentRejected)),
    (NO_CHANNEL, Meaning::Definitive(Reason::SenderRejected)),
    (NO_TEMPLATE, Meaning::Definitive(Reason::ContentRejected)),
    (
        OTHER_THAN_TEMPLATE,
        Meaning::Definitive(Reason::ContentRejected),
    ),
    (NO_BUTTON, Meaning::Definitive(Reason::ContentRejected)),
    ("1045", Meaning::Definitive(Reason::ContentRejected)),
    ("1046", Meaning::Definitive(Reason::ContentRejected)),
    ("1047", Meaning::Definitive(Reason::ContentRejected)),
    ("1048", Meaning::Definitive(Reason::ContentRejected)),
    ("1049", Meaning::Definitive(Reason::ContentRejected)),
    ("1050", Meaning::Definitive(Reason::ContentRejected)),
    ("1051", Meaning::Definitive(Reason::ContentRejected)),
    ("1052", Meaning::Definitive(Reason::ContentRejected)),
    ("1053", Meaning::Definitive(Reason::ContentRejected)),
    ("1058", Meaning::Definitive(Reason::ProviderError)),
    ("1060", Meaning::Definitive(Reason::RecipientBlocked)),
    ("1061", Meaning::Definitive(Reason::OptedOut)),
    ("1062", Meaning::Definitive(Reason::SenderRejected)),
    ("1064", Meaning::Definitive(Reason::SenderRejected)),
    ("2000", Meaning::Taken),
    ("2011", Meaning::Definitive(Reason::ContentRejected)),
    ("2024", Meaning::Ambiguous),
    ("2060", Meaning::Definitive(Reason::RecipientBlocked)),
    ("2061", Meaning::Definitive(Reason::OptedOut)),
    ("2062", Meaning::Definitive(Reason::SenderRejected)),
    ("2063", Meaning::Closes(Closed::Suspended)),
    ("2064", Meaning::Definitive(Reason::SenderRejected)),
    ("2230", Meaning::Closes(Closed::Balance)),
    ("2254", Meaning::Definitive(Reason::Spam)),
    ("3000", Meaning::Taken),
    (NO_NUMBER, Meaning::Definitive(Reason::InvalidRecipient)),
    ("3011", Meaning::Definitive(Reason::ContentRejected)),
    ("3012", Meaning::Ambiguous),
    ("3013", Meaning::Definitive(Reason::SenderRejected)),
    ("3014", Meaning::Ambiguous),
    ("3024", Meaning::Ambiguous),
    ("3031", Meaning::Definitive(Reason::ProviderError)),
    ("3032", Meaning::Definitive(Reason::InvalidRecipient)),
    // The carriers' own time-out: nobody knows whether the handset has it.
    ("3040", Meaning::Ambiguous),
    ("3041", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3042", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3043", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3044", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3045", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3046", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3047", Meaning::Definitive(Reason::RecipientBlocked)),
    ("3048", Meaning::Ambiguous),
    ("3050", Meaning::Definitive(Reason::NotCapable)),
    ("3051", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3052", Meaning::Definitive(Reason::ProviderError)),
    ("3053", Meaning::Definitive(Reason::ProviderError)),
    ("3054", Meaning::Definitive(Reason::Spam)),
    ("3055", Meaning::Definitive(Reason::Spam)),
    ("3056", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3057", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3058", Meaning::Definitive(Reason::ProviderError)),
    ("3059", Meaning::Definitive(Reason::SenderRejected)),
    ("3060", Meaning::Definitive(Reason::NotCapable)),
    ("3101", Meaning::Definitive(Reason::SenderRejected)),
    ("3102", Meaning::Definitive(Reason::NotCapable)),
    ("3103", Meaning::Definitive(Reason::ContentRejected)),
    ("3104", Meaning::Definitive(Reason::NotCapable)),
    ("3105", Meaning::Definitive(Reason::ContentRejected)),
    ("3106", Meaning::Definitive(Reason::SenderRejected)),
    // Away for 72 hours, or has blocked Alimtalk: the code does not tell the two apart.
    ("3107", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("3108", Meaning::Definitive(Reason::OutOfHours)),
    ("4000", Meaning::Delivered),
    ("InvalidAPIKey", Meaning::Closes(Closed::Credentials)),
    (
        "SignatureDoesNotMatch",
        Meaning::Closes(Closed::Credentials),
    ),
    // Our clock is more than 15 minutes off: until somebody sets it, nothing is taken.
    ("RequestTimeTooSkewed", Meaning::Closes(Closed::Credentials)),
    // The same request twice on the way: the first of the two may have been taken.
    ("DuplicatedSignature", Meaning::Ambiguous),
    ("Forbidden", Meaning::Closes(Closed::Credentials)),
    ("NotEnoughBalance", Meaning::Closes(Closed::Balance)),
    (
        "ValidationError",
        Meaning::Definitive(Reason::ContentRejected),
    ),
]);

pub(super) const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

/// What a report with this code says. The first digit tells the kind of a code that is younger than
/// the table; what tells nothing leaves the message open.
pub(super) fn verdict(code: &str) -> Verdict {
    let failed = matches!(code.as_bytes(), [b'1'..=b'3', rest @ ..]
        if rest.len() == 3 && rest.iter().all(u8::is_ascii_digit));
    if failed || CODES.meaning(code).is_some() {
        CODES.verdict(code)
    } else {
        Verdict::Taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_listed_is_a_failure_only_by_its_documented_first_digit() {
        for (code, expected) in [
            ("4000", Verdict::Delivered),
            ("3000", Verdict::Taken),
            ("3014", Verdict::Taken),
            ("3199", Verdict::Failed(Reason::Unspecified)),
            ("1099", Verdict::Failed(Reason::Unspecified)),
            ("4100", Verdict::Taken),
            ("TEST1000", Verdict::Taken),
            ("10990", Verdict::Taken),
            ("", Verdict::Taken),
        ] {
            assert_eq!(verdict(code), expected, "{code}");
        }
    }
}
