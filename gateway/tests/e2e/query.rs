//! What can be asked: messages, daily numbers, and the gateway itself.

use std::time::Duration;

use pabal_common::clock::Day;
use serde_json::json;

use crate::api::{Answer, TYPES, message, sms};
use crate::books::days_around_now;
use crate::house::House;
use crate::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_its_own_messages_and_nobody_elses() {
    let house = House::open(&[]).await;
    let (own, other) = (house.partner("own").await, house.partner("other").await);
    let id = house.accept(&own, &sms("order-1")).await;
    house.result(&own, &id).await;
    let paths = [
        format!("/v1/messages/{id}"),
        "/v1/messages?clientMsgId=order-1".to_owned(),
    ];
    for path in &paths {
        let answer = house.get(&own, path).await;
        assert_eq!(
            (answer.status, answer.text("messageId")),
            (200, id.as_str())
        );
        assert!(
            !answer.body.to_string().contains("2345"),
            "the recipient is told: {answer:?}"
        );
        house
            .get(&other, path)
            .await
            .is_refused(404, "E001", "MESSAGE_NOT_FOUND");
    }
    for path in [
        "/v1/messages/0SA00GVDC0400",
        "/v1/messages/nonsense",
        "/v1/messages?clientMsgId=x",
    ] {
        house
            .get(&own, path)
            .await
            .is_refused(404, "E001", "MESSAGE_NOT_FOUND");
    }
    house
        .get(&own, "/v1/messages")
        .await
        .is_refused(400, "E001", "MISSING_FIELD");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_from_when_a_vendor_took_it_until_it_ends() {
    let house = House::open(&[("reporter.sms_deadline", "1500ms")]).await;
    let partner = house.partner("shop").await;
    // Taken, and never reported.
    let id = house.accept(&partner, &message("SMS", "order-1", 73)).await;
    let path = format!("/v1/messages/{id}");
    let answer = eventually(async || {
        let answer = house.get(&partner, &path).await;
        if answer.text("status") == "SENT" {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    assert!(
        answer.body["sentAt"].is_string() && answer.body["finalAt"].is_null(),
        "{answer:?}"
    );
    assert_eq!(house.result(&partner, &id).await["status"], "EXPIRED");
    let answer = house.get(&partner, &path).await;
    assert_eq!(answer.text("status"), "EXPIRED");
    let steps = answer.body["timeline"].as_array().unwrap();
    let reached: Vec<_> = steps
        .iter()
        .filter_map(|step| step["status"].as_str())
        .collect();
    assert_eq!(reached, ["RECEIVED", "PROCESSING", "SENT", "EXPIRED"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_window_a_message_can_no_longer_be_asked_for() {
    let house = House::open(&[("query.window", "1s")]).await;
    let partner = house.partner("shop").await;
    let id = house.accept(&partner, &sms("order-1")).await;
    house.result(&partner, &id).await;
    let path = format!("/v1/messages/{id}");
    let answer = eventually(async || {
        let answer = house.get(&partner, &path).await;
        if answer.status == 410 {
            Ok(answer)
        } else {
            Err(answer)
        }
    })
    .await;
    answer.is_refused(410, "E001", "QUERY_WINDOW_PASSED");
    let ended = house.view(&id).await.final_at.unwrap();
    let now = house.running().node.clock.now();
    assert!(
        now.since(ended) >= Duration::from_secs(1),
        "too early: {now:?} {ended:?}"
    );
    // It is still known: its client id stays used up.
    house
        .send(&partner, &sms("order-1"))
        .await
        .is_refused(409, "E004", "SAME");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_numbers_are_the_partners_own_by_day_and_type() {
    let house = House::open(&[]).await;
    let (own, other) = (house.partner("own").await, house.partner("other").await);
    for (n, digits) in [0, 0, 51].into_iter().enumerate() {
        let id = house
            .accept(&own, &message("SMS", &format!("sms-{n}"), digits))
            .await;
        house.result(&own, &id).await;
    }
    let id = house.accept(&own, &message("RCS", "rcs-1", 0)).await;
    house.result(&own, &id).await;
    let (from, to) = days_around_now();
    let ask = async |partner, query: String| {
        house
            .get(partner, &format!("/v1/stats/daily?{query}"))
            .await
    };

    let all = ask(&own, format!("from={from}&to={to}")).await;
    let rows = all.body["items"].as_array().unwrap();
    for row in rows {
        assert_eq!(row["final"], json!(false), "today is not over: {row}");
        let day = Day::parse(row["date"].as_str().unwrap()).unwrap();
        assert!(from < day && day < to, "{row}");
    }
    let numbers = house.daily(&own).await;
    assert_eq!(numbers["SMS"].ended(), [2, 1, 0]);
    assert_eq!(numbers["RCS"].ended(), [1, 0, 0]);
    let rcs = ask(&own, format!("from={from}&to={to}&type=RCS")).await;
    assert!(
        rcs.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["type"] == "RCS")
    );
    let before = ask(&own, "from=2020-01-01&to=2020-01-31&type=SMS".to_owned()).await;
    assert_eq!((before.status, &before.body["items"]), (200, &json!([])));
    let theirs = ask(&other, format!("from={from}&to={to}")).await;
    assert_eq!(theirs.body["items"], json!([]));

    for (query, reason) in [
        (format!("from={to}&to={from}"), "INVALID_PERIOD"),
        ("from=2020-01-01&to=2026-01-01".to_owned(), "INVALID_PERIOD"),
        (format!("from={from}"), "MISSING_FIELD"),
        (format!("from={from}&to={to}&sort=date"), "UNKNOWN_FIELD"),
    ] {
        ask(&own, query).await.is_refused(400, "E001", reason);
    }
    let answer = ask(&own, format!("from=2026-02-30&to={to}")).await;
    assert_eq!(
        (answer.status, answer.text("code")),
        (400, "E001"),
        "{answer:?}"
    );
    let answer = ask(&own, format!("from={from}&to={to}&type=FAX")).await;
    answer.is_refused(400, "E005", "UNKNOWN_MESSAGE_TYPE");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_says_how_it_is() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let open =
        async |path: &str| Answer::to(house.client().get(format!("{}{path}", house.base()))).await;
    assert_eq!(open("/healthz").await.status, 200);
    eventually(async || {
        let answer = open("/readyz").await;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    for kind in TYPES {
        let id = house
            .accept(&partner, &message(kind, &format!("order-{kind}"), 0))
            .await;
        house.result(&partner, &id).await;
    }
    let metrics = open("/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = metrics.body.as_str().unwrap();
    for kind in TYPES {
        let counted = text.lines().find(|line| {
            line.starts_with("pabal_messages_accepted") && line.contains(&format!("\"{kind}\""))
        });
        assert!(counted.is_some(), "{kind} in\n{text}");
    }
    open("/v1/nothing")
        .await
        .is_refused(404, "E001", "ROUTE_NOT_FOUND");
    open("/v1/messages/batch")
        .await
        .is_refused(405, "E001", "METHOD_NOT_ALLOWED");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_every_operation_and_can_be_read_as_pages() {
    let house = House::open(&[]).await;
    let open =
        async |path: &str| Answer::to(house.client().get(format!("{}{path}", house.base()))).await;
    let description = open("/openapi.json").await;
    assert_eq!(description.status, 200);
    assert!(description.text("openapi").starts_with("3."));
    for (path, method) in [
        ("/v1/auth/token", "post"),
        ("/v1/auth/refresh", "post"),
        ("/v1/auth/revoke", "post"),
        ("/oauth2/token", "post"),
        ("/v1/messages", "post"),
        ("/v1/messages", "get"),
        ("/v1/messages/batch", "post"),
        ("/v1/messages/{messageId}", "get"),
        ("/v1/stats/daily", "get"),
        ("/v1/webhooks/dead-letters", "get"),
        ("/v1/webhooks/dead-letters/replay", "post"),
    ] {
        let operation = &description.body["paths"][path][method];
        assert!(operation["responses"].is_object(), "{method} {path}");
        // What is described is there: it answers something other than "no such address".
        let concrete = path.replace("{messageId}", "0SA00GVDC0400");
        let url = format!("{}{concrete}", house.base());
        let request = house
            .client()
            .request(method.to_uppercase().parse().unwrap(), url);
        let answer = Answer::to(request).await;
        assert!(
            ![404, 405].contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
    }
    let pages = open("/docs").await;
    assert_eq!(pages.status, 200);
    assert!(pages.body.as_str().unwrap().contains("<html"), "{pages:?}");
    house.close().await;
}
