//! Two of a service do in the background what one alone would do, and none of it twice.

use std::time::Duration;

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_gateway::trial::site::Partner;
use serde_json::Value;

use crate::partner::{accept, brand_message, sms};
use crate::process::Process;
use crate::wait::until;
use crate::world::{Tempo, World};

/// Longer than messages are kept.
const DAYS: u32 = 100;
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_webhook_receivers_one_polls_and_when_it_dies_the_other() {
    let world = World::new(Tempo::Quick).await;
    let rest = [("receiver", 0), ("sender", 0), ("reporter", 0)];
    let rest = world.run(&rest).await;
    let pollers = [("webhook-receiver", 0), ("webhook-receiver", 1)];
    let mut pollers = world.run(&pollers).await;
    let partner = world.partner().await;
    let send = async |name: &str| {
        let messages: Vec<_> = (0..80)
            .map(|n| brand_message(&format!("{name}-{n}")))
            .collect();
        accept(&world, &partner, &rest[0].base, &messages).await
    };
    send("both").await;
    told(&partner, 80).await;
    assert_eq!(
        polled(&pollers[0]).await + polled(&pollers[1]).await,
        80,
        "each report was polled once"
    );
    let polling = pollers.iter().position(polls).unwrap();
    assert!(!polls(&pollers[1 - polling]), "one polls");
    pollers[polling].kill();
    let other = &pollers[1 - polling];
    send("one").await;
    told(&partner, 160).await;
    assert!(polls(other));
    let memory = partner.endpoint.memory();
    assert!(memory.faults.is_empty(), "{:?}", memory.faults);
    assert!(
        memory
            .results
            .values()
            .all(|told| told.status == "DELIVERED")
    );
    let books = world.pabal(&["reconcile"]);
    assert!(books.status.success(), "{books:?}");
}

fn polls(process: &Process) -> bool {
    process.said().contains("polling this vendor account")
}

/// How many reports a webhook receiver has polled.
async fn polled(process: &Process) -> u64 {
    let answer = reqwest::get(format!("{}/metrics", process.base)).await;
    let text = answer.unwrap().text().await.unwrap();
    text.lines()
        .filter(|line| line.starts_with("pabal_vendor_reports") && line.contains("kakao/main"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

async fn told(partner: &Partner, messages: usize) {
    until("the partner was told of every message", async || {
        (partner.endpoint.taken() == messages).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reporters_end_overdue_messages_and_delete_old_ones_and_count_each_once() {
    const MESSAGES: usize = 700;
    let world = World::new(Tempo::Quick).await;
    let rest = [("receiver", 0), ("sender", 0), ("webhook-receiver", 0)];
    let rest = world.run(&rest).await;
    let settings = [
        "reporter.retention_period=1s".to_owned(),
        "reporter.sms_deadline=2s".to_owned(),
    ];
    let mut reporters = [0, 1].map(|number| world.start_with("reporter", number, &settings));
    for reporter in &mut reporters {
        reporter.ready().await;
    }
    let partner = world.partner().await;
    // Taken, and never reported.
    let messages: Vec<_> = (0..MESSAGES)
        .map(|n| sms(&format!("old-{n}"), 73))
        .collect();
    let ids = accept(&world, &partner, &rest[0].base, &messages).await;
    told(&partner, MESSAGES).await;
    let memory = partner.endpoint.memory();
    assert!(memory.faults.is_empty(), "{:?}", memory.faults);
    assert!(ids.iter().all(|id| memory.results[id].status == "EXPIRED"));
    let all = u64::try_from(MESSAGES).unwrap();
    assert_eq!(totals(&world, &partner, 0).await, (all, all, false));

    // Everything is as if it had happened long ago.
    let millis = u128::from(DAYS) * DAY.as_millis();
    let then = format!(
        "date_format(date_sub(str_to_date(stat_date, '%Y%m%d'), INTERVAL {DAYS} DAY), '%Y%m%d')"
    );
    world
        .ground
        .run(&[
            &format!("UPDATE messages SET created_at = created_at - {millis}"),
            &format!("UPDATE partner_daily_stats SET stat_date = {then}"),
            &format!("UPDATE partner_daily_accepted SET stat_date = {then}"),
        ])
        .await;
    until("every old message is deleted", async || {
        let left = world.ground.number("SELECT count(*) FROM messages").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(totals(&world, &partner, DAYS).await, (all, all, true));
    let books = world.pabal(&["reconcile"]);
    assert!(books.status.success(), "{books:?}");
    assert_eq!(partner.endpoint.taken(), MESSAGES);
}

/// Of the days around the one so long ago: total, expired, and whether they are final.
async fn totals(world: &World, partner: &Partner, days: u32) -> (u64, u64, bool) {
    let day = SystemClock.now().minus(DAY * days);
    let (from, to) = (day.minus(DAY).kst_day(), day.plus(DAY).kst_day());
    let base = &world.site.reporters[0];
    let path = format!("{base}/v1/stats/daily?from={from}&to={to}");
    let request = world.site.client.get(path).bearer_auth(&partner.token);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let rows = answer["items"].as_array().unwrap();
    let sum = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum();
    let are_final = rows.iter().all(|row| row["final"] == true);
    (sum("total"), sum("expired"), are_final)
}
