//! Webhooks on their way to partners' endpoints: a real ledger, a real deliverer, real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use pabal_common::clock::SystemClock;
use pabal_common::crypto::{verify_standard_webhook, verify_x_signature};
use pabal_reporter::address::AddressPolicy;
use pabal_reporter::webhook::{Deliverer, WebhookConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod webhook_house;

use webhook_house::{Answer, Endpoint, House, PATIENCE, signed_at, until};

/// Shorter waits than partners get, and loopback, where the endpoints of these tests are.
fn quick() -> WebhookConfig {
    WebhookConfig {
        timeout: Duration::from_secs(5),
        schedule: vec![Duration::from_millis(20), Duration::from_millis(40)],
        addresses: AddressPolicy {
            allow_http: false,
            allow_loopback: true,
        },
        ..WebhookConfig::default()
    }
}

struct Delivery {
    deliverer: Deliverer,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Delivery {
    fn start(house: &House, config: WebhookConfig) -> Self {
        let deliverer = Deliverer::new(&house.node, config).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (deliverer, shutdown) = (deliverer.clone(), shutdown.clone());
            async move { deliverer.run(shutdown).await }
        });
        Self {
            deliverer,
            shutdown,
            running,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

async fn house() -> House {
    House::open(Arc::new(SystemClock)).await
}

#[tokio::test]
async fn a_result_is_told_once_with_both_signatures() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(200)).await);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    let delivery = Delivery::start(&house, quick());
    let message = house.message(&acme).await;
    house.end(message).await;
    delivery.deliverer.wake();
    house.until_waiting(0).await;
    delivery.stop().await;

    let seen = endpoint.seen();
    assert_eq!(seen.len(), 1);
    let told = &seen[0];
    assert_eq!(told.header("content-type"), "application/json");
    assert!(told.header("user-agent").starts_with("Pabal/"));
    let event = &told.json()["events"][0];
    assert_eq!(event["messageId"], message.to_string());
    assert_eq!(event["status"], "DELIVERED");
    let header = |name: &str| told.headers.get(name)?.to_str().ok();
    let (at, tolerance) = (signed_at(told), Duration::from_secs(1));
    let secret = &house.secret;
    verify_x_signature(secret, header, &told.body, at, tolerance).unwrap();
    verify_standard_webhook(secret, header, &told.body, at, tolerance).unwrap();
}

#[tokio::test]
async fn a_webhook_that_failed_comes_again_with_the_same_id_and_body() {
    let house = house().await;
    let endpoint = Endpoint::start(Answer::Status(204)).await;
    let endpoint = endpoint.first([Answer::Status(500), Answer::Status(503)]);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let delivery = Delivery::start(&house, quick());
    house.until_waiting(0).await;
    delivery.stop().await;

    let seen = endpoint.seen();
    assert_eq!(seen.len(), 3);
    for again in &seen[1..] {
        assert_eq!(again.header("webhook-id"), seen[0].header("webhook-id"));
        assert_eq!(again.body, seen[0].body);
    }
    assert_eq!(house.dead_letters().await, []);
}

#[tokio::test]
async fn a_hanging_endpoint_holds_its_own_permits_alone() {
    let house = house().await;
    let hanging = Endpoint::start(Answer::Hang).await;
    let well = Endpoint::start(Answer::Status(200)).await;
    let slow = house.partner("slow", Some(hanging.url())).await;
    let fine = house.partner("fine", Some(well.url())).await;
    house.results(&slow, 30).await;
    let config = WebhookConfig {
        timeout: Duration::from_secs(600),
        concurrency: 6,
        per_endpoint: 4,
        ..quick()
    };
    let delivery = Delivery::start(&house, config);
    hanging.until_seen(4).await;
    // All of these go while not one attempt at the other endpoint has ended.
    house.results(&fine, 40).await;
    delivery.deliverer.wake();
    house.until_waiting(30).await;
    assert_eq!(well.seen().len(), 40);
    assert_eq!(hanging.seen().len(), 4);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_waits_until_it_is_enabled_by_hand() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(410)).await);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 3).await;
    let config = WebhookConfig {
        per_endpoint: 1,
        ..quick()
    };
    let delivery = Delivery::start(&house, config);
    let ledger = &house.node.ledger;
    let disabled = async || {
        let partner = ledger.partner(&acme).await.unwrap().unwrap();
        partner.webhook.disabled
    };
    until(async || disabled().await.is_some()).await;
    assert!(disabled().await.unwrap().contains("410"));
    assert_eq!(endpoint.seen().len(), 1);
    assert_eq!(ledger.webhooks_size().await.unwrap(), 3);

    endpoint.then(Answer::Status(200));
    house
        .change(&acme, |partner| partner.webhook.disabled = None)
        .await;
    delivery.deliverer.wake();
    house.until_waiting(0).await;
    assert_eq!(house.dead_letters().await, []);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_never_tried_again() {
    let house = house().await;
    let target = Endpoint::start(Answer::Status(200)).await;
    let redirect = Answer::With(307, "location", target.url());
    let endpoint = Endpoint::start(redirect).await;
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let _delivery = Delivery::start(&house, quick());
    let dead = house.until_dead(1).await;
    assert!(dead[0].letter.reason.contains("307"));
    assert_eq!((endpoint.seen().len(), target.seen().len()), (1, 0));
    house.until_waiting(0).await;
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Endless(200)).await);
    let endpoint = endpoint.first([Answer::Endless(503)]);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 2).await;
    let delivery = Delivery::start(&house, quick());
    house.until_waiting(0).await;
    delivery.stop().await;
    assert_eq!(endpoint.seen().len(), 3);
    // What the two sides' socket buffers hold, not what could have been sent.
    assert!(endpoint.streamed() < 100 << 20, "{}", endpoint.streamed());
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_gets_it() {
    let house = house().await;
    let endpoint = Endpoint::start(Answer::Status(200)).await;
    let busy = Answer::With(429, "retry-after", "1".to_owned());
    let endpoint = endpoint.first([busy]);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let _delivery = Delivery::start(&house, quick());
    let seen = endpoint.until_seen(2).await;
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
    house.until_waiting(0).await;
}

#[tokio::test]
async fn a_webhook_nobody_takes_becomes_a_dead_letter_and_can_be_sent_again() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(500)).await);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let delivery = Delivery::start(&house, quick());
    let dead = house.until_dead(1).await;
    house.until_waiting(0).await;
    let letter = &dead[0].letter;
    assert_eq!(letter.attempts, 3);
    assert_eq!(letter.partner, Some(acme));
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(letter.payload, seen[0].body);
    assert_eq!(letter.subject, seen[0].header("webhook-id"));

    endpoint.then(Answer::Status(200));
    let (node, instance) = (&house.node, &house.node.instance);
    let filter = pabal_common::ledger::DeadLetterFilter {
        limit: 10,
        ..Default::default()
    };
    let outbox = instance.ids().outbox();
    let replay = node
        .ledger
        .replay(instance.id(), outbox, &filter, node.clock.now());
    assert_eq!(replay.await.unwrap().0, 1);
    delivery.deliverer.wake();
    let seen = endpoint.until_seen(4).await;
    assert_eq!(seen[3].header("webhook-id"), seen[0].header("webhook-id"));
    house.until_waiting(0).await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_tried_again_and_given_up() {
    let house = house().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", free.local_addr().unwrap());
    drop(free);
    let acme = house.partner("acme", Some(url)).await;
    house.results(&acme, 1).await;
    let _delivery = Delivery::start(&house, quick());
    let dead = house.until_dead(1).await;
    assert_eq!(dead[0].letter.attempts, 3);
    assert!(dead[0].letter.reason.contains("no connection"));
    assert!(!dead[0].letter.reason.contains("127.0.0.1"));
}

#[tokio::test]
async fn an_endpoint_that_answers_too_slowly_is_cut_off_and_tried_again() {
    let house = house().await;
    let endpoint = Endpoint::start(Answer::Status(200)).await;
    let endpoint = endpoint.first([Answer::Hang, Answer::Slow(Duration::from_secs(600))]);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let config = WebhookConfig {
        timeout: Duration::from_millis(200),
        ..quick()
    };
    let _delivery = Delivery::start(&house, config);
    endpoint.until_seen(3).await;
    house.until_waiting(0).await;
    assert_eq!(house.dead_letters().await, []);
}

#[tokio::test]
async fn a_name_or_literal_that_leads_into_the_house_is_never_called() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(200)).await);
    let port = endpoint.address.port();
    let name = house
        .partner("name", Some(format!("http://localhost:{port}/")))
        .await;
    let literal = house
        .partner(
            "literal",
            Some(format!("http://[::ffff:127.0.0.1]:{port}/")),
        )
        .await;
    house.results(&name, 1).await;
    house.results(&literal, 1).await;
    let config = WebhookConfig {
        addresses: AddressPolicy {
            allow_http: true,
            allow_loopback: false,
        },
        ..quick()
    };
    let _delivery = Delivery::start(&house, config);
    for dead in house.until_dead(2).await {
        assert_eq!(dead.letter.attempts, 1);
        assert_eq!(dead.letter.reason, "the endpoint's address is not allowed");
    }
    assert_eq!(endpoint.seen().len(), 0);
    house.until_waiting(0).await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(200)).await);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 30).await;
    let config = WebhookConfig {
        per_endpoint: 1,
        ..quick()
    };
    let _delivery = Delivery::start(&house, config);
    house.until_waiting(0).await;
    assert_eq!((endpoint.seen().len(), endpoint.connections()), (30, 1));
}

#[tokio::test]
async fn a_process_that_acts_as_dead_starts_nothing() {
    let (house, endpoint) = (house().await, Endpoint::start(Answer::Status(200)).await);
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    house.node.instance.leave().await;
    let delivery = Delivery::start(&house, quick());
    delivery.deliverer.wake();
    let seen = tokio::time::timeout(Duration::from_millis(300), endpoint.until_seen(1));
    assert!(seen.await.is_err());
}

#[tokio::test]
async fn on_shutdown_what_is_under_way_is_finished_and_recorded() {
    let house = house().await;
    let endpoint = Endpoint::start(Answer::Slow(Duration::from_millis(300))).await;
    let acme = house.partner("acme", Some(endpoint.url())).await;
    house.results(&acme, 1).await;
    let delivery = Delivery::start(&house, quick());
    endpoint.until_seen(1).await;
    delivery.stop().await;
    assert_eq!(house.node.ledger.webhooks_size().await.unwrap(), 0);
}
