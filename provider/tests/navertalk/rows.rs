//! Every row of the simulator's table, and answers that are forced.

use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::reason::Reason;
use pabal_provider::adapter;
use pabal_provider::{Answer, CallbackError, Closed, Lost, NotConnected, Outcome};
use pabal_simulator::{DoorState, Family, NextAnswer};
use secrecy::SecretString;
use tokio::time::sleep;

use crate::world::{World, account, answer, button, call, is_delivered};

#[tokio::test]
async fn an_ordinary_message_and_one_about_reports_are_delivered_by_their_answer() {
    let world = World::new().await;
    for digits in [0, 70, 71, 72, 73, 74, 75, 80] {
        let (id, outcome) = world.send(digits).await;
        assert!(is_delivered(&outcome), "{digits}: {outcome:?}");
        assert_eq!(world.times_taken(id), 1);
    }
}

#[tokio::test]
async fn rows_51_to_54_are_code_99_which_says_nothing_sure() {
    let world = World::new().await;
    for digits in 51..=54 {
        let (id, outcome) = world.send(digits).await;
        let unknown = Answer::Unknown {
            code: "99".to_owned(),
        };
        assert_eq!(*answer(&outcome), unknown, "{digits}");
        assert_eq!(world.times_taken(id), 1);
    }
}

#[tokio::test]
async fn row_55_is_refused_by_a_listed_code_and_not_taken() {
    let world = World::new().await;
    let (id, outcome) = world.send(55).await;
    let Answer::Refused { code, reason } = answer(&outcome) else {
        panic!("{outcome:?}");
    };
    let listed = world.provider.capabilities().definitive(code);
    assert_eq!(listed, Some(*reason));
    assert_eq!(world.times_taken(id), 0);
}

#[tokio::test]
async fn row_60_is_throttled_then_refused_by_the_operating_system_then_fine() {
    let world = World::new().await;
    let sent = call(60);
    let first = world.provider.submit(&sent).await;
    assert_eq!(first, Outcome::Throttled { retry_after: None });
    let second = world.provider.submit(&sent).await;
    assert_eq!(second, Outcome::NotConnected(NotConnected::Refused));
    assert!(world.provider.probe().await.is_err());
    while world.door().state() == DoorState::Shut {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(is_delivered(&world.provider.submit(&sent).await));
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn row_61_is_throttled_for_a_while_then_fine() {
    let world = World::new().await;
    let sent = call(61);
    let throttled = Outcome::Throttled {
        retry_after: Some(Duration::from_secs(1)),
    };
    assert_eq!(world.provider.submit(&sent).await, throttled);
    loop {
        let outcome = world.provider.submit(&sent).await;
        if outcome != throttled {
            assert!(is_delivered(&outcome));
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.times_taken(sent.messages[0].id), 1);
}

#[tokio::test]
async fn rows_62_to_66_leave_the_outcome_unknown_whether_taken_or_not() {
    let world = World::new().await;
    for (digits, how, taken) in [
        (62, Lost::Reset, 1),
        (63, Lost::Reset, 1),
        (64, Lost::Status(500), 1),
        (65, Lost::Status(500), 0),
        (66, Lost::Garbled, 1),
    ] {
        let (id, outcome) = world.send(digits).await;
        assert_eq!(outcome, Outcome::Unknown(how), "{digits}");
        assert_eq!(world.times_taken(id), taken, "{digits}");
    }
}

#[tokio::test]
async fn row_81_answers_too_late_and_is_unknown() {
    let world = World::waiting(Duration::from_millis(200)).await;
    let (id, outcome) = world.send(81).await;
    assert_eq!(outcome, Outcome::Unknown(Lost::TimedOut));
    assert_eq!(world.times_taken(id), 1);
}

#[tokio::test]
async fn statuses_that_the_api_does_not_give_prove_nothing() {
    let world = World::new().await;
    for status in [201, 302, 400, 401, 403, 404, 502] {
        world.script(NextAnswer::Raw {
            status,
            body: String::new(),
            taken: false,
        });
        let (_, outcome) = world.send(0).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{status}");
    }
}

#[tokio::test]
async fn a_refused_key_closes_the_account_and_ends_no_message() {
    let world = World::new().await;
    world.script(NextAnswer::Refuse);
    let (id, outcome) = world.send(0).await;
    let closed = Answer::Closed {
        code: "01".to_owned(),
        why: Closed::Credentials,
    };
    assert_eq!(*answer(&outcome), closed);
    assert_eq!(world.times_taken(id), 0);
}

#[tokio::test]
async fn a_probe_sends_nothing_and_tells_a_wrong_key() {
    let world = World::new().await;
    world.provider.probe().await.unwrap();
    assert_eq!(world.simulator.taken_count(), 0);
    let base_url = world.simulator.base_url(Family::Navertalk).unwrap();
    let mut wrong = account(&base_url);
    wrong.api_key = SecretString::from("other");
    let wrong = adapter::build("navertalk", wrong).unwrap();
    assert!(wrong.probe().await.is_err());
    world.door().shut().await;
    assert!(world.provider.probe().await.is_err());
}

#[tokio::test]
async fn a_message_with_buttons_is_taken_up_to_what_the_channel_shows() {
    let world = World::new().await;
    let of = |buttons: usize, name: &str| {
        let mut call = call(0);
        call.messages[0].content.buttons = vec![button(name, "https://shop.example/1"); buttons];
        call
    };
    let taken = world
        .provider
        .submit(&of(10, "열여덟 글자까지 적을 수 있음"))
        .await;
    assert!(is_delivered(&taken));
    for too_much in [
        of(11, "보기"),
        of(1, "열아홉 글자는 단추에 적을 수 없습니다"),
    ] {
        let outcome = world.provider.submit(&too_much).await;
        let Answer::Refused { reason, .. } = answer(&outcome) else {
            panic!("{outcome:?}");
        };
        assert_eq!(*reason, Reason::ContentRejected);
    }
}

#[tokio::test]
async fn it_takes_one_message_a_call_and_neither_calls_back_nor_is_asked() {
    let world = World::new().await;
    let mut two = call(0);
    two.messages.extend(call(0).messages);
    let refused = Outcome::NotConnected(NotConnected::Refused);
    assert_eq!(world.provider.submit(&two).await, refused);
    assert_eq!(world.simulator.taken_count(), 0);
    let read = world
        .provider
        .read_callback(&|_| None, b"{}", SystemClock.now());
    assert_eq!(read, Err(CallbackError::NotExpected));
    assert!(world.provider.ask(&[]).await.is_err());
    assert!(world.provider.poll(None).await.is_err());
}
