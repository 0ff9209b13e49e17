//! Webhook endpoints at addresses that partners have no business with.

use std::sync::Arc;

use pabal_simulator::{Family, Simulator, SimulatorConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::sms;
use crate::endpoint::Endpoint;
use crate::endpoints::{dead_letters, others_are_told};
use crate::house::House;
use crate::partner::Partner;
use crate::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_the_house_is_never_called() {
    let house = House::open(&[("query.replays_per_minute", "10000")]).await;
    let other = house.partner("other").await;
    let addresses = [
        "http://10.0.0.1/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:192.168.0.1]/hook",
        "https://0x0a000001/hook",
        "http://shop.example/hook",
        "ftp://shop.example/hook",
        "not an address",
    ];
    let mut partners = Vec::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let name = format!("shop-{place}");
        let partner = house
            .partner_with(&name, Endpoint::start(), |application| {
                application.webhook_url = Some(address.to_owned());
            })
            .await;
        house.accept(&partner, &sms("order-1")).await;
        partners.push((address, partner));
    }
    others_are_told(&house, &other, "meanwhile").await;
    for (address, partner) in &partners {
        let letters = dead_letters(&house, partner, 1).await;
        assert_eq!(letters[0]["attempts"], 1, "{address}: {letters:?}");
        let reason = letters[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("the endpoint's "), "{address}: {reason}");
        assert!(
            !reason.contains("10."),
            "our network is nobody's business: {reason}"
        );
        let url = partner.endpoint.url();
        house
            .change(partner, |row| row.webhook.url = Some(url))
            .await;
    }
    // With the URL set right, nothing is lost.
    for (_, partner) in &partners {
        let letters = dead_letters(&house, partner, 1).await;
        replay_until_taken(&house, partner, &letters).await;
    }
    house.close().await;
}

/// A URL that was changed may go unseen for two seconds, so a replay may come too early.
async fn replay_until_taken(house: &House, partner: &Partner, letters: &[Value]) {
    let request = json!({"ids": [letters[0]["id"]]});
    let message = letters[0]["body"]["events"][0]["messageId"]
        .as_str()
        .unwrap();
    eventually(async || {
        house
            .post(partner, "/v1/webhooks/dead-letters/replay", &request)
            .await;
        house.all_told().await;
        let told = partner.told();
        if told.iter().any(|event| event["messageId"] == message) {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
}

/// The carriers' simulator as somebody else's process: the gateway then believes itself in
/// production, where an endpoint on its own machine is as forbidden as any other inside the house.
async fn vendor_elsewhere(stop: &CancellationToken) -> (Arc<Simulator>, String) {
    let simulator = Simulator::start(SimulatorConfig::default(), stop.clone())
        .await
        .unwrap();
    let file = format!(
        r#"
        [[account]]
        protocol = "carrier"
        name = "main"
        base_url = "{}"
        api_key = "simulator-key"
        callback_secret = "simulator-secret"

        [[route]]
        name = "carrier-a"
        account = "carrier/main"
        kinds = ["SMS"]
        tps = 100
        concurrency = 4
        "#,
        simulator.base_url(Family::Carrier).unwrap()
    );
    (Arc::new(simulator), file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_into_the_house_is_never_called() {
    let stop = CancellationToken::new();
    let (simulator, file) = vendor_elsewhere(&stop).await;
    let settings = [
        ("simulator.enabled", "false"),
        ("webhooks.allow_http", "true"),
    ];
    let house = House::open_with_file(&settings, Some(file)).await;
    simulator.set_callback_base(&house.base());
    let mut partners = Vec::new();
    for (place, host) in ["localhost", "hooks.localhost", "LOCALHOST."]
        .into_iter()
        .enumerate()
    {
        let endpoint = Endpoint::start();
        let url = endpoint.url_at(host);
        let name = format!("shop-{place}");
        let partner = house
            .partner_with(&name, endpoint, |application| {
                application.webhook_url = Some(url)
            })
            .await;
        house.accept(&partner, &sms("order-1")).await;
        partners.push(partner);
    }
    for partner in &partners {
        let letters = dead_letters(&house, partner, 1).await;
        assert_eq!(letters[0]["attempts"], 1, "{letters:?}");
        assert_eq!(
            letters[0]["reason"],
            "the endpoint's address is not allowed"
        );
        assert!(partner.endpoint.seen().is_empty());
    }
    assert_eq!(
        (simulator.taken_count(), simulator.duplicates()),
        (3, vec![])
    );
    house.close().await;
    stop.cancel();
}
