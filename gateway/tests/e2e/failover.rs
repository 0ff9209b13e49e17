//! Two vendors for one type, and one of them dies.

use std::collections::BTreeMap;
use std::sync::Arc;

use pabal_common::domain::phase::Phase;
use pabal_common::domain::report::VendorAccount;
use pabal_simulator::{Family, Simulator, SimulatorConfig};
use tokio_util::sync::CancellationToken;

use crate::api::{batch, sms};
use crate::house::House;
use crate::wait::eventually;

/// A vendor of its own, whose account is `carrier/<name>`.
async fn vendor(name: &str, stop: &CancellationToken) -> Arc<Simulator> {
    let mut config = SimulatorConfig::of(&[Family::Carrier]);
    config.account_mut(Family::Carrier).account = VendorAccount::new("carrier", name);
    let simulator = Simulator::start(config, stop.clone()).await;
    Arc::new(simulator.unwrap())
}

/// An account at a vendor, and the route to it.
fn tables(name: &str, priority: u32, vendor: &Simulator) -> String {
    let base = vendor.base_url(Family::Carrier).unwrap();
    format!(
        r#"
        [[account]]
        protocol = "carrier"
        name = "{name}"
        base_url = "{base}"
        api_key = "simulator-key"
        callback_secret = "simulator-secret"

        [[route]]
        name = "{name}"
        account = "carrier/{name}"
        kinds = ["SMS"]
        priority = {priority}
        tps = 2000
        concurrency = 8
        "#
    )
}

/// How often each message was taken, over all vendors.
fn taken(vendors: &[&Simulator]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for one in vendors.iter().flat_map(|vendor| vendor.taken()) {
        *times.entry(one.message.to_string()).or_default() += 1;
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_moves_from_a_vendor_that_dies_under_load_and_nothing_is_lost_or_sent_twice() {
    const AT_A_TIME: usize = 50;

    let stop = CancellationToken::new();
    let (first, second) = (vendor("first", &stop).await, vendor("second", &stop).await);
    let file = tables("first", 1, &first) + &tables("second", 2, &second);
    let settings = [
        ("simulator.enabled", "false"),
        ("webhooks.allow_loopback", "true"),
    ];
    let house = House::open_with_file(&settings, Some(file)).await;
    for vendor in [&first, &second] {
        vendor.set_callback_base(&house.base());
    }
    let partner = house.partner("shop").await;
    let send = async |round: usize| {
        let messages = (0..AT_A_TIME).map(|n| sms(&format!("order-{round}-{n}")));
        house.accept_batch(&partner, &batch(messages)).await
    };

    let mut ids = send(0).await;
    eventually(async || match first.taken_count() {
        AT_A_TIME => Ok(()),
        few => Err(few),
    })
    .await;
    assert_eq!(second.taken_count(), 0, "the first has the lower number");

    // It dies while messages come.
    let (_, during) = tokio::join!(
        async { first.door(Family::Carrier).unwrap().shut().await },
        async {
            let mut during = Vec::new();
            for round in 1..6 {
                during.extend(send(round).await);
            }
            during
        }
    );
    let at_its_death = first.taken_count();
    ids.extend(during);
    // What came after is with the other before anything else is asked of the dead one.
    let after = send(6).await;
    for id in &after {
        eventually(async || match house.view(id).await {
            view if view.phase == Phase::Done => Ok(()),
            view => Err(view),
        })
        .await;
        assert_eq!(house.view(id).await.route.as_deref(), Some("second"));
    }
    ids.extend(after);

    for id in &ids {
        assert_eq!(house.result(&partner, id).await["status"], "DELIVERED");
    }
    let times = taken(&[&first, &second]);
    assert_eq!(times.len(), ids.len(), "every message, and no other");
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(first.taken_count(), at_its_death);
    for vendor in [&first, &second] {
        assert_eq!(vendor.duplicates(), []);
    }
    house.close().await;
    stop.cancel();
}
