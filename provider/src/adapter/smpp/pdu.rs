//! PDUs of SMPP 3.4, as far as a transceiver needs them: frames, and the few bodies.
//!
//! Written here rather than taken from a library, because what comes from a message centre must be
//! read leniently, one PDU at a time: an identifier without its final zero or a parameter of a
//! wrong length makes that one field unreadable, never the frame behind it. The simulated message
//! centre uses a library of its own, so that two codecs meet in every test.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const HEADER: usize = 16;
/// A body is a few hundred bytes, or a `message_payload` of at most 64 KiB.
const LONGEST: usize = 128 << 10;
const RESPONSE: u32 = 0x8000_0000;

/// `command_id` (SMPP 3.4 §5.1.2.1).
pub(super) mod command {
    pub(in super::super) const GENERIC_NACK: u32 = 0x8000_0000;
    pub(in super::super) const SUBMIT_SM: u32 = 0x0000_0004;
    pub(in super::super) const SUBMIT_SM_RESP: u32 = 0x8000_0004;
    pub(in super::super) const DELIVER_SM: u32 = 0x0000_0005;
    pub(in super::super) const DELIVER_SM_RESP: u32 = 0x8000_0005;
    pub(in super::super) const UNBIND: u32 = 0x0000_0006;
    pub(in super::super) const UNBIND_RESP: u32 = 0x8000_0006;
    pub(in super::super) const BIND_TRANSCEIVER: u32 = 0x0000_0009;
    pub(in super::super) const BIND_TRANSCEIVER_RESP: u32 = 0x8000_0009;
    pub(in super::super) const ENQUIRE_LINK: u32 = 0x0000_0015;
    pub(in super::super) const ENQUIRE_LINK_RESP: u32 = 0x8000_0015;
}

/// Tags of optional parameters (SMPP 3.4 §5.3.2).
pub(super) mod tag {
    pub(in super::super) const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub(in super::super) const SAR_MSG_REF_NUM: u16 = 0x020C;
    pub(in super::super) const SAR_TOTAL_SEGMENTS: u16 = 0x020E;
    pub(in super::super) const SAR_SEGMENT_SEQNUM: u16 = 0x020F;
    pub(in super::super) const NETWORK_ERROR_CODE: u16 = 0x0423;
    pub(in super::super) const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub(in super::super) const MESSAGE_STATE: u16 = 0x0427;
}

/// One PDU, its body unread.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pdu {
    pub(super) command: u32,
    pub(super) status: u32,
    pub(super) sequence: u32,
    pub(super) body: Bytes,
}

/// The bytes cannot be a PDU, so nothing behind them can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PDU of {0} bytes")]
pub(super) struct BadLength(u32);

impl Pdu {
    /// One without a body.
    pub(super) const fn bare(command: u32, status: u32, sequence: u32) -> Self {
        Self {
            command,
            status,
            sequence,
            body: Bytes::new(),
        }
    }

    /// Takes the next whole PDU out of what was read.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, BadLength> {
        let Some((length, _)) = buffer.split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        if !(HEADER..=LONGEST).contains(&whole) {
            return Err(BadLength(length));
        }
        if buffer.len() < whole {
            return Ok(None);
        }
        let mut frame = buffer.split_to(whole).freeze();
        frame.advance(4);
        Ok(Some(Self {
            command: frame.get_u32(),
            status: frame.get_u32(),
            sequence: frame.get_u32(),
            body: frame,
        }))
    }

    /// Writes it.
    pub(super) fn put(&self, out: &mut BytesMut) {
        let length = HEADER + self.body.len();
        // A longer one could only be sent by a message of gigabytes.
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        out.put_u32(self.command);
        out.put_u32(self.status);
        out.put_u32(self.sequence);
        out.put_slice(&self.body);
    }

    /// Whether it answers one of ours.
    pub(super) const fn is_response(&self) -> bool {
        self.command & RESPONSE != 0
    }

    /// The first C-octet string of the body: the id in a `submit_sm_resp`.
    pub(super) fn first_text(&self) -> Option<String> {
        let text = c_octets(&mut self.body.clone())?;
        String::from_utf8(text.into()).ok()
    }
}

/// The body of `bind_transceiver` (SMPP 3.4 §4.1.5).
pub(super) struct BindTransceiver<'a> {
    pub(super) system_id: &'a str,
    pub(super) password: &'a str,
    pub(super) system_type: &'a str,
    pub(super) address_range: &'a str,
}

impl BindTransceiver<'_> {
    const VERSION: u8 = 0x34;

    pub(super) fn body(&self) -> Bytes {
        let mut body = BytesMut::new();
        put_c_octets(&mut body, self.system_id.as_bytes());
        put_c_octets(&mut body, self.password.as_bytes());
        put_c_octets(&mut body, self.system_type.as_bytes());
        body.put_u8(Self::VERSION);
        body.put_u16(0);
        put_c_octets(&mut body, self.address_range.as_bytes());
        body.freeze()
    }
}

/// An address and what kind of number it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ton: u8,
    pub(super) npi: u8,
    pub(super) number: Bytes,
}

/// An optional parameter.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tlv {
    pub(super) tag: u16,
    pub(super) value: Bytes,
}

/// The body of `submit_sm` and of `deliver_sm` (SMPP 3.4 §4.4.1, §4.6.1): the same fields in the
/// same order. The protocol's id, priority, times, replacement and canned message stay at their
/// defaults and are passed over.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct ShortMessage {
    pub(super) service_type: Bytes,
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) esm_class: u8,
    pub(super) registered_delivery: u8,
    pub(super) data_coding: u8,
    pub(super) text: Bytes,
    pub(super) tlvs: Vec<Tlv>,
}

impl ShortMessage {
    pub(super) fn body(&self) -> Bytes {
        let mut body = BytesMut::new();
        put_c_octets(&mut body, &self.service_type);
        self.source.put(&mut body);
        self.destination.put(&mut body);
        body.put_u8(self.esm_class);
        // protocol_id, priority_flag, schedule_delivery_time, validity_period.
        body.put_u32(0);
        body.put_u8(self.registered_delivery);
        // replace_if_present_flag.
        body.put_u8(0);
        body.put_u8(self.data_coding);
        // sm_default_msg_id.
        body.put_u8(0);
        body.put_u8(u8::try_from(self.text.len()).unwrap_or(u8::MAX));
        body.put_slice(&self.text);
        for tlv in &self.tlvs {
            body.put_u16(tlv.tag);
            body.put_u16(u16::try_from(tlv.value.len()).unwrap_or(u16::MAX));
            body.put_slice(&tlv.value);
        }
        body.freeze()
    }

    /// Reads one; `None` if its mandatory fields are not all there. Parameters behind an unreadable
    /// one are left out.
    pub(super) fn read(mut body: Bytes) -> Option<Self> {
        let service_type = c_octets(&mut body)?;
        let source = Address::read(&mut body)?;
        let destination = Address::read(&mut body)?;
        let esm_class = body.try_get_u8().ok()?;
        let _protocol_and_priority = body.try_get_u16().ok()?;
        let _schedule = c_octets(&mut body)?;
        let _validity = c_octets(&mut body)?;
        let registered_delivery = body.try_get_u8().ok()?;
        let _replace = body.try_get_u8().ok()?;
        let data_coding = body.try_get_u8().ok()?;
        let _canned = body.try_get_u8().ok()?;
        let length = body.try_get_u8().ok()?;
        let text = split(&mut body, length.into())?;
        Some(Self {
            service_type,
            source,
            destination,
            esm_class,
            registered_delivery,
            data_coding,
            text,
            tlvs: std::iter::from_fn(|| Tlv::read(&mut body)).collect(),
        })
    }

    /// An optional parameter's value.
    pub(super) fn tlv(&self, tag: u16) -> Option<&Bytes> {
        let found = self.tlvs.iter().find(|tlv| tlv.tag == tag)?;
        Some(&found.value)
    }
}

impl Address {
    fn put(&self, body: &mut BytesMut) {
        body.put_u8(self.ton);
        body.put_u8(self.npi);
        put_c_octets(body, &self.number);
    }

    fn read(body: &mut Bytes) -> Option<Self> {
        Some(Self {
            ton: body.try_get_u8().ok()?,
            npi: body.try_get_u8().ok()?,
            number: c_octets(body)?,
        })
    }
}

impl Tlv {
    fn read(body: &mut Bytes) -> Option<Self> {
        let tag = body.try_get_u16().ok()?;
        let length = body.try_get_u16().ok()?;
        Some(Self {
            tag,
            value: split(body, length.into())?,
        })
    }
}

fn put_c_octets(body: &mut BytesMut, text: &[u8]) {
    body.put_slice(text);
    body.put_u8(0);
}

/// Up to the zero that ends it.
fn c_octets(body: &mut Bytes) -> Option<Bytes> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let text = body.split_to(end);
    body.advance(1);
    Some(text)
}

fn split(body: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests;
