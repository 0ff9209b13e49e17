//! What the adapter writes, byte for byte, and what it makes of each kind of answer.

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Content;
use pabal_common::domain::reason::Reason;
use pabal_provider::adapter::read_smpp_stream;
use pabal_provider::{Answer, Closed, Outgoing};
use proptest::prelude::*;

use crate::smsc::{BIND_TRANSCEIVER, DELIVER_SM, SUBMIT_SM, Smsc, bytes, receipt};
use crate::world::{Line, answers, call, message};

#[tokio::test]
async fn a_bind_and_a_message_are_laid_out_as_specified() {
    let smsc = Smsc::new().await;
    let settings = "system_type = 'VMA'\nservice_type = 'CMT'\ndata_coding = 0x84";
    let line = Line::to(&smsc.url(), settings);
    let mut peer = smsc.accept().await;
    let bind = peer.hear(BIND_TRANSCEIVER).await;
    assert_eq!(bind.sequence, 1);
    // system_id, password, system_type, version, ton, npi, address_range.
    let body = bytes("706162616C00 73696D756C61746500 564D4100 34 00 00 00");
    assert_eq!(bind.body, body);
    peer.respond(&bind, 0, &bytes("736D736300 0210 0001 34"))
        .await;
    line.bound().await;

    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    assert_eq!((submit.status, submit.sequence), (0, 2));
    let body = bytes(
        "434D5400 02 01 3032313233343536373800 02 01 303130313233343536303000
         00 00 00 00 00 01 00 84 00 03 B0A141",
    );
    assert_eq!(submit.body, body);
    peer.raw("00000015 80000004 00000000 00000002 3030374600")
        .await;
    let outcome = sending.await.unwrap();
    let [Answer::Taken { vendor_id }] = answers(&outcome) else {
        panic!("{outcome:?}");
    };
    assert_eq!(vendor_id.as_ref().unwrap().as_str(), "7f");
}

#[tokio::test]
async fn a_sender_may_be_left_to_the_message_centre_and_a_subject_is_the_first_line() {
    let smsc = Smsc::new().await;
    let line = Line::to(
        &smsc.url(),
        "encoding = 'ascii'\nsource_ton = 5\ndest_npi = 8",
    );
    let mut peer = smsc.bound().await;
    line.bound().await;
    let plain = message(0);
    let sending = line.sending(Outgoing {
        content: Content {
            from: None,
            subject: Some("Hi".to_owned()),
            text: "you".to_owned(),
            ..plain.content
        },
        ..plain
    });
    let submit = peer.hear(SUBMIT_SM).await;
    let body = bytes(
        "00 00 00 00 02 08 303130313233343536303000
         00 00 00 00 00 01 00 01 00 06 48690A796F75",
    );
    assert_eq!(submit.body, body);
    peer.respond(&submit, 0, b"1\0").await;
    answers(&sending.await.unwrap());
}

#[tokio::test]
async fn each_class_of_answer_is_what_the_specification_says_it_is() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let refused = |code: &str, reason| Answer::Refused {
        code: code.to_owned(),
        reason,
    };
    let unknown = |code: &str| Answer::Unknown {
        code: code.to_owned(),
    };
    // With a body and without, and as a generic_nack.
    for (answer, expected) in [
        (
            "00000010 80000004 0000000B",
            refused("0x0B", Reason::InvalidRecipient),
        ),
        (
            "00000011 80000004 0000000A",
            refused("0x0A", Reason::SenderRejected),
        ),
        (
            "00000010 80000004 00000001",
            refused("0x01", Reason::ContentRejected),
        ),
        (
            "00000010 80000004 000000C3",
            refused("0xC3", Reason::ProviderError),
        ),
        (
            "00000010 80000000 00000003",
            refused("0x03", Reason::ProviderError),
        ),
        ("00000010 80000004 00000058", Answer::Throttled),
        ("00000011 80000004 00000014", Answer::Throttled),
        ("00000010 80000004 00000008", unknown("0x08")),
        ("00000010 80000004 000000FF", unknown("0xFF")),
        ("00000010 80000004 00000400", unknown("0x400")),
        (
            "00000010 80000004 0000000F",
            Answer::Closed {
                code: "0x0F".to_owned(),
                why: Closed::Credentials,
            },
        ),
        (
            "00000010 80000004 00000000",
            Answer::Taken { vendor_id: None },
        ),
        (
            "00000011 80000004 00000000",
            Answer::Taken { vendor_id: None },
        ),
    ] {
        let sending = line.sending(message(0));
        let submit = peer.hear(SUBMIT_SM).await;
        let body = if answer.starts_with("00000011") {
            "00"
        } else {
            ""
        };
        peer.raw(&format!("{answer} {:08X} {body}", submit.sequence))
            .await;
        assert_eq!(answers(&sending.await.unwrap()), [expected], "{answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_before_anything_is_sent() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "long = 'udh'");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let with = |to: &str, from: &str, text: &str| {
        let plain = message(0);
        Outgoing {
            content: Content {
                to: to.to_owned(),
                from: Some(from.to_owned()),
                text: text.to_owned(),
                ..plain.content
            },
            ..plain
        }
    };
    let too_long = "a".repeat(255 * 134 + 1);
    let sent = call(vec![
        with("01012345600", "02123", "똠"),
        with("01012345600", "02123", &too_long),
        with("", "02123", "a"),
        with("010123456000101234560", "02123", "a"),
        with("01012345600", "한", "a"),
        Outgoing {
            kind: MessageType::Mms,
            ..message(0)
        },
    ]);
    let outcome = line.provider.submit(&sent).await;
    let definitive = |code: &str| line.provider.capabilities().definitive(code);
    let expected = [
        ("UNENCODABLE", Reason::ContentRejected),
        ("TOO_LONG", Reason::ContentRejected),
        ("BAD_RECIPIENT", Reason::InvalidRecipient),
        ("BAD_RECIPIENT", Reason::InvalidRecipient),
        ("BAD_SENDER", Reason::SenderRejected),
        ("BAD_TYPE", Reason::ContentRejected),
    ];
    assert_eq!(answers(&outcome).len(), expected.len());
    for (answer, (expected, meant)) in answers(&outcome).iter().zip(expected) {
        let Answer::Refused { code, reason } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((code.as_str(), *reason), (expected, meant));
        assert_eq!(definitive(code), Some(meant));
    }
    assert!(peer.hears_nothing().await);
}

proptest! {
    #[test]
    fn whatever_comes_over_a_bind_reading_it_ends(noise: Vec<u8>, text in "\\PC{0,60}") {
        // A receipt, and then anything.
        let body = receipt(&format!("id:7 stat:{text}"));
        let length = u32::try_from(16 + body.len()).unwrap();
        let header = [length, DELIVER_SM, 0, 1].map(u32::to_be_bytes).concat();
        let stream = [header, body, noise].concat();
        prop_assert!(read_smpp_stream(&stream) >= 1);
    }
}
