//! Who is calling, and how fast: tokens, partners, limits.

use std::time::Duration;

use futures::future::join_all;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::{Keyring, TokenIssuer};
use pabal_common::ledger::PartnerStatus;
use serde_json::{Value, json};

use crate::api::{Answer, batch, sms};
use crate::endpoint::Endpoint;
use crate::house::House;
use crate::partner::Partner;
use crate::wait::eventually;

const HOUR: Duration = Duration::from_secs(3600);

async fn send_with(house: &House, token: &str) -> Answer {
    house
        .post_text(token, "/v1/messages", sms("order-1").to_string())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_token_is_refused() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let request = || house.client().post(format!("{}/v1/messages", house.base()));
    for request in [request(), request().basic_auth("shop", Some("secret"))] {
        let answer = Answer::to(request.json(&sms("order-1"))).await;
        answer.is_refused(401, "E002", "TOKEN_MISSING");
        assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
    }
    for path in [
        "/v1/messages/0SA00GVDC0400",
        "/v1/stats/daily?from=2026-01-01&to=2026-01-01",
    ] {
        let request = house.client().get(format!("{}{path}", house.base()));
        Answer::to(request)
            .await
            .is_refused(401, "E002", "TOKEN_MISSING");
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused_and_told_so() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let issuer = TokenIssuer::new(&house.running().node.keyring);
    let issued = SystemClock.now().minus(HOUR * 2);
    let token = issuer.issue(&partner.id, 1, issued, HOUR);
    send_with(&house, &token)
        .await
        .is_refused(401, "E002", "TOKEN_EXPIRED");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_refused() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let elsewhere = TokenIssuer::new(&Keyring::generate());
    let now = SystemClock.now();
    let (head, rest) = partner.token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    // {"alg":"none","typ":"JWT"}
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [
        elsewhere.issue(&partner.id, 1, now, HOUR),
        format!("{head}.{claims}.{flipped}"),
        format!("{unsigned}.{claims}."),
        format!("{head}.{claims}"),
        "nonsense".to_owned(),
        "x".repeat(10_000),
    ] {
        send_with(&house, &forged)
            .await
            .is_refused(401, "E002", "TOKEN_INVALID");
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_an_unknown_client_are_answered_alike() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let log_in = async |id: &str, secret: &str| {
        let request = house
            .client()
            .post(format!("{}/v1/auth/token", house.base()));
        Answer::to(request.json(&json!({"clientId": id, "clientSecret": secret}))).await
    };
    let right = partner.credentials.client_secret.expose();
    for (id, secret) in [
        ("shop", "wrong"),
        ("nobody", right),
        ("", ""),
        ("no body", right),
    ] {
        log_in(id, secret)
            .await
            .is_refused(401, "E002", "BAD_CREDENTIALS");
    }
    assert_eq!(log_in("shop", right).await.status, 200);
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_not_there_is_told_so() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let issuer = TokenIssuer::new(&house.running().node.keyring);
    let token = issuer.issue(&"nobody".parse().unwrap(), 1, SystemClock.now(), HOUR);
    send_with(&house, &token)
        .await
        .is_refused(404, "E007", "PARTNER_NOT_FOUND");
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_partner_is_refused_everywhere_until_it_is_enabled() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    house
        .change(&partner, |row| row.status = PartnerStatus::Disabled)
        .await;
    for (path, body) in [
        ("/v1/messages", sms("order-1")),
        ("/v1/messages/batch", batch([sms("order-1")])),
        (
            "/v1/webhooks/dead-letters/replay",
            json!({"ids": ["0SA00GVDC0400"]}),
        ),
    ] {
        house
            .post(&partner, path, &body)
            .await
            .is_refused(403, "E008", "PARTNER_DISABLED");
    }
    let answer = house
        .get(&partner, "/v1/messages?clientMsgId=order-1")
        .await;
    answer.is_refused(403, "E008", "PARTNER_DISABLED");
    let secret = partner.credentials.client_secret.expose();
    let login = json!({"clientId": "shop", "clientSecret": secret}).to_string();
    let answer = house.post_text("none", "/v1/auth/token", login).await;
    answer.is_refused(403, "E008", "PARTNER_DISABLED");

    assert_eq!(house.kept().await, 0);
    house
        .change(&partner, |row| row.status = PartnerStatus::Active)
        .await;
    // What is known of a partner is believed for two seconds.
    eventually(async || {
        let answer = house.get(&partner, "/v1/messages?clientMsgId=none").await;
        if answer.status == 404 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    eventually(async || {
        let answer = house.send(&partner, &sms("order-0")).await;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_is_told_when_to_come_back_and_nothing_refused_is_kept() {
    let house = House::open(&[]).await;
    let partner = house
        .partner_with("shop", Endpoint::start(), |application| {
            application.per_second = 5
        })
        .await;
    let other = house.partner("other").await;
    let messages: Vec<Value> = (0..30).map(|n| sms(&format!("order-{n}"))).collect();
    let answers = join_all(messages.iter().map(|message| house.send(&partner, message))).await;
    let mut refused = Vec::new();
    for (message, answer) in messages.iter().zip(&answers) {
        if answer.status != 202 {
            answer.is_refused(429, "E003", "RATE_LIMITED");
            assert!(
                answer.retry_after().is_some_and(|seconds| seconds >= 1),
                "{answer:?}"
            );
            refused.push(message);
        }
    }
    assert!(
        answers.len() > refused.len() && !refused.is_empty(),
        "{answers:?}"
    );
    assert_eq!(house.kept().await, (answers.len() - refused.len()) as u64);
    // Another partner has its own limit.
    house.accept(&other, &sms("order-1")).await;

    let too_many = batch((0..6).map(|n| sms(&format!("batch-{n}"))));
    let answer = house.post(&partner, "/v1/messages/batch", &too_many).await;
    answer.is_refused(400, "E001", "BATCH_TOO_LARGE");
    assert_eq!(answer.retry_after(), None, "{answer:?}");
    answer.names(&json!({"limit": 5, "actual": 6, "unit": "ITEM"}));

    // A refused request has not used up its client id.
    accepted_in_time(&house, &partner, refused[0]).await;
    house.close().await;
}

async fn accepted_in_time(house: &House, partner: &Partner, message: &Value) {
    eventually(async || {
        let answer = house.send(partner, message).await;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}
