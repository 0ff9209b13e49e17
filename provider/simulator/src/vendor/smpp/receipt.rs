//! Delivery receipts: `deliver_sm` with the parameters of SMPP 3.4 and the text of appendix B.

use rusmpp::pdus::DeliverSm;
use rusmpp::tlvs::MessageDeliveryRequestTlvValue as Parameter;
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{ErrorCodeNetworkType, EsmClass, MessageState, NetworkErrorCode};

use crate::family::Family;
use crate::outcome::Ending;
use crate::reports::{Item, Notation};

/// `esm_class` of a receipt (SMPP 3.4 §5.2.12). The library's default has a bit of another network.
const RECEIPT: u8 = 0x04;

/// Why a message failed: causes of the GSM network (3GPP TS 29.002 §17.6.6), and one of our own.
const UNKNOWN_SUBSCRIBER: u16 = 1;
const CALL_BARRED: u16 = 13;
const ABSENT_SUBSCRIBER: u16 = 27;
const SPAM: u16 = 500;

/// The receipt of one message.
pub(super) fn of(item: &Item) -> DeliverSm {
    let id = match item.notation {
        Notation::Usual | Notation::Unknown => Family::Smpp.vendor_id(item.shown_vendor()),
        Notation::Other => format!("{:020X}", item.vendor),
    };
    let (state, word, network, cause) = match item.ending {
        Ending::Delivered => (MessageState::Delivered, "DELIVRD", GSM, 0),
        Ending::InvalidRecipient => failed(GSM, UNKNOWN_SUBSCRIBER),
        Ending::RecipientUnavailable => failed(GSM, ABSENT_SUBSCRIBER),
        Ending::RecipientBlocked => failed(GSM, CALL_BARRED),
        Ending::Spam => (MessageState::Rejected, "REJECTD", OWN, SPAM),
    };
    let delivered = u8::from(state == MessageState::Delivered);
    let text = format!("id:{id} sub:001 dlvrd:00{delivered} stat:{word} err:{cause:03} text:");
    let mut receipt = DeliverSm::builder()
        .esm_class(EsmClass::from(RECEIPT))
        .short_message(OctetString::from_string(text).unwrap_or_default())
        .build();
    if let Ok(id) = COctetString::from_string(id) {
        receipt.push_tlv(Parameter::ReceiptedMessageId(id));
    }
    receipt.push_tlv(Parameter::MessageState(state));
    if cause > 0 {
        let cause = NetworkErrorCode::new(network, cause);
        receipt.push_tlv(Parameter::NetworkErrorCode(cause));
    }
    receipt
}

const GSM: ErrorCodeNetworkType = ErrorCodeNetworkType::Gsm;
const OWN: ErrorCodeNetworkType = ErrorCodeNetworkType::MessageCenterSpecific;

const fn failed(
    network: ErrorCodeNetworkType,
    cause: u16,
) -> (MessageState, &'static str, ErrorCodeNetworkType, u16) {
    (MessageState::Undeliverable, "UNDELIV", network, cause)
}
