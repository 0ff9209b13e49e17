//! `/v1/auth/…` and the tokens themselves.

use std::time::Duration;

use futures::future::join_all;
use pabal_common::crypto::{Keyring, TokenIssuer};
use pabal_common::ledger::PartnerStatus;
use serde_json::{Value, json};

use crate::house::{Answer, House, START, eventually, sms};

async fn log_in(house: &House, client_id: &str, secret: &str) -> Answer {
    let body = json!({"clientId": client_id, "clientSecret": secret});
    house.ask("/v1/auth/token", &body).await
}

async fn refresh(house: &House, token: &str) -> Answer {
    house
        .ask("/v1/auth/refresh", &json!({"refreshToken": token}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_tokens_with_which_messages_are_sent() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let answer = log_in(&house, "shop", secret.expose()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text("code"), "0000");
    assert_eq!(answer.text("tokenType"), "Bearer");
    assert_eq!(answer.body["expiresIn"], 86_400);
    assert_eq!(answer.body["refreshExpiresIn"], 2_592_000);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.body.as_object().unwrap().len(), 6);

    let sent = house
        .post("/v1/messages", answer.text("accessToken"), &sms("m-1"))
        .await;
    assert_eq!(sent.status, 202, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_exist_is_answered_like_a_wrong_secret() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let wrong = format!("psk_{}", "A".repeat(43));
    let mut bodies: Vec<Value> = Vec::new();
    for (client_id, secret) in [
        ("shop", wrong.as_str()),
        ("nobody", secret.expose()),
        ("NOT an id!", secret.expose()),
        ("shop", "short"),
    ] {
        let mut answer = log_in(&house, client_id, secret).await;
        answer.is_refused(401, "E002", "BAD_CREDENTIALS");
        answer.body["requestId"] = Value::Null;
        bodies.push(answer.body);
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "{bodies:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_partner_is_told_so_only_with_the_right_secret() {
    let house = House::new().await;
    let (mut partner, secret) = house.partner_with_secret("shop").await;
    let refresh_token = log_in(&house, "shop", secret.expose()).await;
    let refresh_token = refresh_token.text("refreshToken").to_owned();
    house
        .change(&mut partner, |it| it.status = PartnerStatus::Disabled)
        .await;
    let answer = log_in(&house, "shop", secret.expose()).await;
    answer.is_refused(403, "E008", "PARTNER_DISABLED");
    let answer = log_in(&house, "shop", &format!("psk_{}", "A".repeat(43))).await;
    answer.is_refused(401, "E002", "BAD_CREDENTIALS");
    refresh(&house, &refresh_token)
        .await
        .is_refused(403, "E008", "PARTNER_DISABLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_login_bodies_are_refused_by_field() {
    let house = House::new().await;
    for (body, reason, field) in [
        (json!({"clientId": "a"}), "MISSING_FIELD", "clientSecret"),
        (
            json!({"clientId": 1, "clientSecret": "x"}),
            "INVALID_VALUE",
            "clientId",
        ),
        (
            json!({"clientId": "a", "clientSecret": "b", "x": 1}),
            "UNKNOWN_FIELD",
            "x",
        ),
        (json!([]), "INVALID_VALUE", "body"),
    ] {
        let answer = house.ask("/v1/auth/token", &body).await;
        answer.is_refused(400, "E001", reason);
        answer.names(field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_exchanged_for_the_next() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let first = log_in(&house, "shop", secret.expose()).await;
    let second = refresh(&house, first.text("refreshToken")).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(second.text("refreshToken"), first.text("refreshToken"));
    let sent = house
        .post("/v1/messages", second.text("accessToken"), &sms("m-1"))
        .await;
    assert_eq!(sent.status, 202);
    let third = refresh(&house, second.text("refreshToken")).await;
    assert_eq!(third.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_refresh_token_is_good_for_thirty_seconds_more() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let first = log_in(&house, "shop", secret.expose()).await;
    let lost = refresh(&house, first.text("refreshToken")).await;
    house.clock.advance(Duration::from_secs(29));
    let again = refresh(&house, first.text("refreshToken")).await;
    assert_eq!((lost.status, again.status), (200, 200));
    // Both successors go on.
    for answer in [lost, again] {
        assert_eq!(
            refresh(&house, answer.text("refreshToken")).await.status,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_used_again_later_revokes_its_family_and_no_other() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let other = log_in(&house, "shop", secret.expose()).await;
    let first = log_in(&house, "shop", secret.expose()).await;
    let second = refresh(&house, first.text("refreshToken")).await;
    house.clock.advance(Duration::from_secs(31));
    let reused = refresh(&house, first.text("refreshToken")).await;
    reused.is_refused(401, "E002", "REFRESH_TOKEN_REUSED");
    let successor = refresh(&house, second.text("refreshToken")).await;
    successor.is_refused(401, "E002", "REFRESH_TOKEN_INVALID");
    assert_eq!(
        refresh(&house, other.text("refreshToken")).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_refresh_token_takes_its_family_with_it() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let first = log_in(&house, "shop", secret.expose()).await;
    let second = refresh(&house, first.text("refreshToken")).await;
    let body = json!({"refreshToken": first.text("refreshToken")});
    let revoked = house.ask("/v1/auth/revoke", &body).await;
    assert_eq!(
        (revoked.status, revoked.body),
        (200, json!({"code": "0000"}))
    );
    let answer = refresh(&house, second.text("refreshToken")).await;
    answer.is_refused(401, "E002", "REFRESH_TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_refresh_token_cannot_be_exchanged_and_is_as_good_as_revoked() {
    let house = House::new().await;
    for token in ["", "x", &"x".repeat(10_000)] {
        let answer = refresh(&house, token).await;
        answer.is_refused(401, "E002", "REFRESH_TOKEN_INVALID");
        let revoked = house
            .ask("/v1/auth/revoke", &json!({"refreshToken": token}))
            .await;
        assert_eq!(revoked.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_ends_after_thirty_days() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let first = log_in(&house, "shop", secret.expose()).await;
    house.clock.advance(Duration::from_secs(30 * 86_400 + 1));
    let answer = refresh(&house, first.text("refreshToken")).await;
    answer.is_refused(401, "E002", "REFRESH_TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_good_token_is_refused_before_its_body_is_looked_at() {
    let house = House::new().await;
    let partner = house.partner("shop").await;
    let good = house.token(&partner);
    let post = |authorization: Option<String>| {
        let request = house.client.post(format!("{}/v1/messages", house.base));
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        Answer::to(request.body("not JSON"))
    };
    for authorization in [
        None,
        Some("Basic c2hvcDp4"),
        Some("Bearer"),
        Some(good.as_str()),
    ] {
        let answer = post(authorization.map(ToOwned::to_owned)).await;
        answer.is_refused(401, "E002", "TOKEN_MISSING");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    let forged = TokenIssuer::new(&Keyring::generate());
    let forged = forged.issue(&partner.id, 1, START, Duration::from_secs(60));
    for token in ["x", forged.as_str(), &good[..good.len() - 2]] {
        let answer = post(Some(format!("Bearer {token}"))).await;
        answer.is_refused(401, "E002", "TOKEN_INVALID");
    }
    // The scheme's name is written as one likes; then the body is looked at.
    let answer = post(Some(format!("bEARER {good}"))).await;
    answer.is_refused(415, "E001", "UNSUPPORTED_MEDIA_TYPE");
    house.clock.advance(Duration::from_secs(86_400));
    let answer = post(Some(format!("Bearer {good}"))).await;
    answer.is_refused(401, "E002", "TOKEN_EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_gone_or_disabled_is_told_so() {
    let house = House::new().await;
    let mut partner = house.partner("shop").await;
    let token = house.token(&partner);
    let ghost = TokenIssuer::new(&house.node.keyring);
    let ghost = ghost.issue(&"ghost".parse().unwrap(), 1, START, Duration::from_secs(60));
    let answer = house.post("/v1/messages", &ghost, &sms("m-1")).await;
    answer.is_refused(404, "E007", "PARTNER_NOT_FOUND");

    assert_eq!(
        house.post("/v1/messages", &token, &sms("m-1")).await.status,
        202
    );
    house
        .change(&mut partner, |it| it.status = PartnerStatus::Disabled)
        .await;
    eventually(async || house.post("/v1/messages", &token, &sms("m-2")).await.status == 403).await;
    let answer = house.post("/v1/messages", &token, &sms("m-3")).await;
    answer.is_refused(403, "E008", "PARTNER_DISABLED");
    let answer = house
        .post("/v1/messages/batch", &token, &json!({"messages": []}))
        .await;
    answer.is_refused(403, "E008", "PARTNER_DISABLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_voids_older_tokens_and_its_own_are_good_at_once() {
    let house = House::new().await;
    let (mut partner, _) = house.partner_with_secret("shop").await;
    let old = house.token(&partner);
    assert_eq!(
        house.post("/v1/messages", &old, &sms("m-1")).await.status,
        202
    );
    house
        .change(&mut partner, |it| it.credential_version = 2)
        .await;
    // What is remembered of the partner is older than this token.
    let new = house.token(&partner);
    assert_eq!(
        house.post("/v1/messages", &new, &sms("m-2")).await.status,
        202
    );
    let answer = house.post("/v1/messages", &old, &sms("m-3")).await;
    answer.is_refused(401, "E002", "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_logins_at_once_are_told_to_come_later() {
    let house = House::with(|config| {
        config.auth.logins_at_once = 1;
        config.auth.logins_waiting = 1;
    })
    .await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let answers = join_all((0..32).map(|_| log_in(&house, "shop", secret.expose()))).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(!served.is_empty() && !refused.is_empty());
    for answer in refused {
        answer.is_refused(429, "E003", "TOKEN_RATE_LIMITED");
        assert!(answer.retry_after().unwrap() >= 1);
    }
}
