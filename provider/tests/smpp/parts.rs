//! Texts longer than one short message.

use std::time::Duration;

use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use pabal_provider::{Answer, Lost, Outcome};

use crate::smsc::{SUBMIT_SM, Smsc};
use crate::world::{Line, World, answers, call, long_message, vendor_id};

/// Three parts of KS C 5601.
fn text() -> String {
    "가".repeat(134 + 1)
}

#[tokio::test]
async fn each_way_of_sending_a_long_text_is_taken_once_and_reported() {
    for long in ["payload", "udh", "sar"] {
        let settings = format!("long = '{long}'");
        let mut world = World::with(&settings, Duration::from_secs(10)).await;
        let sent = call(vec![long_message(&text())]);
        let taken = vendor_id(&world.line.provider.submit(&sent).await);
        assert_eq!(world.times_taken(sent.messages[0].id), 1, "{long}");
        let report = world.line.report().await;
        assert_eq!(report.vendor_id, Some(taken), "{long}");
        assert_eq!(report.verdict, Verdict::Delivered);
    }
}

#[tokio::test]
async fn a_part_follows_when_the_one_before_was_taken_and_the_last_asks_for_the_receipt() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "long = 'udh'");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(long_message(&text()));
    let mut references = Vec::new();
    for number in 1..=3 {
        let submit = peer.hear(SUBMIT_SM).await;
        assert!(number > 1 || peer.hears_nothing().await);
        let header = submit
            .body
            .windows(3)
            .position(|at| at == [5, 0, 3])
            .unwrap();
        assert_eq!(submit.body[header + 4..header + 6], [3, number]);
        references.push(submit.body[header + 3]);
        // registered_delivery stands five octets before the text.
        assert_eq!(submit.body[header - 5], u8::from(number == 3));
        peer.respond(&submit, 0, format!("{number}\0").as_bytes())
            .await;
    }
    references.dedup();
    assert_eq!(references.len(), 1);
    assert_eq!(vendor_id(&sending.await.unwrap()).as_str(), "3");
}

#[tokio::test]
async fn a_text_refused_at_its_first_part_is_refused_and_later_it_is_unknown() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "long = 'sar'");
    let mut peer = smsc.bound().await;
    line.bound().await;

    let sending = line.sending(long_message(&text()));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0x0B, b"").await;
    let refused = sending.await.unwrap();
    let reason = Reason::InvalidRecipient;
    assert!(matches!(answers(&refused), [Answer::Refused { reason: told, .. }] if *told == reason));

    let sending = line.sending(long_message(&text()));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0x58, b"").await;
    assert_eq!(answers(&sending.await.unwrap()), [Answer::Throttled]);

    let sending = line.sending(long_message(&text()));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0, b"1\0").await;
    let submit = peer.hear(SUBMIT_SM).await;
    peer.respond(&submit, 0x58, b"").await;
    let partial = sending.await.unwrap();
    assert!(matches!(answers(&partial), [Answer::Unknown { code }] if code == "PARTIAL"));
    assert!(peer.hears_nothing().await);

    let sending = line.sending(long_message(&text()));
    peer.hear(SUBMIT_SM).await;
    peer.reset();
    assert_eq!(sending.await.unwrap(), Outcome::Unknown(Lost::Reset));
}
