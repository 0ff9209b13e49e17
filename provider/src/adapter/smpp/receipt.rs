//! Delivery receipts: what a `deliver_sm` says of a message sent before.
//!
//! The parameters of SMPP 3.4 (§5.3.2.12, §5.3.2.35) count; where they are missing, the text of
//! appendix B does, which every vendor writes a little differently.

use bytes::Bytes;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{VendorMessageId, Verdict};

use super::notation::{self, ReceiptId};
use super::pdu::{ShortMessage, tag};
use super::settings::ReceiptReading;
use super::status::CODES;

/// The bits of `esm_class` that tell what a message is (SMPP 3.4 §5.2.12).
const KIND: u8 = 0b0011_1100;
const RECEIPT: u8 = 0b0000_0100;
const INTERMEDIATE: u8 = 0b0010_0000;
/// `network_error_code`: a cause of the GSM network.
const GSM: u8 = 3;
/// The longest error code kept.
const ERROR: usize = 8;

/// A receipt, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) vendor_id: Option<VendorMessageId>,
    /// Our id, where the message centre gives our own parameter back.
    pub(super) message: Option<MessageId>,
    pub(super) verdict: Verdict,
    /// The state, and the network's cause where there is one.
    pub(super) code: Option<String>,
}

/// What a `deliver_sm` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// A receipt.
    Receipt(Receipt),
    /// A receipt that names no message.
    Nameless,
    /// Something else: a subscriber's own message.
    Other,
}

/// Why a message failed, as the network says.
struct Cause {
    code: String,
    meaning: Option<Reason>,
}

/// Reads a `deliver_sm`.
pub(super) fn read(sm: &ShortMessage, reading: &ReceiptReading) -> Delivered {
    let named = sm.tlv(tag::RECEIPTED_MESSAGE_ID);
    let intermediate = match sm.esm_class & KIND {
        RECEIPT => false,
        INTERMEDIATE => true,
        // Some centres forget the bit.
        0 if named.is_some() => false,
        _ => return Delivered::Other,
    };
    let text = sm.tlv(tag::MESSAGE_PAYLOAD).unwrap_or(&sm.text);
    let text = String::from_utf8_lossy(text);
    let text = before_message(&text);
    let message = ours(sm, reading);
    let vendor_id = vendor_id(named, text, reading.receipt_id);
    if vendor_id.is_none() && message.is_none() {
        return Delivered::Nameless;
    }
    let state = state(sm, text);
    let cause = cause(sm, text, reading);
    let verdict = match state {
        Some(state) if !intermediate => verdict(state, cause.as_ref()),
        _ => Verdict::Taken,
    };
    let cause = cause.filter(|_| matches!(verdict, Verdict::Failed(_)));
    let code = state.map(|state| match cause {
        Some(cause) => format!("{state}/{}", cause.code),
        None => state.to_owned(),
    });
    Delivered::Receipt(Receipt {
        vendor_id,
        message,
        verdict,
        code,
    })
}

fn verdict(state: &str, cause: Option<&Cause>) -> Verdict {
    match CODES.verdict(state) {
        Verdict::Failed(reason) => {
            let told = cause.and_then(|cause| cause.meaning);
            Verdict::Failed(told.unwrap_or(reason))
        }
        other => other,
    }
}

fn vendor_id(named: Option<&Bytes>, text: &str, notation: ReceiptId) -> Option<VendorMessageId> {
    let named = named.map(|value| {
        // Written with its final zero, or without.
        let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(value)
    });
    let id = named
        .as_deref()
        .filter(|id| !id.trim().is_empty())
        .or_else(|| field(text, "id"))?;
    notation::receipted(id, notation)
}

fn ours(sm: &ShortMessage, reading: &ReceiptReading) -> Option<MessageId> {
    let value = sm.tlv(reading.reference_tag?)?;
    std::str::from_utf8(value)
        .ok()?
        .trim_end_matches('\0')
        .parse()
        .ok()
}

/// The state in the words of appendix B; `None` if it is none of them.
fn state(sm: &ShortMessage, text: &str) -> Option<&'static str> {
    const STATES: [(u8, &str); 8] = [
        (1, "ENROUTE"),
        (2, "DELIVRD"),
        (3, "EXPIRED"),
        (4, "DELETED"),
        (5, "UNDELIV"),
        (6, "ACCEPTD"),
        (7, "UNKNOWN"),
        (8, "REJECTD"),
    ];
    let number = sm
        .tlv(tag::MESSAGE_STATE)
        .and_then(|value| value.first().copied());
    let word = field(text, "stat");
    let found = STATES.iter().find(|(listed, name)| match number {
        Some(number) => *listed == number,
        // Some write the whole word: DELIVERED, UNDELIVERABLE.
        None => word.is_some_and(|word| is_state(word, name)),
    });
    found.map(|(_, name)| *name)
}

fn is_state(word: &str, name: &str) -> bool {
    let whole = match name {
        "DELIVRD" => "DELIVERED",
        "UNDELIV" => "UNDELIVERABLE",
        "ACCEPTD" => "ACCEPTED",
        "REJECTD" => "REJECTED",
        name => name,
    };
    word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(whole)
}

fn cause(sm: &ShortMessage, text: &str, reading: &ReceiptReading) -> Option<Cause> {
    let network = sm.tlv(tag::NETWORK_ERROR_CODE).map(|value| value.as_ref());
    let (code, standard) = match network {
        Some(&[network, high, low]) => {
            let number = u16::from_be_bytes([high, low]);
            let standard = (network == GSM).then(|| of_gsm(number)).flatten();
            (format!("{number:03}"), standard)
        }
        _ => {
            let fits = |code: &&str| {
                code.len() <= ERROR && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            (field(text, "err").filter(fits)?.to_owned(), None)
        }
    };
    if code.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let meaning = reading.errors.get(&code).copied().or(standard);
    Some(Cause { code, meaning })
}

/// What a cause of the GSM network says (3GPP TS 29.002 §17.6.6).
const fn of_gsm(cause: u16) -> Option<Reason> {
    match cause {
        // Unknown subscriber.
        1 => Some(Reason::InvalidRecipient),
        // Absent, busy, memory full, waiting list full.
        6 | 27 | 31 | 32 | 33 => Some(Reason::RecipientUnavailable),
        // Service not provisioned, facility not supported.
        10 | 11 | 21 => Some(Reason::NotCapable),
        // Call barred.
        13 => Some(Reason::RecipientBlocked),
        34 => Some(Reason::ProviderError),
        _ => None,
    }
}

/// The text of a receipt without the beginning of the message it may quote.
fn before_message(text: &str) -> &str {
    key(text, "text").map_or(text, |(begin, _)| &text[..begin])
}

/// A field's value.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = key(text, name)?;
    let value = text[value..].trim_start_matches(' ');
    let ends = |one: char| one.is_whitespace() || matches!(one, ',' | ';' | '\0');
    let value = value.split(ends).next()?;
    // An empty field is followed by the next one's name.
    (!value.is_empty() && !value.contains(':')).then_some(value)
}

/// Where a field's name begins, and where its value does.
fn key(text: &str, name: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let begins = |at: usize| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        before.is_none_or(|before| !before.is_ascii_alphanumeric())
    };
    let found = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(at, window)| window.eq_ignore_ascii_case(name.as_bytes()) && begins(*at));
    found
        .filter_map(|(at, _)| {
            let rest = &bytes[at + name.len()..];
            let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
            (rest.get(blanks) == Some(&b':')).then(|| (at, at + name.len() + blanks + 1))
        })
        .next()
}

#[cfg(test)]
mod tests;
