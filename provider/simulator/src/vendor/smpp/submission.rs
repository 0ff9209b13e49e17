//! A `submit_sm`, looked at as a message centre does.

use pabal_common::domain::id::MessageId;
use rusmpp::CommandStatus;
use rusmpp::pdus::SubmitSm;
use rusmpp::tlvs::{TlvTag, TlvValue};
use rusmpp::values::GsmFeatures;

use super::{MISSING_PARAMETER, REFERENCE};
use crate::outcome::Outcome;
use crate::vendor::Member;

/// The most octets of one message of the network, and of a part beside its header.
const WHOLE: usize = 140;
const PART: usize = 134;
/// The default alphabet packs eight septets into seven octets.
const WHOLE_SEPTETS: usize = 160;
const PART_SEPTETS: usize = 153;
/// The header of a part: reference, total, number (3GPP TS 23.040 §9.2.3.24.1).
const HEADER: usize = 6;

/// What a `submit_sm` asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// To take a message, or the last part of one.
    Message(Member),
    /// To take a part that is not the last.
    Part,
}

/// Reads a `submit_sm`, or says what is wrong with it.
pub(super) fn read(sm: &SubmitSm) -> Result<Asked, CommandStatus> {
    let recipient = sm.destination_addr.as_str();
    if recipient.is_empty() {
        return Err(CommandStatus::EsmeRinvdstadr);
    }
    let numbered = numbered(sm)?;
    check_length(sm, numbered.is_some())?;
    let message = reference(sm).ok_or(MISSING_PARAMETER)?;
    Ok(match numbered {
        Some((number, total)) if number < total => Asked::Part,
        _ => Asked::Message(Member {
            message,
            outcome: Outcome::of_recipient(recipient),
            immediate: false,
        }),
    })
}

/// Which part of how many it is, if it is one: by its header or by its parameters, never by both
/// (SMPP 3.4 §5.2.12).
fn numbered(sm: &SubmitSm) -> Result<Option<(u8, u8)>, CommandStatus> {
    let octet = |tag| match value(sm, tag) {
        Some(TlvValue::SarTotalSegments(octet) | TlvValue::SarSegmentSeqnum(octet)) => Some(*octet),
        _ => None,
    };
    let total = octet(TlvTag::SarTotalSegments);
    let by_parameters = octet(TlvTag::SarSegmentSeqnum).zip(total);
    match (header(sm), by_parameters) {
        (Some(_), Some(_)) => Err(CommandStatus::EsmeRinvesmclass),
        (Some(None), None) => Err(CommandStatus::EsmeRinvmsglen),
        (Some(Some(numbered)), None) | (None, Some(numbered)) => match numbered {
            (1.., 1..) if numbered.0 <= numbered.1 => Ok(Some(numbered)),
            _ => Err(CommandStatus::EsmeRinvmsglen),
        },
        (None, None) => Ok(None),
    }
}

/// What the header says, if `esm_class` announces one; it may be no header of a part.
fn header(sm: &SubmitSm) -> Option<Option<(u8, u8)>> {
    let announced = matches!(
        sm.esm_class.gsm_features,
        GsmFeatures::UdhiIndicator | GsmFeatures::SetUdhiAndReplyPath
    );
    announced.then(|| match sm.short_message().as_ref() {
        [5, 0, 3, _, total, number, ..] => Some((*number, *total)),
        _ => None,
    })
}

fn check_length(sm: &SubmitSm, is_part: bool) -> Result<(), CommandStatus> {
    let text = sm.short_message().len();
    let default_alphabet = u8::from(sm.data_coding) == 0;
    let longest = match (is_part, default_alphabet) {
        (false, false) => WHOLE,
        (false, true) => WHOLE_SEPTETS,
        (true, false) => PART,
        (true, true) => PART_SEPTETS,
    };
    let header = if header(sm).is_some() { HEADER } else { 0 };
    let has_payload = value(sm, TlvTag::MessagePayload).is_some();
    // A text is in one place alone (SMPP 3.4 §5.3.2.32).
    if text > longest + header || (has_payload && text > 0) {
        return Err(CommandStatus::EsmeRinvmsglen);
    }
    Ok(())
}

fn reference(sm: &SubmitSm) -> Option<MessageId> {
    match value(sm, TlvTag::Other(REFERENCE))? {
        TlvValue::Other { value, .. } => value.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

fn value(sm: &SubmitSm, tag: TlvTag) -> Option<&TlvValue> {
    let found = sm.tlvs().iter().find(|tlv| tlv.tag() == tag)?;
    found.value()
}
