use pabal_common::clock::Clock as _;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::phase::Phase;
use pabal_provider::config::RouteTable;

use super::*;
use crate::fake::House;

/// What the house's one route is, with another rate.
fn definition(change: impl FnOnce(&mut RouteTable)) -> String {
    let mut table = RouteTable {
        name: "sms-a".to_owned(),
        account: "fake/main".to_owned(),
        kinds: vec![pabal_common::domain::kind::MessageType::Sms],
        weight: 1,
        priority: 1,
        tps: 1_000,
        concurrency: 4,
        partners: BTreeSet::new(),
        prefixes: BTreeSet::new(),
        limits: Default::default(),
    };
    change(&mut table);
    serde_json::to_string(&table).unwrap()
}

async fn following(house: &House) -> Following {
    Following::begin(Arc::clone(&house.desk), &CancellationToken::new()).await
}

async fn phase(house: &House, id: MessageId) -> Phase {
    house.view(id).await.phase
}

fn rates(house: &House) -> Vec<(String, u32)> {
    let routes = house.desk.routes.routes();
    let rate =
        |route: &Arc<pabal_provider::route::Route>| (route.name().to_owned(), route.spec().tps());
    routes.iter().map(rate).collect()
}

#[tokio::test]
async fn a_route_that_was_paused_before_the_start_carries_nothing_until_it_is_resumed() {
    let house = House::open(1_000, false).await;
    let (ledger, now) = (&house.desk.node.ledger, house.clock.now());
    ledger.pause_route("sms-a", true, now).await.unwrap();
    let mut following = following(&house).await;
    let id = house.accept("text").await;
    assert!(!house.carry(&[id]).await, "its frame goes back");
    assert_eq!(phase(&house, id).await, Phase::Queued);
    ledger.pause_route("sms-a", false, now).await.unwrap();
    following.follow().await.unwrap();
    assert!(house.carry(&[id]).await);
    assert_eq!(phase(&house, id).await, Phase::Answered);
}

#[tokio::test]
async fn routes_that_are_set_replace_the_files_and_give_way_to_them_again() {
    let house = House::open(1_000, false).await;
    let (ledger, now) = (&house.desk.node.ledger, house.clock.now());
    let mut following = following(&house).await;
    let set = |name: &'static str, tps: u32| {
        let definition = definition(|route| route.tps = tps);
        async move { ledger.set_route(name, &definition, now).await.unwrap() }
    };
    set("sms-a", 7).await;
    set("sms-b", 8).await;
    following.follow().await.unwrap();
    let both = [("sms-a".to_owned(), 7), ("sms-b".to_owned(), 8)];
    assert_eq!(rates(&house), both);
    for name in ["sms-a", "sms-b"] {
        ledger.forget_route(name).await.unwrap();
    }
    following.follow().await.unwrap();
    assert_eq!(rates(&house), [("sms-a".to_owned(), 1_000)]);
}

#[tokio::test]
async fn what_this_sender_cannot_use_leaves_the_files_route() {
    let house = House::open(1_000, false).await;
    let (ledger, now) = (&house.desk.node.ledger, house.clock.now());
    let mut following = following(&house).await;
    let elsewhere = definition(|route| route.account = "fake/other".to_owned());
    ledger.set_route("sms-a", &elsewhere, now).await.unwrap();
    ledger.set_route("sms-b", "{}", now).await.unwrap();
    following.follow().await.unwrap();
    assert_eq!(rates(&house), [("sms-a".to_owned(), 1_000)]);
}

#[tokio::test]
async fn a_message_that_no_route_carries_waits_unclaimed_and_ever_longer() {
    let house = House::open(1_000, false).await;
    let (ledger, start) = (&house.desk.node.ledger, house.clock.now());
    let banks = definition(|route| route.partners = BTreeSet::from(["bank".parse().unwrap()]));
    ledger.set_route("sms-a", &banks, start).await.unwrap();
    let _following = following(&house).await;
    let id = house.accept("text").await;
    house.clock.advance(Duration::from_secs(20));
    assert!(house.carry(&[id]).await);
    assert_eq!(phase(&house, id).await, Phase::Waiting);
    assert_eq!(house.events(id).await, ["HELD"]);
    let due = ledger
        .next_due(&[pabal_common::domain::kind::MessageType::Sms])
        .await
        .unwrap();
    assert_eq!(due, Some(start.plus(Duration::from_secs(40))));
}

#[tokio::test]
async fn of_one_frame_each_message_takes_a_route_that_carries_it() {
    let house = House::open(1_000, false).await;
    let (ledger, now) = (&house.desk.node.ledger, house.clock.now());
    let short = |most: usize| {
        definition(|route| {
            route
                .limits
                .extend(route.kinds.iter().map(|kind| (*kind, most)));
        })
    };
    ledger.set_route("sms-a", &short(8), now).await.unwrap();
    ledger.set_route("sms-b", &short(4), now).await.unwrap();
    let _following = following(&house).await;
    let texts = ["abc", "abcdef", "abcdefghi", "abcdefg"];
    let mut ids = Vec::new();
    for text in texts {
        ids.push(house.accept(text).await);
    }
    assert!(house.carry(&ids).await);
    let mut taken = Vec::new();
    for id in ids {
        let view = house.view(id).await;
        taken.push((view.phase, view.route));
    }
    let on_a = (Phase::Answered, Some("sms-a".to_owned()));
    assert_eq!(taken[1], on_a);
    assert_eq!(taken[3], on_a);
    assert_eq!(taken[0].0, Phase::Answered);
    assert_eq!(taken[2], (Phase::Waiting, None), "longer than any of them");
}
