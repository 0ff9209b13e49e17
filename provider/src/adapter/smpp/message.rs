//! A message as the `submit_sm` it takes, or as the few of them.

use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Content;

use super::pdu::{Address, ShortMessage, Tlv};
use super::segmentation::{Part, parts};
use super::settings::Writing;
use super::status::{BAD_RECIPIENT, BAD_SENDER, BAD_TYPE, TOO_LONG, UNENCODABLE};
use crate::provider::Outgoing;

/// The longest address (SMPP 3.4 §4.4.1).
const ADDRESS: usize = 20;
/// A receipt, whatever the end (§5.2.17).
const RECEIPT: u8 = 1;

/// Writes an account's messages.
pub(super) struct Writer {
    writing: Writing,
    /// What tells the parts of a text from those of another.
    reference: AtomicU16,
}

impl Writer {
    pub(super) fn new(writing: Writing) -> Self {
        Self {
            writing,
            // A handset keeps parts for days: not the same numbers after every start.
            reference: AtomicU16::new(fastrand::u16(..)),
        }
    }

    /// The bodies of the message's `submit_sm`s, in order, or the code of our own refusal.
    pub(super) fn write(&self, outgoing: &Outgoing) -> Result<Vec<Bytes>, &'static str> {
        let writing = &self.writing;
        if !matches!(outgoing.kind, MessageType::Sms | MessageType::Lms) {
            return Err(BAD_TYPE);
        }
        let destination = address(writing.destination, &outgoing.content.to);
        let destination = destination
            .filter(|address| !address.number.is_empty())
            .ok_or(BAD_RECIPIENT)?;
        let sender = outgoing.content.from.as_deref().unwrap_or_default();
        let source = address(writing.source, sender).ok_or(BAD_SENDER)?;
        let text = writing.encoding.encode(&text(&outgoing.content));
        let text = text.ok_or(UNENCODABLE)?;
        let reference = self.reference.fetch_add(1, Ordering::Relaxed);
        let parts = parts(&text, writing.encoding, writing.long, reference);
        let parts = parts.map_err(|_| TOO_LONG)?;
        let count = parts.len();
        let numbered = parts.into_iter().enumerate();
        Ok(numbered
            .map(|(at, part)| {
                let last = at + 1 == count;
                let message = self.short_message(outgoing.id, part, last);
                let (source, destination) = (source.clone(), destination.clone());
                ShortMessage {
                    source,
                    destination,
                    ..message
                }
                .body()
            })
            .collect())
    }

    fn short_message(&self, id: MessageId, part: Part, last: bool) -> ShortMessage {
        let mut tlvs = part.tlvs;
        tlvs.extend(self.writing.reference_tag.map(|tag| Tlv {
            tag,
            value: id.to_string().into(),
        }));
        ShortMessage {
            service_type: self.writing.service_type.clone().into(),
            esm_class: part.esm_class,
            registered_delivery: if last { RECEIPT } else { 0 },
            data_coding: self.writing.data_coding,
            text: part.text,
            tlvs,
            ..ShortMessage::default()
        }
    }
}

/// SMPP has no subject, so it is the first line.
fn text(content: &Content) -> String {
    match &content.subject {
        Some(subject) => format!("{subject}\n{}", content.text),
        None => content.text.clone(),
    }
}

/// An address of the protocol. A sender without a number is left to the message centre.
fn address((ton, npi): (u8, u8), number: &str) -> Option<Address> {
    let fits = number.len() <= ADDRESS && number.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| match number {
        "" => Address::default(),
        number => Address {
            ton,
            npi,
            number: Bytes::copy_from_slice(number.as_bytes()),
        },
    })
}
