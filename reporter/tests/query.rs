//! What partners may ask, through the routes as they are served.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use pabal_common::broker::Member;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::crypto::{Keyring, TokenIssuer};
use pabal_common::domain::id::{DeadLetterId, MessageId, PartnerId, WebhookId};
use pabal_common::domain::report::VendorAccount;
use pabal_common::http::finish;
use pabal_common::ledger::{Claim, DeadLetterKind, NewDeadLetter, PartnerStatus};
use pabal_reporter::query::{self, QueryConfig};
use pabal_reporter::webhook::WakeDelivery;
use serde_json::{Value, json};
use tower::ServiceExt as _;

mod webhook_house;

use webhook_house::House;

const HOUR: Duration = Duration::from_secs(3600);

struct Desk {
    house: House,
    clock: Arc<ManualClock>,
    router: axum::Router,
    tokens: TokenIssuer,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Desk {
    async fn open() -> Self {
        Self::with(QueryConfig {
            per_second: NonZeroU32::new(1000).unwrap(),
            replays_per_minute: NonZeroU32::new(100).unwrap(),
            ..QueryConfig::default()
        })
        .await
    }

    async fn with(config: QueryConfig) -> Self {
        // Noon in Korea.
        let start = Timestamp::parse_rfc3339("2026-11-21T03:00:00Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let house = House::open(clock.clone()).await;
        let routes = query::router(house.node.clone(), config, WakeDelivery::default());
        let (router, _) = routes.split_for_parts();
        Self {
            tokens: TokenIssuer::new(&house.node.keyring),
            router: finish(router),
            house,
            clock,
        }
    }

    async fn partner(&self, name: &str) -> PartnerId {
        let url = Some("https://partner.example/hook".to_owned());
        self.house.partner(name, url).await
    }

    fn token(&self, partner: &PartnerId) -> String {
        self.tokens.issue(partner, 1, self.now(), 48 * HOUR)
    }

    fn now(&self) -> Timestamp {
        use pabal_common::clock::Clock as _;
        self.clock.now()
    }

    async fn get(&self, partner: &PartnerId, path: &str) -> Answer {
        let token = self.token(partner);
        self.ask("GET", path, Some(&token), None).await
    }

    async fn post(&self, partner: &PartnerId, path: &str, body: Value) -> Answer {
        let token = self.token(partner);
        self.ask("POST", path, Some(&token), Some(body)).await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    /// A webhook of `partner` that was given up.
    async fn letter(&self, partner: &PartnerId) -> DeadLetterId {
        let ids = self.house.node.instance.ids();
        let (id, webhook) = (ids.dead_letter(), ids.webhook());
        let letter = NewDeadLetter {
            id,
            kind: DeadLetterKind::Webhook,
            partner: Some(partner.clone()),
            subject: webhook.to_string(),
            reason: "the endpoint answered HTTP 503, 7 times".to_owned(),
            attempts: 7,
            payload: br#"{"apiVersion":"1","events":[]}"#.to_vec(),
        };
        let ledger = &self.house.node.ledger;
        ledger.bury(&[letter], self.now()).await.unwrap();
        id
    }

    async fn waiting(&self, partner: &PartnerId) -> Vec<WebhookId> {
        let (ledger, me) = (&self.house.node.ledger, self.house.node.instance.id());
        let rows = ledger
            .due_webhooks(me, partner, self.now(), &[], 1000)
            .await;
        rows.unwrap().into_iter().map(|row| row.id).collect()
    }
}

impl Answer {
    /// Code and reason of an error.
    fn error(&self) -> (u16, &str, &str) {
        let word = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, word("code"), word("reason"))
    }

    fn items(&self) -> &Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["items"].as_array().unwrap()
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_is_found_by_both_its_ids_with_its_history() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let message = desk.house.message(&acme).await;
    desk.clock.advance(Duration::from_millis(1500));
    desk.house.end(message).await;
    let found = desk.get(&acme, &format!("/v1/messages/{message}")).await;
    assert_eq!(found.status, 200);
    assert_eq!(
        found.body,
        json!({
            "messageId": message.to_string(),
            "clientMsgId": "order-1",
            "type": "SMS",
            "purpose": "INFO",
            "status": "DELIVERED",
            "reason": null,
            "vendorCode": "1000",
            "acceptedAt": "2026-11-21T03:00:00.000Z",
            "sentAt": "2026-11-21T03:00:01.500Z",
            "finalAt": "2026-11-21T03:00:01.500Z",
            "metadata": {"order": 1},
            "timeline": [
                {"at": "2026-11-21T03:00:00.000Z", "status": "RECEIVED"},
                {"at": "2026-11-21T03:00:01.500Z", "status": "SENT"},
                {"at": "2026-11-21T03:00:01.500Z", "status": "DELIVERED"},
            ],
        })
    );
    let same = desk.get(&acme, "/v1/messages?clientMsgId=order-1").await;
    assert_eq!(same.body, found.body);
}

#[tokio::test]
async fn a_message_is_processing_from_the_first_claim_on() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let message = desk.house.message(&acme).await;
    let path = format!("/v1/messages/{message}");
    assert_eq!(desk.get(&acme, &path).await.body["status"], "RECEIVED");
    let node = &desk.house.node;
    let claim = Claim {
        submission: node.instance.ids().submission(),
        route: "inner-route".to_owned(),
        account: VendorAccount::new("inner", "account"),
        members: vec![Member {
            id: message,
            attempt: 0,
        }],
    };
    let claimed = node
        .ledger
        .claim(node.instance.id(), &[claim], desk.now())
        .await
        .unwrap();
    assert_eq!(claimed[0].messages.len(), 1);
    let found = desk.get(&acme, &path).await;
    assert_eq!(found.body["status"], "PROCESSING");
    assert_eq!(found.body["timeline"][1]["status"], "PROCESSING");
    assert!(!found.body.to_string().contains("inner"), "{}", found.body);
}

#[tokio::test]
async fn what_is_anothers_is_not_there() {
    let desk = Desk::open().await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    let message = desk.house.message(&acme).await;
    let not_found = (404, "E001", "MESSAGE_NOT_FOUND");
    for path in [
        format!("/v1/messages/{message}"),
        "/v1/messages?clientMsgId=order-1".to_owned(),
        format!("/v1/messages/{}", MessageId::from_number(1)),
        "/v1/messages/not-an-id".to_owned(),
    ] {
        assert_eq!(desk.get(&other, &path).await.error(), not_found, "{path}");
    }
}

#[tokio::test]
async fn a_message_can_be_queried_until_a_day_after_its_end() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let message = desk.house.message(&acme).await;
    let path = format!("/v1/messages/{message}");
    desk.clock.advance(72 * HOUR);
    assert_eq!(desk.get(&acme, &path).await.status, 200);
    desk.house.end(message).await;
    desk.clock.advance(24 * HOUR);
    assert_eq!(desk.get(&acme, &path).await.status, 200);
    desk.clock.advance(Duration::from_millis(1));
    let gone = desk.get(&acme, &path).await;
    assert_eq!(gone.error(), (410, "E001", "QUERY_WINDOW_PASSED"));
}

#[tokio::test]
async fn only_a_known_active_partner_with_its_own_token_is_answered() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let disabled = desk.partner("disabled").await;
    let rotated = desk.partner("rotated").await;
    desk.house
        .change(&disabled, |partner| {
            partner.status = PartnerStatus::Disabled
        })
        .await;
    desk.house
        .change(&rotated, |partner| partner.credential_version = 2)
        .await;
    let stranger: PartnerId = "stranger".parse().unwrap();
    let forged = TokenIssuer::new(&Keyring::generate()).issue(&acme, 1, desk.now(), HOUR);
    let expired = desk
        .tokens
        .issue(&acme, 1, desk.now().minus(2 * HOUR), HOUR);
    let path = "/v1/messages?clientMsgId=order-1";
    for (token, expected) in [
        (None, (401, "E002", "TOKEN_MISSING")),
        (Some("nonsense".to_owned()), (401, "E002", "TOKEN_INVALID")),
        (Some(forged), (401, "E002", "TOKEN_INVALID")),
        (Some(expired), (401, "E002", "TOKEN_EXPIRED")),
        (
            Some(desk.token(&stranger)),
            (404, "E007", "PARTNER_NOT_FOUND"),
        ),
        (
            Some(desk.token(&disabled)),
            (403, "E008", "PARTNER_DISABLED"),
        ),
        (Some(desk.token(&rotated)), (401, "E002", "TOKEN_INVALID")),
        (Some(desk.token(&acme)), (404, "E001", "MESSAGE_NOT_FOUND")),
    ] {
        let answer = desk.ask("GET", path, token.as_deref(), None).await;
        assert_eq!(answer.error(), expected);
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let desk = Desk::with(QueryConfig {
        per_second: NonZeroU32::MIN,
        ..QueryConfig::default()
    })
    .await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    let path = "/v1/messages?clientMsgId=order-1";
    assert_eq!(desk.get(&acme, path).await.status, 404);
    let refused = desk.get(&acme, path).await;
    assert_eq!(refused.error(), (429, "E003", "RATE_LIMITED"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(desk.get(&other, path).await.status, 404);
}

#[tokio::test]
async fn wrong_questions_name_the_field() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let dead = "/v1/webhooks/dead-letters";
    for (path, status, reason, field) in [
        (
            "/v1/messages".to_owned(),
            400,
            "MISSING_FIELD",
            "clientMsgId",
        ),
        (
            "/v1/messages?clientMsgId=".to_owned(),
            400,
            "INVALID_VALUE",
            "clientMsgId",
        ),
        (
            "/v1/messages?clientMsgId=a&x=1".to_owned(),
            400,
            "UNKNOWN_FIELD",
            "x",
        ),
        (
            "/v1/stats/daily?from=2026-11-01".to_owned(),
            400,
            "MISSING_FIELD",
            "to",
        ),
        (
            "/v1/stats/daily?from=2026-11-01&to=2026-11-31".to_owned(),
            400,
            "INVALID_VALUE",
            "to",
        ),
        (
            "/v1/stats/daily?from=2026-11-02&to=2026-11-01".to_owned(),
            400,
            "INVALID_PERIOD",
            "to",
        ),
        (
            "/v1/stats/daily?from=2026-01-01&to=2026-11-01".to_owned(),
            400,
            "INVALID_PERIOD",
            "to",
        ),
        (
            "/v1/stats/daily?from=2026-11-01&to=2026-11-01&type=FAX".to_owned(),
            400,
            "UNKNOWN_MESSAGE_TYPE",
            "type",
        ),
        (
            "/v1/messages/%ff".to_owned(),
            400,
            "INVALID_VALUE",
            "messageId",
        ),
        (format!("{dead}?cursor=x"), 400, "INVALID_CURSOR", "cursor"),
        (format!("{dead}?limit=0"), 400, "INVALID_VALUE", "limit"),
        (format!("{dead}?limit=101"), 400, "INVALID_VALUE", "limit"),
        (
            format!("{dead}?from=yesterday"),
            400,
            "INVALID_VALUE",
            "from",
        ),
        (
            format!("{dead}?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z"),
            400,
            "INVALID_PERIOD",
            "to",
        ),
    ] {
        let answer = desk.get(&acme, &path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.body["reason"], reason, "{path}");
        assert_eq!(answer.body["details"][0]["field"], field, "{path}");
    }
}

#[tokio::test]
async fn daily_numbers_are_final_when_the_day_is_over_and_all_has_ended() {
    let desk = Desk::open().await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    desk.house.results(&acme, 2).await;
    desk.house.results(&other, 5).await;
    let late = desk.house.message(&acme).await;
    let path = "/v1/stats/daily?from=2026-11-20&to=2026-11-22";
    let row = |total: u64, is_final: bool| {
        json!({
            "date": "2026-11-21", "type": "SMS", "total": total, "success": total,
            "failed": 0, "expired": 0, "final": is_final,
        })
    };
    assert_eq!(*desk.get(&acme, path).await.items(), [row(2, false)]);
    desk.clock.advance(24 * HOUR);
    assert_eq!(*desk.get(&acme, path).await.items(), [row(2, false)]);
    desk.house.end(late).await;
    let numbers = desk.get(&acme, path).await;
    assert_eq!(*numbers.items(), [row(3, true)]);
    assert_eq!(numbers.body["nextCursor"], Value::Null);
    let sms = desk.get(&acme, &format!("{path}&type=SMS")).await;
    assert_eq!(sms.items().len(), 1);
    let rcs = desk.get(&acme, &format!("{path}&type=RCS")).await;
    assert_eq!(rcs.items().len(), 0);
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_only_ones_own() {
    let desk = Desk::open().await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(desk.letter(&acme).await.to_string());
        desk.letter(&other).await;
        desk.clock.advance(HOUR);
    }
    let path = "/v1/webhooks/dead-letters";
    let mut listed = Vec::new();
    let mut query = format!("{path}?limit=2");
    loop {
        let page = desk.get(&acme, &query).await;
        listed.extend(ids(page.items()).into_iter().map(str::to_owned));
        let Some(cursor) = page.body["nextCursor"].as_str() else {
            break;
        };
        assert_eq!(page.items().len(), 2);
        query = format!("{path}?limit=2&cursor={cursor}");
    }
    assert_eq!(listed, own);

    let query = format!("{path}?from=2026-11-21T04:00:00Z&to=2026-11-21T15:00:00+09:00");
    let some = desk.get(&acme, &query).await;
    assert_eq!(ids(some.items()), own[1..3]);
    let first = &some.items()[0];
    assert_eq!(first["attempts"], 7);
    assert_eq!(first["createdAt"], "2026-11-21T04:00:00.000Z");
    assert_eq!(first["replayedAt"], Value::Null);
    assert_eq!(first["body"]["apiVersion"], "1");
}

#[tokio::test]
async fn dead_letters_are_sent_again_by_id_all_or_none() {
    let desk = Desk::open().await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    let (own, foreign) = (desk.letter(&acme).await, desk.letter(&other).await);
    let path = "/v1/webhooks/dead-letters/replay";
    for unknown in [foreign.to_string(), "x".to_owned()] {
        let body = json!({"ids": [own.to_string(), unknown]});
        let refused = desk.post(&acme, path, body).await;
        assert_eq!(refused.error(), (404, "E001", "DEAD_LETTER_NOT_FOUND"));
        assert_eq!(refused.body["details"][0]["field"], "ids[1]");
    }
    assert_eq!(desk.waiting(&acme).await, []);

    let body = json!({"ids": [own.to_string()]});
    let done = desk.post(&acme, path, body).await;
    assert_eq!(done.body, json!({"replayed": 1, "more": false}));
    let listed = desk.get(&acme, "/v1/webhooks/dead-letters").await;
    let letter = &listed.items()[0];
    assert_eq!(letter["replayedAt"], "2026-11-21T03:00:00.000Z");
    let waiting: Vec<_> = desk.waiting(&acme).await;
    assert_eq!(letter["webhookId"], waiting[0].to_string());
    assert_eq!(desk.waiting(&other).await, []);
}

#[tokio::test]
async fn dead_letters_are_sent_again_by_period_once() {
    let desk = Desk::open().await;
    let (acme, other) = (desk.partner("acme").await, desk.partner("other").await);
    for _ in 0..250 {
        desk.letter(&acme).await;
    }
    desk.letter(&other).await;
    desk.clock.advance(HOUR);
    desk.letter(&acme).await;
    let path = "/v1/webhooks/dead-letters/replay";
    let period = json!({"from": "2026-11-21T03:00:00Z", "to": "2026-11-21T04:00:00Z"});
    let done = desk.post(&acme, path, period.clone()).await;
    assert_eq!(done.body, json!({"replayed": 250, "more": false}));
    assert_eq!(desk.waiting(&acme).await.len(), 250);
    let again = desk.post(&acme, path, period).await;
    assert_eq!(again.body["replayed"], 0);
    assert_eq!(desk.waiting(&other).await, []);
}

#[tokio::test]
async fn a_replay_says_what_is_wrong_with_it() {
    let desk = Desk::open().await;
    let acme = desk.partner("acme").await;
    let (from, to) = ("2026-11-21T03:00:00Z", "2026-11-21T04:00:00Z");
    for (body, reason, field) in [
        (json!({}), "MISSING_FIELD", "ids"),
        (json!({"from": from}), "MISSING_FIELD", "to"),
        (json!({"to": to}), "MISSING_FIELD", "from"),
        (json!({"from": to, "to": from}), "INVALID_PERIOD", "to"),
        (
            json!({"ids": ["x"], "from": from}),
            "FIELD_NOT_ALLOWED",
            "from",
        ),
        (json!({"ids": ["x"], "to": to}), "FIELD_NOT_ALLOWED", "to"),
        (json!({"ids": []}), "INVALID_VALUE", "ids"),
        (json!({"ids": vec!["x"; 101]}), "INVALID_VALUE", "ids"),
        (json!({"all": true}), "UNKNOWN_FIELD", "all"),
    ] {
        let path = "/v1/webhooks/dead-letters/replay";
        let refused = desk.post(&acme, path, body.clone()).await;
        assert_eq!(refused.error(), (400, "E001", reason), "{body}");
        let detail = &refused.body["details"][0];
        assert_eq!(detail["field"], field, "{body}");
        if ["MISSING_FIELD", "FIELD_NOT_ALLOWED"].contains(&reason) {
            assert_eq!(detail["expected"], "either ids, or from and to", "{body}");
        }
    }
}

#[tokio::test]
async fn replays_have_a_pace_of_their_own() {
    let desk = Desk::with(QueryConfig {
        replays_per_minute: NonZeroU32::MIN,
        ..QueryConfig::default()
    })
    .await;
    let acme = desk.partner("acme").await;
    let letter = desk.letter(&acme).await.to_string();
    let path = "/v1/webhooks/dead-letters/replay";
    let body = json!({"ids": [letter]});
    assert_eq!(desk.post(&acme, path, body.clone()).await.status, 200);
    let refused = desk.post(&acme, path, body).await;
    assert_eq!(refused.error(), (429, "E003", "RATE_LIMITED"));
}

#[tokio::test]
async fn every_route_is_described() {
    let desk = Desk::open().await;
    let routes = query::router(
        desk.house.node.clone(),
        QueryConfig::default(),
        WakeDelivery::default(),
    );
    let (_, api) = routes.split_for_parts();
    let api = serde_json::to_value(&api).unwrap();
    for (path, method, id) in [
        ("/v1/messages/{messageId}", "get", "getMessage"),
        ("/v1/messages", "get", "findMessageByClientId"),
        ("/v1/stats/daily", "get", "getDailyStatistics"),
        ("/v1/webhooks/dead-letters", "get", "listDeadLetters"),
        (
            "/v1/webhooks/dead-letters/replay",
            "post",
            "replayDeadLetters",
        ),
    ] {
        let described = &api["paths"][path][method];
        assert_eq!(described["operationId"], id);
        let of_body: &[&str] = match method {
            "post" => &["408", "413", "415"],
            _ => &[],
        };
        let always = ["200", "400", "401", "403", "404", "429", "500", "503"];
        for status in always.iter().chain(of_body) {
            assert!(
                described["responses"][status].is_object(),
                "{path} {status}"
            );
        }
        assert!(described["security"].is_array(), "{path}");
    }
}
