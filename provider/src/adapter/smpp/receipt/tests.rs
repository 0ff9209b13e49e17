//! Receipts as message centres write them.

use proptest::prelude::*;

use super::*;
use crate::adapter::smpp::pdu::Tlv;

fn worded(text: &str) -> ShortMessage {
    ShortMessage {
        esm_class: RECEIPT,
        text: Bytes::copy_from_slice(text.as_bytes()),
        ..ShortMessage::default()
    }
}

fn with(mut sm: ShortMessage, tag: u16, value: &[u8]) -> ShortMessage {
    sm.tlvs.push(Tlv {
        tag,
        value: Bytes::copy_from_slice(value),
    });
    sm
}

fn receipt(sm: &ShortMessage) -> Receipt {
    match read(sm, &ReceiptReading::default()) {
        Delivered::Receipt(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

fn id(text: &str) -> Option<VendorMessageId> {
    VendorMessageId::new(text)
}

const APPENDIX_B: &str = "id:0123456789 sub:001 dlvrd:001 submit date:2611211015 done date:2611211016 stat:DELIVRD err:000 text:id:9 stat:UNDELIV";

#[test]
fn the_text_of_appendix_b_is_read_and_the_quoted_message_is_not() {
    let receipt = receipt(&worded(APPENDIX_B));
    assert_eq!(receipt.vendor_id, id("123456789"));
    assert_eq!(receipt.verdict, Verdict::Delivered);
    assert_eq!(receipt.code.as_deref(), Some("DELIVRD"));
}

#[test]
fn vendors_write_the_text_in_many_ways() {
    for text in [
        "ID: 00ab SUB:001 STAT: delivrd ERR: 0",
        "stat:DELIVERED,id:AB,err:000",
        "id:ab\nstat:DELIVRD\nerr:",
        "messageid:7 id:ab done date:x stat:DELIVRD err: text:",
    ] {
        let receipt = receipt(&worded(text));
        assert_eq!(receipt.vendor_id, id("ab"), "{text}");
        assert_eq!(receipt.verdict, Verdict::Delivered, "{text}");
    }
}

#[test]
fn every_state_has_its_verdict_by_word_and_by_number() {
    for (number, word, verdict) in [
        (1, "ENROUTE", Verdict::Taken),
        (2, "DELIVRD", Verdict::Delivered),
        (3, "EXPIRED", Verdict::Failed(Reason::RecipientUnavailable)),
        (4, "DELETED", Verdict::Failed(Reason::ProviderError)),
        (5, "UNDELIV", Verdict::Failed(Reason::Unspecified)),
        (6, "ACCEPTD", Verdict::Taken),
        (7, "UNKNOWN", Verdict::Taken),
        (8, "REJECTD", Verdict::Failed(Reason::ContentRejected)),
    ] {
        let by_word = receipt(&worded(&format!("id:7 stat:{word}")));
        let by_number = with(worded("id:7 stat:ENROUTE"), tag::MESSAGE_STATE, &[number]);
        for receipt in [by_word, receipt(&by_number)] {
            assert_eq!(receipt.verdict, verdict, "{word}");
            assert_eq!(receipt.code.as_deref(), Some(word));
        }
    }
}

#[test]
fn a_state_nobody_knows_ends_nothing() {
    for sm in [
        worded("id:7 stat:BUFFERED"),
        worded("id:7"),
        with(worded("id:7 stat:DELIVRD"), tag::MESSAGE_STATE, &[9]),
    ] {
        assert_eq!(receipt(&sm).verdict, Verdict::Taken);
    }
}

#[test]
fn the_parameters_count_more_than_the_text_with_or_without_a_final_zero() {
    for value in [&b"0A1\0"[..], b"0A1", b"0a1\0\0"] {
        let sm = with(
            worded("id:7 stat:ENROUTE"),
            tag::RECEIPTED_MESSAGE_ID,
            value,
        );
        let sm = with(sm, tag::MESSAGE_STATE, &[2]);
        let receipt = receipt(&sm);
        assert_eq!(receipt.vendor_id, id("a1"));
        assert_eq!(receipt.verdict, Verdict::Delivered);
    }
    let empty = with(worded("id:7 stat:DELIVRD"), tag::RECEIPTED_MESSAGE_ID, &[0]);
    assert_eq!(receipt(&empty).vendor_id, id("7"));
}

#[test]
fn the_networks_cause_says_why_and_the_accounts_own_table_says_it_better() {
    let gsm = |cause| {
        with(
            worded("id:7 stat:UNDELIV err:999"),
            tag::NETWORK_ERROR_CODE,
            &[GSM, 0, cause],
        )
    };
    let told = receipt(&gsm(1));
    assert_eq!(told.verdict, Verdict::Failed(Reason::InvalidRecipient));
    assert_eq!(told.code.as_deref(), Some("UNDELIV/001"));
    let told = receipt(&gsm(27));
    assert_eq!(told.verdict, Verdict::Failed(Reason::RecipientUnavailable));
    let reading = ReceiptReading {
        errors: [("999".to_owned(), Reason::Spam)].into(),
        ..ReceiptReading::default()
    };
    let text = worded("id:7 stat:UNDELIV err:999");
    let Delivered::Receipt(told) = read(&text, &reading) else {
        panic!("not a receipt");
    };
    assert_eq!(told.verdict, Verdict::Failed(Reason::Spam));
    assert_eq!(told.code.as_deref(), Some("UNDELIV/999"));
}

#[test]
fn an_error_field_that_is_no_code_is_not_kept() {
    let told = receipt(&worded("id:7 stat:UNDELIV err:01012345678"));
    assert_eq!(told.code.as_deref(), Some("UNDELIV"));
    let told = receipt(&worded("id:7 stat:UNDELIV err:주문"));
    assert_eq!(told.code.as_deref(), Some("UNDELIV"));
}

#[test]
fn an_intermediate_notification_ends_nothing() {
    let sm = ShortMessage {
        esm_class: INTERMEDIATE,
        ..worded("id:7 stat:DELIVRD")
    };
    assert_eq!(receipt(&sm).verdict, Verdict::Taken);
}

#[test]
fn a_subscribers_own_message_is_no_receipt_unless_it_names_one() {
    let own = ShortMessage {
        esm_class: 0,
        ..worded("id:7 stat:DELIVRD")
    };
    let reading = ReceiptReading::default();
    assert_eq!(read(&own, &reading), Delivered::Other);
    let named = with(own, tag::RECEIPTED_MESSAGE_ID, b"7\0");
    assert_eq!(receipt(&named).vendor_id, id("7"));
    let nameless = worded("stat:DELIVRD err:000");
    assert_eq!(read(&nameless, &reading), Delivered::Nameless);
}

#[test]
fn our_own_parameter_comes_back_as_our_id() {
    let reading = ReceiptReading {
        reference_tag: Some(0x1401),
        ..ReceiptReading::default()
    };
    let sm = with(worded("stat:DELIVRD"), 0x1401, b"0000000000007\0");
    let Delivered::Receipt(told) = read(&sm, &reading) else {
        panic!("not a receipt");
    };
    assert_eq!(told.message, Some(MessageId::from_number(7)));
    assert_eq!(told.vendor_id, None);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,120}", class: u8, state: Vec<u8>, cause: Vec<u8>) {
        let sm = ShortMessage { esm_class: class, ..worded(&text) };
        let sm = with(sm, tag::MESSAGE_STATE, &state);
        let sm = with(sm, tag::NETWORK_ERROR_CODE, &cause);
        let _ = read(&sm, &ReceiptReading::default());
    }

    #[test]
    fn an_id_anywhere_in_the_text_is_found(before in "( [a-z]{3,6}:[a-z0-9]{1,5}){0,3}", wanted in "[a-f1-9]{1,16}") {
        prop_assume!(!before.contains("text:") && !before.contains(" id:"));
        let told = receipt(&worded(&format!("{before} Id:{wanted} stat:DELIVRD")));
        prop_assert_eq!(told.vendor_id, id(&wanted));
    }
}
