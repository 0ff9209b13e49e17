//! Receipts: acknowledged when they are kept, and what else may come as a `deliver_sm`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pabal_common::domain::report::{Report, Verdict};

use crate::smsc::{DELIVER_SM, Peer, RESPONSE, SUBMIT_SM, Smsc, receipt};
use crate::world::{Line, World, answers, message};

async fn acknowledged(peer: &mut Peer, sequence: u32) -> u32 {
    let response = peer.hear(DELIVER_SM | RESPONSE).await;
    assert_eq!(response.sequence, sequence);
    assert_eq!(response.body, [0]);
    response.status
}

fn id(report: &Report) -> &str {
    report.vendor_id.as_ref().unwrap().as_str()
}

#[tokio::test]
async fn a_receipt_is_acknowledged_only_once_it_is_kept() {
    let smsc = Smsc::new().await;
    let mut line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.desk.refuses.store(true, Ordering::SeqCst);
    peer.receipt(1, "id:7F stat:DELIVRD err:000").await;
    // ESME_RX_T_APPN: again later.
    assert_eq!(acknowledged(&mut peer, 1).await, 0x64);
    line.desk.refuses.store(false, Ordering::SeqCst);
    peer.receipt(2, "id:7F stat:DELIVRD err:000").await;
    assert_eq!(acknowledged(&mut peer, 2).await, 0);
    let report = line.report().await;
    assert_eq!((id(&report), report.verdict), ("7f", Verdict::Delivered));
    assert_eq!(report.message, None);
}

#[tokio::test]
async fn a_receipt_that_was_not_kept_comes_again_from_the_simulated_message_centre() {
    let mut world = World::new().await;
    world.line.desk.refuses.store(true, Ordering::SeqCst);
    let (_, taken) = world.send_taken(0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(world.line.reports.is_empty());
    world.line.desk.refuses.store(false, Ordering::SeqCst);
    assert_eq!(world.line.report().await.vendor_id, Some(taken));
}

#[tokio::test]
async fn a_receipt_may_come_before_the_answer() {
    let smsc = Smsc::new().await;
    let mut line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    peer.receipt(1, "id:7F stat:DELIVRD").await;
    assert_eq!(id(&line.report().await), "7f");
    assert_eq!(acknowledged(&mut peer, 1).await, 0);
    peer.respond(&submit, 0, b"7f\0").await;
    answers(&sending.await.unwrap());
}

#[tokio::test]
async fn a_receipt_in_another_notation_names_the_answers_id() {
    for (setting, answered, receipted) in [
        ("same", "00AB", "ab"),
        ("hex_to_dec", "0255", "FF"),
        ("dec_to_hex", "FF", "255"),
    ] {
        let smsc = Smsc::new().await;
        let mut line = Line::to(&smsc.url(), &format!("receipt_id = '{setting}'"));
        let mut peer = smsc.bound().await;
        line.bound().await;
        let sending = line.sending(message(0));
        let submit = peer.hear(SUBMIT_SM).await;
        peer.respond(&submit, 0, format!("{answered}\0").as_bytes())
            .await;
        let taken = crate::world::vendor_id(&sending.await.unwrap());
        peer.receipt(1, &format!("id:{receipted} stat:DELIVRD"))
            .await;
        assert_eq!(line.report().await.vendor_id, Some(taken), "{setting}");
    }
}

#[tokio::test]
async fn what_is_no_receipt_is_refused_for_good_and_not_reported() {
    let smsc = Smsc::new().await;
    let mut line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    // A subscriber's own message: ESME_RX_R_APPN.
    let mut own = receipt("id:7 stat:DELIVRD");
    let class = 11;
    assert_eq!(own[class], 0x04);
    own[class] = 0;
    peer.tell(DELIVER_SM, 0, 1, &own).await;
    assert_eq!(acknowledged(&mut peer, 1).await, 0x66);
    // Nameless, and torn: ESME_RX_P_APPN.
    peer.receipt(2, "stat:DELIVRD").await;
    assert_eq!(acknowledged(&mut peer, 2).await, 0x65);
    peer.tell(DELIVER_SM, 0, 3, b"\0").await;
    assert_eq!(acknowledged(&mut peer, 3).await, 0x65);
    // The session goes on.
    peer.receipt(4, "id:8 stat:DELIVRD").await;
    assert_eq!(acknowledged(&mut peer, 4).await, 0);
    assert_eq!(id(&line.report().await), "8");
}

#[tokio::test]
async fn many_receipts_at_once_are_all_kept_and_acknowledged() {
    let smsc = Smsc::new().await;
    let mut line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    for number in 1..=500 {
        peer.receipt(number, &format!("id:{number} stat:DELIVRD"))
            .await;
    }
    for number in 1..=500 {
        assert_eq!(acknowledged(&mut peer, number).await, 0);
        assert_eq!(id(&line.report().await), number.to_string());
    }
}
