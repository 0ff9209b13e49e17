//! One limit over several receivers. Measured by Redis's own clock, which is the one that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use pabal_common::quota::redis::RedisQuota;
use pabal_common::quota::{Quota, Room};

use crate::stack::{Keys, MESSAGE, client, partner, take, take_all, until};

const WINDOW: Duration = Duration::from_secs(4);
const RECEIVERS: usize = 3;
/// Callers at each receiver, who ask again as soon as they may.
const CALLERS: usize = 4;
/// How long callers sleep at most, and from one look at the limit to the next.
const NAP: Duration = Duration::from_millis(100);
/// How often a caller asks at most for what is left when the time is up.
const LAST_CALLS: u32 = 50;

/// What callers got who never stopped asking.
struct Measured {
    per_second: f64,
    /// Granted before the window, so that nothing was left.
    before: f64,
    granted: f64,
    /// What of all that a receiver gave out by itself, since Redis was slow.
    unasked: f64,
    /// What nobody had taken at the end.
    left: f64,
    /// The time from before the first request to after the last, and the window's alone.
    overall: f64,
    window: f64,
    /// When the callers were too slow for the limit, as on a machine with much else to do.
    slow: f64,
}

impl Measured {
    /// No more than a burst and the rate.
    fn is_kept(&self) {
        let most = self.per_second * (1.0 + 1.001 * self.overall);
        let all = self.before + self.granted - self.unasked;
        assert!(all <= most, "{all} granted, at most {most}");
    }

    /// Not much less than the rate: what callers on a busy machine were too slow to ask for is known
    /// only in part.
    fn is_used(&self) {
        let least = 0.9 * self.per_second * (self.window - self.slow) - 1.0;
        let all = self.granted + self.left;
        assert!(all >= least, "{all} granted, at least {least}");
    }
}

async fn measure(per_second: u32) -> Measured {
    let keys = Keys::new();
    let mut server = keys.server();
    let mut receivers = Vec::new();
    for _ in 0..RECEIVERS {
        let receiver = keys.connect().await;
        receiver.note_receivers(RECEIVERS);
        receivers.push(Arc::new(receiver));
    }
    let begun = now(&mut server);
    let before = take(&*receivers[0], "a", per_second, per_second).await;
    assert_eq!(before, Room::Granted);
    let opened = now(&mut server);
    let closing = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = receivers
        .iter()
        .flat_map(|receiver| std::iter::repeat_n(receiver, CALLERS))
        .map(|receiver| tokio::spawn(ask(Arc::clone(receiver), Arc::clone(&closing), per_second)))
        .collect();
    let rate = f64::from(per_second);
    let key = keys.key("rate:a:messages");
    let (mut closed, mut slow, mut left) = (opened, Duration::ZERO, 0.0);
    while closed < opened + WINDOW {
        tokio::time::sleep(NAP).await;
        let looked = now(&mut server);
        left = rate * room(&mut server, &key);
        if left > rate / 2.0 {
            // A second's worth may have been lost with it.
            slow += looked - closed + Duration::from_secs(1);
        }
        closed = looked;
    }
    closing.store(true, Ordering::SeqCst);
    let mut granted = 0;
    for caller in callers {
        granted += caller.await.unwrap();
    }
    Measured {
        per_second: rate,
        before: rate,
        granted: f64::from(granted),
        unasked: 0.0,
        left,
        overall: (now(&mut server) - begun).as_secs_f64(),
        window: (closed - opened).as_secs_f64(),
        slow: slow.as_secs_f64(),
    }
}

/// Asks for one after the other until the time is up, and then for what is left.
async fn ask(receiver: Arc<RedisQuota>, closing: Arc<AtomicBool>, per_second: u32) -> u32 {
    let (mut granted, mut last_calls) = (0, LAST_CALLS);
    while last_calls > 0 {
        let is_closing = closing.load(Ordering::SeqCst);
        last_calls -= u32::from(is_closing);
        match take(&*receiver, "a", per_second, 1).await {
            Room::Granted => granted += 1,
            Room::Wait(_) if is_closing => break,
            Room::Wait(wait) => tokio::time::sleep(wait.min(NAP)).await,
            Room::TooMany => panic!("one is not too many"),
        }
    }
    granted
}

fn now(server: &mut redis::Connection) -> Duration {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(server).unwrap();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// The part of a second's worth that may be taken now.
fn room(server: &mut redis::Connection, key: &str) -> f64 {
    let paid_at: Option<f64> = redis::cmd("GET").arg(key).query(server).unwrap();
    let now = now(server).as_secs_f64();
    paid_at.map_or(1.0, |micros| (1.0 + now - micros / 1e6).clamp(0.0, 1.0))
}

/// Measures on this thread alone, whose metrics are the test's own.
fn measured(per_second: u32) -> Measured {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let measuring = measure(per_second);
    let mut measured = metrics::with_local_recorder(&recorder, || runtime.block_on(measuring));
    let metrics = recorder.handle().render();
    let unasked = metrics
        .lines()
        .find_map(|line| line.strip_prefix("pabal_quota_unasked_total "));
    measured.unasked = unasked.map_or(0.0, |items| items.parse().unwrap());
    measured
}

#[test]
fn three_receivers_share_a_thousand_a_second() {
    let measured = measured(1000);
    measured.is_kept();
    measured.is_used();
}

#[test]
fn three_receivers_share_ten_a_second() {
    let measured = measured(10);
    measured.is_kept();
    measured.is_used();
}

#[tokio::test]
async fn a_receiver_that_falls_silent_keeps_nothing_from_the_others() {
    let keys = Keys::new();
    let (silent, other) = (keys.connect().await, keys.connect().await);
    let mut server = keys.server();
    let begun = now(&mut server);
    for _ in 0..50 {
        assert_eq!(take(&silent, "a", 200, 1).await, Room::Granted);
    }
    let granted = take_all(&other, "a", 200).await;
    let most = 150.0 + 200.0 * (now(&mut server) - begun).as_secs_f64();
    // A lease is 20 ms of the rate.
    assert!(granted >= 146, "{granted}");
    assert!(f64::from(granted) <= most + 1.0, "{granted} of {most}");
}

#[tokio::test]
async fn at_a_low_rate_each_request_takes_what_it_needs_and_no_more() {
    let keys = Keys::new();
    let (one, other) = (keys.connect().await, keys.connect().await);
    for _ in 0..4 {
        assert_eq!(take(&one, "a", 10, 1).await, Room::Granted);
    }
    for _ in 0..6 {
        assert_eq!(take(&other, "a", 10, 1).await, Room::Granted);
    }
}

#[tokio::test]
async fn a_batch_at_one_receiver_leaves_the_others_the_rest() {
    let keys = Keys::new();
    let (one, other) = (keys.connect().await, keys.connect().await);
    assert_eq!(take(&one, "a", 10, 10).await, Room::Granted);
    assert!(matches!(take(&other, "a", 10, 10).await, Room::Wait(_)));
}

#[tokio::test]
async fn a_batch_that_has_to_wait_takes_nothing_from_the_others_meanwhile() {
    let keys = Keys::new();
    let (one, other) = (keys.connect().await, keys.connect().await);
    assert_eq!(take(&one, "a", 10, 10).await, Room::Granted);
    until("room for the other", async || {
        take(&one, "a", 10, 10).await;
        take(&other, "a", 10, 5).await == Room::Granted
    })
    .await;
}

#[tokio::test]
async fn what_one_receiver_accepted_another_recalls_until_redis_forgets() {
    let keys = Keys::new();
    let (one, other) = (keys.connect().await, keys.connect().await);
    one.remember(&partner("a"), &client("m-1"), MESSAGE).await;
    until("recalled", async || {
        other.recall(&partner("a"), &client("m-1")).await == Some(MESSAGE)
    })
    .await;
    keys.delete();
    assert_eq!(one.recall(&partner("a"), &client("m-1")).await, None);
    assert_eq!(other.recall(&partner("a"), &client("m-1")).await, None);
}

#[tokio::test]
async fn every_key_goes_by_itself() {
    let keys = Keys::new();
    let quota = keys.connect().await;
    take(&quota, "a", 10, 5).await;
    quota.remember(&partner("a"), &client("m-1"), MESSAGE).await;
    until("recalled", async || {
        quota.recall(&partner("a"), &client("m-1")).await.is_some()
    })
    .await;
    let mut server = keys.server();
    for key in keys.all(&mut server) {
        let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut server).unwrap();
        // -2: it has gone already.
        assert!(left == -2 || (0..=600_000).contains(&left), "{key}: {left}");
        assert!(key.len() < 128, "{key}");
    }
}

#[tokio::test]
async fn what_stands_wrongly_under_a_key_does_no_harm() {
    let keys = Keys::new();
    let quota = keys.connect().await;
    let mut server = keys.server();
    let rate = keys.key("rate:a:messages");
    for wrong in ["", "x", "nan", "-inf", "inf", "9e300", "9000000000000000"] {
        redis::cmd("SET")
            .arg(&rate)
            .arg(wrong)
            .exec(&mut server)
            .unwrap();
        until(wrong, async || {
            let room = take(&quota, "a", 1000, 1).await;
            let kept: Option<String> = redis::cmd("GET").arg(&rate).query(&mut server).unwrap();
            room == Room::Granted && kept.as_deref() != Some(wrong)
        })
        .await;
    }
    redis::cmd("DEL").arg(&rate).exec(&mut server).unwrap();
    let mut list = redis::cmd("RPUSH");
    list.arg(&rate).arg("x").exec(&mut server).unwrap();
    until("list", async || {
        take(&quota, "a", 1000, 20).await == Room::Granted
    })
    .await;

    quota.remember(&partner("a"), &client("m-1"), MESSAGE).await;
    until("recalled", async || {
        quota.recall(&partner("a"), &client("m-1")).await.is_some()
    })
    .await;
    let found = keys.all(&mut server);
    let accepted = found.iter().find(|key| key.contains("accepted:a:"));
    let accepted = accepted.unwrap();
    for wrong in [
        &b""[..],
        b"0000",
        b"\xff\xfe",
        b"G000000000000",
        &[b'0'; 4096],
    ] {
        redis::cmd("SET")
            .arg(accepted)
            .arg(wrong)
            .exec(&mut server)
            .unwrap();
        assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
    }
    redis::cmd("DEL").arg(accepted).exec(&mut server).unwrap();
    let mut list = redis::cmd("RPUSH");
    list.arg(accepted).arg("x").exec(&mut server).unwrap();
    assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
    assert_eq!(quota.check().await, Ok(()), "Redis itself is well");
}
