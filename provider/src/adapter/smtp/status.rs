//! What the codes of mail servers mean: RFC 5321 §4.2.3, RFC 3463 §3 and the registry of enhanced status
//! codes that IANA keeps (RFC 5248), in one table.
//!
//! An enhanced code says more than the three digits before it, so it is looked up first; then the digits;
//! then the class. A 5yz reply is final whatever it says (RFC 5321 §4.2.1), a 4yz one never is.

use pabal_common::domain::reason::Reason;

use super::reply::Reply;
use crate::adapter::code::{Codes, Meaning};
use crate::provider::Closed;

/// Mail to ourselves, so to speak: every mail server of the recipient's domain has an address that is
/// not of the public internet.
pub(super) const PRIVATE_TARGET: &str = "PRIVATE_TARGET";
/// The recipient's domain takes no mail (null MX, RFC 7505 §4.1).
pub(super) const NULL_MX: &str = "5.1.10";
/// The recipient's domain is not there.
pub(super) const NO_DOMAIN: &str = "5.1.2";
/// The domain has no mail server with an address.
pub(super) const NO_ROUTE: &str = "5.4.4";
/// Larger than the server takes (RFC 1870 §6.1).
pub(super) const TOO_LARGE: &str = "5.3.4";
/// What cannot be written as a mail.
pub(super) const UNWRITABLE: &str = "5.6.0";

use Meaning::{Definitive, Throttled};
use Reason::{
    ContentRejected, InvalidRecipient, ProviderError, RecipientBlocked, RecipientUnavailable,
    SenderRejected, Unspecified,
};

/// The table.
pub(in crate::adapter) const CODES: Codes = Codes(&[
    // X.1: the address.
    ("5.1.0", Definitive(InvalidRecipient)),
    ("5.1.1", Definitive(InvalidRecipient)),
    (NO_DOMAIN, Definitive(InvalidRecipient)),
    ("5.1.3", Definitive(InvalidRecipient)),
    ("5.1.4", Definitive(InvalidRecipient)),
    ("5.1.6", Definitive(InvalidRecipient)),
    ("5.1.7", Definitive(SenderRejected)),
    ("5.1.8", Definitive(SenderRejected)),
    ("5.1.9", Definitive(ContentRejected)),
    (NULL_MX, Definitive(InvalidRecipient)),
    // X.2: the mailbox.
    ("5.2.0", Definitive(RecipientUnavailable)),
    ("5.2.1", Definitive(RecipientUnavailable)),
    ("5.2.2", Definitive(RecipientUnavailable)),
    ("5.2.3", Definitive(ContentRejected)),
    ("5.2.4", Definitive(RecipientUnavailable)),
    // X.3: the mail system.
    ("5.3.0", Definitive(ProviderError)),
    ("5.3.1", Definitive(ProviderError)),
    ("5.3.2", Definitive(ProviderError)),
    ("5.3.3", Definitive(ProviderError)),
    (TOO_LARGE, Definitive(ContentRejected)),
    ("5.3.5", Definitive(ProviderError)),
    // X.4: the network and the way.
    ("5.4.0", Definitive(ProviderError)),
    ("5.4.1", Definitive(InvalidRecipient)),
    ("5.4.3", Definitive(ProviderError)),
    (NO_ROUTE, Definitive(InvalidRecipient)),
    ("5.4.6", Definitive(ProviderError)),
    ("5.4.7", Definitive(ProviderError)),
    // X.5: the dialogue.
    ("5.5.0", Definitive(ProviderError)),
    ("5.5.1", Definitive(ProviderError)),
    ("5.5.2", Definitive(ProviderError)),
    ("5.5.3", Definitive(ProviderError)),
    ("5.5.4", Definitive(ProviderError)),
    // X.6: the content.
    (UNWRITABLE, Definitive(ContentRejected)),
    ("5.6.1", Definitive(ContentRejected)),
    ("5.6.2", Definitive(ContentRejected)),
    ("5.6.3", Definitive(ContentRejected)),
    ("5.6.5", Definitive(ContentRejected)),
    ("5.6.6", Definitive(ContentRejected)),
    ("5.6.7", Definitive(InvalidRecipient)),
    // X.7: security and policy.
    ("5.7.0", Definitive(RecipientBlocked)),
    ("5.7.1", Definitive(RecipientBlocked)),
    ("5.7.2", Definitive(RecipientBlocked)),
    ("5.7.3", Definitive(ProviderError)),
    ("5.7.5", Definitive(ProviderError)),
    ("5.7.8", Definitive(SenderRejected)),
    ("5.7.9", Definitive(SenderRejected)),
    ("5.7.13", Definitive(SenderRejected)),
    ("5.7.17", Definitive(InvalidRecipient)),
    ("5.7.18", Definitive(InvalidRecipient)),
    ("5.7.20", Definitive(SenderRejected)),
    ("5.7.21", Definitive(SenderRejected)),
    ("5.7.22", Definitive(SenderRejected)),
    ("5.7.23", Definitive(SenderRejected)),
    ("5.7.24", Definitive(SenderRejected)),
    ("5.7.25", Definitive(SenderRejected)),
    ("5.7.26", Definitive(SenderRejected)),
    ("5.7.27", Definitive(SenderRejected)),
    ("5.7.28", Definitive(Reason::Spam)),
    ("5.7.29", Definitive(SenderRejected)),
    // The digits alone.
    ("521", Definitive(InvalidRecipient)),
    ("530", Definitive(SenderRejected)),
    ("534", Definitive(SenderRejected)),
    ("535", Definitive(SenderRejected)),
    ("538", Definitive(SenderRejected)),
    ("550", Definitive(InvalidRecipient)),
    ("551", Definitive(InvalidRecipient)),
    ("552", Definitive(RecipientUnavailable)),
    ("553", Definitive(InvalidRecipient)),
    ("554", Definitive(ContentRejected)),
    ("555", Definitive(ProviderError)),
    ("556", Definitive(InvalidRecipient)),
    // The class alone.
    ("5yz", Definitive(Unspecified)),
    // Ours.
    (PRIVATE_TARGET, Definitive(InvalidRecipient)),
    // The whole server has too much or goes away. 4.7.1 is not here: greylisting says it.
    ("421", Throttled),
    ("4.3.1", Throttled),
    ("4.3.2", Throttled),
    ("4.4.5", Throttled),
    ("4.7.0", Throttled),
    ("4.7.28", Throttled),
]);

/// The definitive codes alone.
pub(super) const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

/// What a negative reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Never.
    Refused(&'static str, Reason),
    /// Not this one now.
    Later,
    /// The server has too much, or does not want us now.
    Overloaded,
}

/// What this reply says; one that is neither 4yz nor 5yz where a 2yz was due says nothing sure, and the
/// mail was not taken.
pub(super) fn said(reply: &Reply) -> Said {
    let digits = reply.code.to_string();
    // 421 ends the session, whatever stands behind it.
    let listed = match reply.code {
        421 => row(&digits),
        _ => reply.enhanced().and_then(row).or_else(|| row(&digits)),
    };
    match listed {
        Some((_, Throttled)) => Said::Overloaded,
        Some((code, Definitive(reason))) => Said::Refused(code, reason),
        _ if reply.code / 100 == 5 => Said::Refused("5yz", Unspecified),
        _ => Said::Later,
    }
}

/// A code and its meaning as the table has them.
fn row(code: &str) -> Option<(&'static str, Meaning)> {
    CODES.0.iter().find(|(listed, _)| *listed == code).copied()
}

/// Why our own server takes no mail from us until somebody acts, if this reply says so. From a
/// recipient's server the same code is about the sender.
pub(super) fn closes(reply: &Reply) -> Option<Closed> {
    match (reply.code, reply.enhanced()) {
        (530 | 534 | 535 | 538, _) | (_, Some("5.7.8" | "5.7.9")) => Some(Closed::Credentials),
        (_, Some("5.7.13")) => Some(Closed::Suspended),
        _ => None,
    }
}

/// The code of a reply, for people: never more than the digits and dots of it.
pub(super) fn code(reply: &Reply) -> String {
    reply
        .enhanced()
        .map_or_else(|| reply.code.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::reply::Assembling;
    use super::*;

    fn of(line: &str) -> Said {
        said(
            &Assembling::default()
                .line(line.as_bytes())
                .unwrap()
                .unwrap(),
        )
    }

    #[test]
    fn the_enhanced_code_decides_then_the_digits_then_the_class() {
        assert_eq!(
            of("554 5.1.1 no such user"),
            Said::Refused("5.1.1", InvalidRecipient)
        );
        assert_eq!(of("554 no"), Said::Refused("554", ContentRejected));
        assert_eq!(of("554 5.9.9 no"), Said::Refused("554", ContentRejected));
        assert_eq!(of("559 5.9.9 no"), Said::Refused("5yz", Unspecified));
    }

    #[test]
    fn greylisting_is_about_the_mail_and_421_about_the_server() {
        for line in [
            "450 4.7.1 greylisted",
            "451 4.7.1 later",
            "450 4.2.0 busy",
            "452 4.2.2 full",
            "450 later",
        ] {
            assert_eq!(of(line), Said::Later, "{line}");
        }
        for line in [
            "421 bye",
            "421 4.2.1 bye",
            "450 4.7.28 rate",
            "451 4.3.2 not accepting",
        ] {
            assert_eq!(of(line), Said::Overloaded, "{line}");
        }
    }

    #[test]
    fn a_4yz_reply_is_never_final_and_a_5yz_reply_always() {
        for code in 400..=459 {
            assert!(
                matches!(of(&format!("{code} x")), Said::Later | Said::Overloaded),
                "{code}"
            );
        }
        for code in 500..=559 {
            assert!(
                matches!(of(&format!("{code} x")), Said::Refused(..)),
                "{code}"
            );
        }
    }
}
