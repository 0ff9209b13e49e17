//! A text that is longer than one short message.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Deserialize;

use super::encoding::{Encoded, Encoding};
use super::pdu::{Tlv, tag};

/// The message begins with a header of its own (SMPP 3.4 §5.2.12).
pub(super) const UDH_INDICATOR: u8 = 0x40;
/// The length of a `message_payload` is counted in two.
const LONGEST_PAYLOAD: usize = u16::MAX as usize;

/// How an account takes a text that is longer than one short message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Long {
    /// Whole, in the `message_payload` parameter.
    #[default]
    Payload,
    /// In parts that each begin with a concatenation header (3GPP TS 23.040 §9.2.3.24.1).
    Udh,
    /// In parts with the `sar_*` parameters; the message centre writes the headers.
    Sar,
}

/// One `submit_sm` of a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) esm_class: u8,
    pub(super) text: Bytes,
    pub(super) tlvs: Vec<Tlv>,
}

/// The text takes more parts, or a longer payload, than a message can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The parts of a text; `reference` tells those of one text from another's.
pub(super) fn parts(
    text: &Encoded,
    encoding: Encoding,
    long: Long,
    reference: u16,
) -> Result<Vec<Part>, TooLong> {
    if text.octets.len() <= encoding.whole() {
        return Ok(vec![Part {
            text: Bytes::copy_from_slice(&text.octets),
            ..Part::default()
        }]);
    }
    if long == Long::Payload {
        return payload(&text.octets).map(|part| vec![part]);
    }
    let pieces = text.pieces(encoding.part());
    // Counted in one octet.
    let total = u8::try_from(pieces.len()).map_err(|_| TooLong)?;
    let numbered = (1..=total).zip(pieces);
    Ok(numbered
        .map(|(number, piece)| match long {
            Long::Udh => with_header(piece, reference, total, number),
            Long::Payload | Long::Sar => with_parameters(piece, reference, total, number),
        })
        .collect())
}

fn payload(octets: &[u8]) -> Result<Part, TooLong> {
    if octets.len() > LONGEST_PAYLOAD {
        return Err(TooLong);
    }
    Ok(Part {
        tlvs: vec![Tlv {
            tag: tag::MESSAGE_PAYLOAD,
            value: Bytes::copy_from_slice(octets),
        }],
        ..Part::default()
    })
}

fn with_header(piece: &[u8], reference: u16, total: u8, number: u8) -> Part {
    let [_, reference] = reference.to_be_bytes();
    let mut text = BytesMut::with_capacity(6 + piece.len());
    // Five octets follow: concatenation with an 8-bit reference, three octets long.
    text.put_slice(&[5, 0, 3, reference, total, number]);
    text.put_slice(piece);
    Part {
        esm_class: UDH_INDICATOR,
        text: text.freeze(),
        tlvs: Vec::new(),
    }
}

fn with_parameters(piece: &[u8], reference: u16, total: u8, number: u8) -> Part {
    let octet = |tag, value: u8| Tlv {
        tag,
        value: Bytes::copy_from_slice(&[value]),
    };
    Part {
        esm_class: 0,
        text: Bytes::copy_from_slice(piece),
        tlvs: vec![
            Tlv {
                tag: tag::SAR_MSG_REF_NUM,
                value: Bytes::copy_from_slice(&reference.to_be_bytes()),
            },
            octet(tag::SAR_TOTAL_SEGMENTS, total),
            octet(tag::SAR_SEGMENT_SEQNUM, number),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(text: &str, encoding: Encoding, long: Long) -> Result<Vec<Part>, TooLong> {
        parts(&encoding.encode(text).unwrap(), encoding, long, 0x0102)
    }

    #[test]
    fn a_text_that_fits_is_one_part_whatever_the_way() {
        for long in [Long::Payload, Long::Udh, Long::Sar] {
            for (text, encoding) in [
                ("가".repeat(70), Encoding::Ksc5601),
                ("a".repeat(160), Encoding::Gsm7),
                ("가".repeat(70), Encoding::Ucs2),
                (String::new(), Encoding::Ascii),
            ] {
                let parts = parts_of(&text, encoding, long).unwrap();
                let [part] = parts.as_slice() else {
                    panic!("{} parts", parts.len());
                };
                assert!(part.esm_class == 0 && part.tlvs.is_empty());
            }
        }
    }

    #[test]
    fn a_payload_is_whole() {
        let parts = parts_of(&"가".repeat(2000), Encoding::Ksc5601, Long::Payload).unwrap();
        let [part] = parts.as_slice() else {
            panic!("{} parts", parts.len());
        };
        assert!(part.text.is_empty());
        assert!(part.tlvs[0].tag == tag::MESSAGE_PAYLOAD && part.tlvs[0].value.len() == 4000);
    }

    #[test]
    fn parts_with_headers_are_numbered_and_never_split_a_character() {
        // 67 syllables of two octets fill a part of 134; one ASCII octet shifts the rest.
        let text = format!("a{}", "가".repeat(134));
        let parts = parts_of(&text, Encoding::Ksc5601, Long::Udh).unwrap();
        let lengths: Vec<_> = parts.iter().map(|part| part.text.len()).collect();
        assert_eq!(lengths, [6 + 133, 6 + 134, 6 + 2]);
        for (part, number) in parts.iter().zip(1..) {
            assert_eq!(part.esm_class, 0x40);
            assert_eq!(part.text[..6], [5, 0, 3, 0x02, 3, number]);
        }
    }

    #[test]
    fn parts_with_parameters_carry_the_same_numbers_and_no_header() {
        let parts = parts_of(&"€".repeat(153), Encoding::Gsm7, Long::Sar).unwrap();
        assert_eq!(parts.len(), 3);
        // An escape and its character stay together, so one septet of 153 stays free.
        assert_eq!(parts[0].text.len(), 152);
        let values: Vec<_> = parts[1].tlvs.iter().map(|tlv| tlv.value.to_vec()).collect();
        assert_eq!(values, [vec![1, 2], vec![3], vec![2]]);
        assert_eq!(parts[1].esm_class, 0);
    }

    #[test]
    fn more_parts_than_can_be_counted_are_refused() {
        let most = "a".repeat(134 * 255);
        assert_eq!(
            parts_of(&most, Encoding::Ascii, Long::Udh).map(|p| p.len()),
            Ok(255)
        );
        let over = format!("{most}a");
        for long in [Long::Udh, Long::Sar] {
            assert_eq!(parts_of(&over, Encoding::Ascii, long).err(), Some(TooLong));
        }
        let over = "a".repeat(LONGEST_PAYLOAD + 1);
        let refused = parts_of(&over, Encoding::Ascii, Long::Payload).err();
        assert_eq!(refused, Some(TooLong));
    }
}
