//! Several binds, windows, and links that are asked whether they are there.

use std::time::Duration;

use pabal_provider::adapter::Account;
use pabal_provider::{Answer, Lost, Outcome};

use crate::smsc::{ENQUIRE_LINK, RESPONSE, SUBMIT_SM, Smsc};
use crate::world::{Line, World, account, answers, call, message, vendor_id};

#[tokio::test]
async fn of_two_binds_the_living_one_goes_on_when_the_other_dies() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "binds = 2");
    let (mut one, mut two) = (smsc.bound().await, smsc.bound().await);
    one.lives().await;
    two.lives().await;
    // The binds take turns, so each has one message.
    let (first, second) = (line.sending(message(0)), line.sending(message(0)));
    one.hear(SUBMIT_SM).await;
    let submit = two.hear(SUBMIT_SM).await;
    two.respond(&submit, 0, b"8\0").await;
    one.reset();
    let mut outcomes = [first.await.unwrap(), second.await.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == Outcome::Unknown(Lost::Reset));
    assert_eq!(vendor_id(&outcomes[0]).as_str(), "8");
    assert_eq!(outcomes[1], Outcome::Unknown(Lost::Reset));
    for _ in 0..3 {
        let sending = line.sending(message(0));
        let submit = two.hear(SUBMIT_SM).await;
        two.respond(&submit, 0, b"9\0").await;
        vendor_id(&sending.await.unwrap());
    }
    // And the dead one comes back.
    smsc.bound().await;
}

#[tokio::test]
async fn receipts_come_over_any_bind_of_the_account() {
    let mut world = World::with("binds = 3", Duration::from_secs(10)).await;
    let mut taken = Vec::new();
    for _ in 0..20 {
        taken.push(world.send_taken(0).await.1);
    }
    for _ in 0..20 {
        let reported = world.line.report().await.vendor_id.unwrap();
        let at = taken.iter().position(|id| *id == reported).unwrap();
        taken.remove(at);
    }
}

#[tokio::test]
async fn no_more_than_the_window_is_unanswered() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "window = 2");
    assert_eq!(line.provider.capabilities().batch, 2);
    let mut peer = smsc.bound().await;
    line.bound().await;
    let sending = line.calling(call(vec![message(0), message(0), message(0)]));
    let first = peer.hear(SUBMIT_SM).await;
    let second = peer.hear(SUBMIT_SM).await;
    assert!(peer.hears_nothing().await);
    // Answers in another order than the questions'.
    peer.respond(&second, 0, b"2\0").await;
    let third = peer.hear(SUBMIT_SM).await;
    peer.respond(&third, 0, b"3\0").await;
    peer.respond(&first, 0, b"1\0").await;
    let outcome = sending.await.unwrap();
    let ids: Vec<_> = answers(&outcome)
        .iter()
        .map(|answer| match answer {
            Answer::Taken { vendor_id } => vendor_id.as_ref().unwrap().as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_message_that_finds_no_room_in_time_waits_as_if_throttled() {
    let smsc = Smsc::new().await;
    let line = Line::with(Account {
        connect_timeout: Duration::from_millis(200),
        ..account(&smsc.url(), "window = 1")
    });
    let mut peer = smsc.bound().await;
    line.bound().await;
    let first = line.sending(message(0));
    let submit = peer.hear(SUBMIT_SM).await;
    let outcome = line.provider.submit(&call(vec![message(0)])).await;
    assert_eq!(outcome, Outcome::Throttled { retry_after: None });
    peer.respond(&submit, 0, b"1\0").await;
    vendor_id(&first.await.unwrap());
    assert!(peer.hears_nothing().await);
}

#[tokio::test]
async fn a_window_wider_than_the_message_centres_is_throttled_and_nothing_lost() {
    let world = World::with("window = 30", Duration::from_secs(10)).await;
    let sent = call((0..30).map(|_| message(80)).collect());
    let outcome = world.line.provider.submit(&sent).await;
    let taken = |answer: &&Answer| matches!(answer, Answer::Taken { .. });
    let taken = answers(&outcome).iter().filter(taken).count();
    assert_eq!(taken, 10);
    assert_eq!(world.simulator.taken_count(), taken);
    let throttled = |answer: &&Answer| **answer == Answer::Throttled;
    assert_eq!(answers(&outcome).iter().filter(throttled).count(), 20);
}

#[tokio::test]
async fn a_question_whether_we_are_there_is_answered() {
    let smsc = Smsc::new().await;
    let line = Line::to(&smsc.url(), "");
    let mut peer = smsc.bound().await;
    line.bound().await;
    peer.tell(ENQUIRE_LINK, 0, 41, b"").await;
    let response = peer.hear(ENQUIRE_LINK | RESPONSE).await;
    assert_eq!((response.status, response.sequence), (0, 41));
    // What we do not know is said so, and the session goes on.
    peer.tell(0x0000_0103, 0, 42, b"").await;
    let nack = peer.hear(0x8000_0000).await;
    assert_eq!((nack.status, nack.sequence), (0x03, 42));
    peer.tell(ENQUIRE_LINK, 0, 43, b"").await;
    peer.hear(ENQUIRE_LINK | RESPONSE).await;
}

#[tokio::test]
async fn a_silent_message_centre_is_asked_and_left_if_it_does_not_answer() {
    let smsc = Smsc::new().await;
    let line = Line::with(Account {
        answer_timeout: Duration::from_millis(200),
        ..account(&smsc.url(), "enquire_link_ms = 100")
    });
    let mut peer = smsc.bound().await;
    line.bound().await;
    for _ in 0..2 {
        let asked = peer.hear(ENQUIRE_LINK).await;
        peer.respond(&asked, 0, b"").await;
    }
    peer.hear(ENQUIRE_LINK).await;
    assert!(peer.next().await.is_none());
    smsc.bound().await;
}
