//! Stops, starts, and vendors that cannot be reached: what was accepted ends, once.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use pabal_common::domain::phase::Phase;
use pabal_common::domain::status::Status;
use pabal_simulator::Family;
use serde_json::{Value, json};

use crate::api::{TYPES, batch, message, sms, with};
use crate::endpoint::Endpoint;
use crate::house::House;
use crate::partner::Partner;
use crate::wait::eventually;

/// Sends one request after the other until the gateway takes no more; what is not known to be
/// accepted.
async fn send_until_it_stops(
    house: &House,
    partner: &Partner,
    sender: usize,
    accepted: &AtomicUsize,
) -> Value {
    for n in 0.. {
        let kind = TYPES[(sender + n) % TYPES.len()];
        let name = |item: usize| format!("{sender}-{n}-{item}");
        let (path, request, size) = match sender % 2 {
            0 => ("/v1/messages", message(kind, &name(0), 0), 1),
            _ => {
                let items = (0..20).map(|item| message(kind, &name(item), 0));
                ("/v1/messages/batch", batch(items), 20)
            }
        };
        match house.try_post(partner, path, &request).await {
            Ok(answer) if answer.status < 300 => {
                accepted.fetch_add(size, Ordering::SeqCst);
            }
            _ if size == 1 => return batch([request]),
            _ => return request,
        }
    }
    unreachable!("it stops some time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing_and_sends_nothing_twice() {
    const ENOUGH: usize = 300;

    let mut house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let accepted = AtomicUsize::new(0);
    let stopper = house.running().stopper();
    let senders = (0..6).map(|sender| send_until_it_stops(&house, &partner, sender, &accepted));
    let stop = async {
        eventually(async || match accepted.load(Ordering::SeqCst) {
            enough if enough >= ENOUGH => Ok(()),
            few => Err(few),
        })
        .await;
        stopper.cancel();
    };
    let (unsure, ()) = tokio::join!(join_all(senders), stop);
    house.stop().await;

    house.start().await;
    // Whoever got no answer asks again, and learns what became of it without sending twice.
    for request in &unsure {
        let answer = house.post(&partner, "/v1/messages/batch", request).await;
        for result in answer.body["results"].as_array().unwrap() {
            let kept = result["code"] == "0000" || result["reason"] == "SAME";
            assert!(kept, "{result}");
        }
    }
    house.all_ended().await;
    house.all_told().await;
    let told = partner.told();
    assert_eq!(told.len(), partner.accepted().len());
    assert!(told.iter().all(|event| event["status"] == "DELIVERED"));
    assert_eq!(house.simulator().taken_count(), told.len());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_at_a_stop_ends_after_the_next_start() {
    let mut house = House::open(&[("webhooks.waits", "1s,1s,1s,1s,1s,1s,1s,1s")]).await;
    let partner = house.partner("shop").await;
    let deaf = house
        .partner_with("deaf", Endpoint::refusing(), |_| {})
        .await;
    // One waits for its report, one for its vendor, one for its partner.
    let late = house.accept(&partner, &message("RCS", "late", 70)).await;
    let untold = house.accept(&deaf, &sms("untold")).await;
    for (id, status) in [(&late, Status::Sent), (&untold, Status::Delivered)] {
        eventually(async || match house.view(id).await {
            view if view.status == status => Ok(()),
            view => Err(view),
        })
        .await;
    }
    house.simulator().door(Family::Talk).unwrap().shut().await;
    let waiting = house
        .accept(&partner, &message("NAVER_TALK", "waiting", 0))
        .await;
    eventually(async || match house.view(&waiting).await {
        view if view.phase == Phase::Waiting => Ok(()),
        view => Err(view),
    })
    .await;
    assert_eq!(
        house
            .get(&partner, &format!("/v1/messages/{late}"))
            .await
            .text("status"),
        "SENT"
    );
    house.stop().await;

    deaf.endpoint.listen();
    house.start().await;
    for (partner, id) in [(&partner, &late), (&partner, &waiting), (&deaf, &untold)] {
        assert_eq!(house.result(partner, id).await["status"], "DELIVERED");
        assert_eq!(house.times_taken(id), 1);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_vendor_that_cannot_be_reached_and_go_when_it_is_back() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let door = house.simulator().door(Family::Carrier).unwrap();
    door.shut().await;
    let messages = batch((0..20).map(|n| sms(&format!("order-{n}"))));
    let ids = house.accept_batch(&partner, &messages).await;
    for id in &ids {
        eventually(async || match house.view(id).await {
            view if view.phase == Phase::Waiting => Ok(()),
            view => Err(view),
        })
        .await;
    }
    // One vendor does not stop the rest.
    for kind in ["RCS", "KAKAO_ALIMTALK", "NAVER_TALK"] {
        let id = house
            .accept(&partner, &message(kind, &format!("order-{kind}"), 0))
            .await;
        assert_eq!(house.result(&partner, &id).await["status"], "DELIVERED");
    }
    assert!(ids.iter().all(|id| house.times_taken(id) == 0));
    door.open().await;
    for id in &ids {
        assert_eq!(house.result(&partner, id).await["status"], "DELIVERED");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_vendor_stays_away_fails_when_its_validity_ends() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let door = house.simulator().door(Family::Carrier).unwrap();
    door.shut().await;
    let id = house
        .accept(
            &partner,
            &with(sms("order-1"), "validitySeconds", json!(10)),
        )
        .await;
    let result = house.result(&partner, &id).await;
    assert_eq!(
        (&result["status"], &result["reason"]),
        (&json!("FAILED"), &json!("ROUTE_DOWN")),
        "{result}"
    );
    assert_eq!(house.times_taken(&id), 0);
    assert_eq!(house.daily(&partner).await["SMS"].ended(), [0, 1, 0]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_attempts_without_a_connection_on_an_open_route_are_the_end() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let door = house.simulator().door(Family::Carrier).unwrap();
    door.shut().await;
    let unlucky = house.accept(&partner, &sms("unlucky")).await;
    // Three refused connections in a row would close the route, and time closed costs no attempt: so
    // the vendor answers somebody else after the second, while the third is still two seconds off.
    eventually(async || match house.view(&unlucky).await {
        view if view.attempt == 2 => Ok(()),
        view => Err(view),
    })
    .await;
    door.open().await;
    let lucky = house.accept(&partner, &message("LMS", "lucky", 0)).await;
    eventually(async || house.view(&lucky).await.sent_at.ok_or("not taken yet")).await;
    door.shut().await;
    let result = house.result(&partner, &unlucky).await;
    assert_eq!(
        (&result["status"], &result["reason"]),
        (&json!("FAILED"), &json!("NOT_CONNECTED")),
        "{result}"
    );
    assert_eq!(house.times_taken(&unlucky), 0);
    // A call that is not begun, because this machine is too busy to renew a lease, costs no attempt.
    let mut events = house.events(&unlucky).await;
    events.retain(|event| event != "DEFERRED");
    assert_eq!(events, ["RETRY"; 3]);
    house.close().await;
}
