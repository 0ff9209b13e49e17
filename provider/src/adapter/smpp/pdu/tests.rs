//! PDUs byte for byte, as SMPP 3.4 lays them out, and any bytes at all.

use proptest::prelude::*;

use super::*;

fn bytes(hexadecimal: &str) -> BytesMut {
    let digits: Vec<u8> = hexadecimal
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect::<Vec<_>>()
        .as_slice()
        .into()
}

fn one(hexadecimal: &str) -> Pdu {
    let mut buffer = bytes(hexadecimal);
    let pdu = Pdu::take(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty());
    pdu
}

fn written(command: u32, sequence: u32, body: Bytes) -> BytesMut {
    let mut out = BytesMut::new();
    let pdu = Pdu {
        body,
        ..Pdu::bare(command, 0, sequence)
    };
    pdu.put(&mut out);
    out
}

#[test]
fn a_bind_is_laid_out_as_the_specifications_example() {
    // The example of SMPP 3.4 §3.2.2, as a transceiver of version 3.4 and without address.
    let bind = BindTransceiver {
        system_id: "SMPP3TEST",
        password: "secret08",
        system_type: "SUBMIT1",
        address_range: "",
    };
    let expected = bytes(
        "0000002F 00000009 00000000 00000001
         534D50503354455354 00 7365637265743038 00 5355424D495431 00
         34 00 00 00",
    );
    assert!(written(command::BIND_TRANSCEIVER, 1, bind.body()) == expected);
}

fn submitted() -> ShortMessage {
    ShortMessage {
        source: Address {
            ton: 2,
            npi: 1,
            number: Bytes::from_static(b"0212345678"),
        },
        destination: Address {
            ton: 2,
            npi: 1,
            number: Bytes::from_static(b"01012345600"),
        },
        registered_delivery: 1,
        data_coding: 0x84,
        text: Bytes::from_static(&[0xB0, 0xA1, 0x41]),
        tlvs: vec![Tlv {
            tag: 0x1401,
            value: Bytes::from_static(b"0000000000007"),
        }],
        ..ShortMessage::default()
    }
}

const SUBMITTED: &str = "
    0000004A 00000004 00000000 00000002
    00 0201 30323132333435363738 00 0201 3031303132333435363030 00
    00 00 00 00 00 01 00 84 00 03 B0A141
    1401 000D 30303030303030303030303037";

#[test]
fn a_submit_sm_has_every_field_in_its_place() {
    let written = written(command::SUBMIT_SM, 2, submitted().body());
    assert!(written == bytes(SUBMITTED));
    let read = ShortMessage::read(one(SUBMITTED).body);
    assert!(read == Some(submitted()));
}

#[test]
fn a_message_payload_stands_behind_an_empty_text() {
    let message = ShortMessage {
        text: Bytes::new(),
        tlvs: vec![Tlv {
            tag: tag::MESSAGE_PAYLOAD,
            value: Bytes::from_static(b"long"),
        }],
        ..submitted()
    };
    let body = message.body();
    let end = bytes("00 84 00 00 0424 0004 6C6F6E67");
    assert_eq!(body[body.len() - end.len()..], end[..]);
}

#[test]
fn an_answer_has_the_id_as_its_body_or_no_body_at_all() {
    let taken = one("00000015 80000004 00000000 00000002 3031324100");
    assert_eq!(taken.command, command::SUBMIT_SM_RESP);
    assert_eq!(taken.first_text().as_deref(), Some("012A"));
    assert!(taken.is_response());
    for (refused, status) in [
        ("00000010 80000004 0000000B 00000003", 0x0B),
        ("00000011 80000004 00000058 00000003 00", 0x58),
        ("00000010 80000000 00000002 00000003", 0x02),
    ] {
        let refused = one(refused);
        assert_eq!((refused.status, refused.sequence), (status, 3));
        assert!(refused.first_text().unwrap_or_default().is_empty());
    }
}

#[test]
fn a_receipt_with_an_unended_id_and_a_broken_parameter_is_read_as_far_as_it_goes() {
    let deliver = one("0000003B 00000005 00000000 00000007
         00 0101 303130 00 0201 303230 00 04 00 00 00 00 00 00 00 00 03 616263
         001E 0003 303132 0427 0001 02 FFFF 0009 01");
    let message = ShortMessage::read(deliver.body).unwrap();
    assert_eq!(message.esm_class, 4);
    assert_eq!(message.tlv(tag::RECEIPTED_MESSAGE_ID).unwrap(), "012");
    assert_eq!(message.tlv(tag::MESSAGE_STATE).unwrap()[..], [2]);
    assert_eq!(message.tlvs.len(), 2);
}

#[test]
fn a_length_that_no_pdu_has_is_refused_and_a_part_of_a_pdu_waits() {
    for length in ["00000000", "0000000F", "7FFFFFFF", "00020001"] {
        let mut buffer = bytes(length);
        assert!(Pdu::take(&mut buffer).is_err(), "{length}");
    }
    let whole = bytes(SUBMITTED);
    for end in 0..whole.len() {
        let mut buffer = BytesMut::from(&whole[..end]);
        assert!(Pdu::take(&mut buffer) == Ok(None), "{end}");
        assert_eq!(buffer.len(), end);
    }
}

type RawAddress = (u8, u8, String);

fn address((ton, npi, number): RawAddress) -> Address {
    Address {
        ton,
        npi,
        number: number.into(),
    }
}

fn tlv((tag, value): (u16, Vec<u8>)) -> Tlv {
    Tlv {
        tag,
        value: value.into(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        service_type in "[!-~]{0,5}",
        source in (any::<u8>(), any::<u8>(), "[!-~]{0,20}"),
        destination in (any::<u8>(), any::<u8>(), "[!-~]{0,20}"),
        octets: [u8; 3],
        text in proptest::collection::vec(any::<u8>(), 0..=254),
        tlvs in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..5),
        sequence: u32,
        status: u32,
    ) {
        let message = ShortMessage {
            service_type: service_type.into(),
            source: address(source),
            destination: address(destination),
            esm_class: octets[0],
            registered_delivery: octets[1],
            data_coding: octets[2],
            text: text.into(),
            tlvs: tlvs.into_iter().map(tlv).collect(),
        };
        let pdu = Pdu {
            body: message.body(),
            ..Pdu::bare(command::DELIVER_SM, status, sequence)
        };
        let mut out = BytesMut::new();
        pdu.put(&mut out);
        pdu.put(&mut out);
        for _ in 0..2 {
            let read = Pdu::take(&mut out).unwrap().unwrap();
            prop_assert!(read == pdu);
            prop_assert!(ShortMessage::read(read.body) == Some(message.clone()));
        }
        prop_assert!(out.is_empty());
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes: Vec<u8>, body: Vec<u8>) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(pdu)) = Pdu::take(&mut buffer) {
            let _ = pdu.first_text();
        }
        let _ = ShortMessage::read(Bytes::from(body));
    }
}
