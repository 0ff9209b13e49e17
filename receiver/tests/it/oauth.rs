//! `/oauth2/token`.

use std::time::Duration;

use pabal_common::ledger::PartnerStatus;

use crate::house::{Answer, House, sms};

async fn by_basic(house: &House, id: &str, secret: &str, fields: &str) -> Answer {
    let request = house.form_request(fields).basic_auth(id, Some(secret));
    Answer::to(request).await
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status, answer.text("error")),
        (status, error),
        "{answer:?}"
    );
    let description = answer.text("error_description");
    assert!(!description.is_empty() && description.is_ascii());
    // Beside OAuth's own fields, those of every error answer.
    assert!(!answer.text("message").is_empty() && !answer.text("reason").is_empty());
    assert_eq!(
        answer.header("x-request-id"),
        Some(answer.text("requestId"))
    );
    assert!(answer.body["details"].is_array());
    let has_scheme = answer
        .header("www-authenticate")
        .is_some_and(|scheme| scheme.starts_with("Basic"));
    assert_eq!(has_scheme, status == 401, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_are_taken_from_the_form_and_from_basic() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let secret = secret.expose();
    let form = format!("grant_type=client_credentials&client_id=shop&client_secret={secret}");
    let basic = "grant_type=client_credentials&scope=anything";
    let with_id = "grant_type=client_credentials&client_id=shop";
    for (n, answer) in [
        house.form(&form).await,
        by_basic(&house, "shop", secret, basic).await,
        by_basic(&house, "shop", secret, with_id).await,
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text("token_type"), "Bearer");
        assert_eq!(answer.body["expires_in"], 86_400);
        assert_eq!(answer.body["refresh_expires_in"], 2_592_000);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let token = answer.text("access_token");
        let sent = house
            .post("/v1/messages", token, &sms(&format!("m-{n}")))
            .await;
        assert_eq!(sent.status, 202, "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_exchanged_by_the_client_it_belongs_to() {
    let house = House::new().await;
    let (_, secret) = house.partner_with_secret("shop").await;
    let secret = secret.expose();
    let login = by_basic(&house, "shop", secret, "grant_type=client_credentials").await;
    let exchange = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let first = exchange(login.text("refresh_token"));
    let next = by_basic(&house, "shop", secret, &first).await;
    assert_eq!(next.status, 200, "{next:?}");
    // Without the client's proof not even a good token is looked at.
    let second = exchange(next.text("refresh_token"));
    is_refused(&house.form(&second).await, 401, "invalid_client");
    assert_eq!(by_basic(&house, "shop", secret, &second).await.status, 200);
    house.clock.advance(Duration::from_secs(31));
    let reused = by_basic(&house, "shop", secret, &first).await;
    is_refused(&reused, 400, "invalid_grant");
    assert_eq!(reused.text("reason"), "REFRESH_TOKEN_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_in_another_clients_hand_is_revoked() {
    let house = House::new().await;
    let (_, owner) = house.partner_with_secret("owner").await;
    let (_, thief) = house.partner_with_secret("thief").await;
    let login = by_basic(
        &house,
        "owner",
        owner.expose(),
        "grant_type=client_credentials",
    )
    .await;
    let exchange = format!(
        "grant_type=refresh_token&refresh_token={}",
        login.text("refresh_token")
    );
    let stolen = by_basic(&house, "thief", thief.expose(), &exchange).await;
    is_refused(&stolen, 400, "invalid_grant");
    let late = by_basic(&house, "owner", owner.expose(), &exchange).await;
    is_refused(&late, 400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_speak_the_words_of_oauth() {
    let house = House::new().await;
    let (mut partner, secret) = house.partner_with_secret("shop").await;
    let secret = secret.expose();
    let credentials = format!("client_id=shop&client_secret={secret}");
    for (fields, status, error) in [
        ("", 400, "invalid_request"),
        (
            "grant_type=client_credentials&grant_type=client_credentials",
            400,
            "invalid_request",
        ),
        ("grant_type=%zz", 400, "invalid_request"),
        (
            "grant_type=refresh_token&client_id=shop&client_secret=x",
            400,
            "invalid_request",
        ),
        (
            "grant_type=password&username=a&password=b",
            400,
            "unsupported_grant_type",
        ),
        ("grant_type=client_credentials", 401, "invalid_client"),
        (
            "grant_type=client_credentials&client_id=shop",
            401,
            "invalid_client",
        ),
        (
            "grant_type=client_credentials&client_id=shop&client_secret=x",
            401,
            "invalid_client",
        ),
        (
            "grant_type=client_credentials&client_id=nobody&client_secret=x",
            401,
            "invalid_client",
        ),
    ] {
        is_refused(&house.form(fields).await, status, error);
    }
    let unknown = format!("grant_type=refresh_token&refresh_token=x&{credentials}");
    is_refused(&house.form(&unknown).await, 400, "invalid_grant");

    let twice = format!("grant_type=client_credentials&{credentials}");
    is_refused(
        &by_basic(&house, "shop", secret, &twice).await,
        400,
        "invalid_request",
    );
    let other = "grant_type=client_credentials&client_id=other";
    is_refused(
        &by_basic(&house, "shop", secret, other).await,
        401,
        "invalid_client",
    );
    let wrong = by_basic(&house, "shop", "x", "grant_type=client_credentials").await;
    is_refused(&wrong, 401, "invalid_client");
    let both = house
        .form_request("grant_type=client_credentials")
        .basic_auth("shop", Some(secret))
        .bearer_auth("x");
    is_refused(&Answer::to(both).await, 400, "invalid_request");

    house
        .change(&mut partner, |it| it.status = PartnerStatus::Disabled)
        .await;
    is_refused(&house.form(&twice).await, 400, "unauthorized_client");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_field_and_what_would_have_been_right() {
    let house = House::new().await;
    for (fields, field, rule, expected) in [
        ("", "grant_type", "required", None),
        (
            "grant_type=password",
            "grant_type",
            "oneOf",
            Some("client_credentials, refresh_token"),
        ),
        (
            "grant_type=refresh_token&client_id=a&client_secret=b",
            "refresh_token",
            "required",
            None,
        ),
        (
            "grant_type=client_credentials",
            "client_id",
            "required",
            None,
        ),
        (
            "grant_type=client_credentials&client_id=a",
            "client_secret",
            "required",
            None,
        ),
        (
            "grant_type=%zz",
            "body",
            "encoding",
            Some("percent-encoded UTF-8"),
        ),
    ] {
        let answer = house.form(fields).await;
        let detail = &answer.body["details"][0];
        assert_eq!(detail["field"], field, "{answer:?}");
        assert_eq!(detail["rule"], rule, "{answer:?}");
        assert_eq!(detail["expected"].as_str(), expected, "{answer:?}");
    }
    // Who guesses learns nothing from it.
    let wrong = "grant_type=client_credentials&client_id=a&client_secret=b";
    let answer = house.form(wrong).await;
    assert_eq!(answer.body["details"], serde_json::json!([]));
    let bearer = house
        .form_request("grant_type=client_credentials")
        .bearer_auth("x");
    let answer = Answer::to(bearer).await;
    answer.names("Authorization");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_form_is_refused_with_the_word_for_it() {
    let house = House::new().await;
    let request = house.client.post(format!("{}/oauth2/token", house.base));
    let answer = Answer::to(request.json(&serde_json::json!({}))).await;
    assert_eq!(
        (answer.status, answer.text("error")),
        (415, "invalid_request")
    );
}
