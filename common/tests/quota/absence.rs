//! Redis goes away, hangs, forgets, and comes back.

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, Instant};

use futures::future::{FutureExt, join_all};
use metrics_exporter_prometheus::PrometheusBuilder;
use pabal_common::quota::redis::RedisQuota;
use pabal_common::quota::{Meter, Quota, QuotaError, Room};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::server::Server;
use crate::stack::{DEADLINE, MESSAGE, client, config, partner, take, take_all, until};

/// For many requests together, none of which may wait for a Redis that is away.
const SOON: Duration = Duration::from_secs(10);

async fn until_there(quota: &RedisQuota) {
    until("there", async || quota.check().await.is_ok()).await;
}

async fn until_away(quota: &RedisQuota) {
    until("away", async || quota.check().await.is_err()).await;
}

/// Waits until this partner's limit is counted by the server.
async fn until_counted(quota: &RedisQuota, server: &Server, name: &str) {
    let key = format!("t:rate:{name}:messages");
    until("counted", async || {
        take(quota, name, 5, 5).await;
        server.tell::<u8>(&["EXISTS", &key]) == 1
    })
    .await;
}

#[tokio::test]
async fn not_every_request_costs_a_round_trip() {
    let server = Server::start();
    let quota = server.connect().await;
    let before = server.calls();
    for _ in 0..5_000 {
        assert_eq!(take(&quota, "a", 10_000, 1).await, Room::Granted);
    }
    let calls = server.calls() - before;
    assert!(calls <= 500, "{calls} calls for 5000 requests");
}

#[tokio::test]
async fn who_goes_first_is_seldom_asked_within_the_fair_share_and_beyond_it() {
    let server = Server::start();
    let quota = server.connect().await;
    let partner = partner("a");
    let fair = || quota.take(&partner, Meter::Fair, 200, 1);
    let before = server.calls();
    for _ in 0..150 {
        assert_eq!(fair().await, Room::Granted);
    }
    let calls = server.calls() - before;
    assert!(calls <= 15, "{calls} calls for 150 requests");
    while fair().await == Room::Granted {}
    let (before, mut granted) = (server.calls(), 0);
    for _ in 0..5_000 {
        granted += u64::from(fair().await == Room::Granted);
    }
    // Only when there may be room again is Redis asked.
    let calls = server.calls() - before;
    assert!(calls <= 3 * granted + 3, "{calls} calls, {granted} granted");
}

#[tokio::test]
async fn a_lease_that_was_not_used_in_time_is_gone() {
    let server = Server::start();
    let quota = server.connect().await;
    for _ in 0..50 {
        take(&quota, "a", 10_000, 1).await;
    }
    tokio::time::sleep(Duration::from_millis(101)).await;
    let before = server.calls();
    take(&quota, "a", 10_000, 1).await;
    assert!(server.calls() > before, "it was met from what is too old");
}

#[tokio::test]
async fn a_crowd_goes_together() {
    let server = Server::start();
    let quota = server.connect().await;
    let before = server.calls();
    let crowd = join_all((0..500).map(|_| take(&quota, "a", 1000, 1))).await;
    assert!(crowd.iter().all(|&room| room == Room::Granted));
    let calls = server.calls() - before;
    assert!(calls <= 5, "{calls} calls for 500 requests");
}

#[tokio::test]
async fn a_partner_beyond_its_limit_is_refused_without_asking() {
    let server = Server::start();
    let quota = server.connect().await;
    assert_eq!(take(&quota, "a", 1, 1).await, Room::Granted);
    let before = server.calls();
    let mut granted = 0;
    for _ in 0..100 {
        granted += u64::from(take(&quota, "a", 1, 1).await == Room::Granted);
    }
    // None, unless the second has passed meanwhile.
    assert!(server.calls() - before <= 3 * granted);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_room_and_nobody_waiting() {
    let server = Server::start();
    let quota = server.connect().await;
    for name in ["a", "b", "c"] {
        let gone = take(&quota, name, 10, 10).now_or_never();
        assert_eq!(gone, None, "it has its answer already");
        assert_eq!(take(&quota, name, 10, 10).await, Room::Granted);
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let server = Server::start();
    let quota = server.connect().await;
    assert_eq!(take(&quota, "a", 5, 5).await, Room::Granted);
    server.tell::<()>(&["SCRIPT", "FLUSH"]);
    until_counted(&quota, &server, "b").await;
    until_there(&quota).await;
}

#[tokio::test]
async fn a_server_that_forgot_everything_counts_anew() {
    let server = Server::start();
    let quota = server.connect().await;
    quota.remember(&partner("a"), &client("m-1"), MESSAGE).await;
    until("recalled", async || {
        quota.recall(&partner("a"), &client("m-1")).await.is_some()
    })
    .await;
    assert_eq!(take(&quota, "a", 10, 10).await, Room::Granted);
    server.tell::<()>(&["FLUSHALL"]);
    assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
    until_counted(&quota, &server, "a").await;
}

#[tokio::test]
async fn without_redis_each_receiver_gives_out_its_share_until_it_is_back() {
    let mut server = Server::start();
    let quota = server.connect().await;
    quota.note_receivers(2);
    server.kill();
    for _ in 0..20 {
        assert_eq!(take(&quota, "a", 1000, 1).await, Room::Granted);
    }
    until_away(&quota).await;
    let error = quota.check().await;
    assert!(
        matches!(error, Err(QuotaError::Unavailable(_))),
        "{error:?}"
    );
    assert_eq!(take(&quota, "b", 2, 1).await, Room::Granted);
    assert!(matches!(take(&quota, "b", 2, 1).await, Room::Wait(_)));
    assert_eq!(take(&quota, "c", 1000, 1000).await, Room::Granted);
    assert_eq!(take(&quota, "c", 1000, 1001).await, Room::TooMany);
    quota.remember(&partner("a"), &client("m-1"), MESSAGE).await;
    assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);

    server.run();
    until_there(&quota).await;
    until_counted(&quota, &server, "d").await;
}

#[tokio::test]
async fn a_limit_does_not_begin_anew_when_redis_goes() {
    let mut server = Server::start();
    let quota = server.connect().await;
    let started = Instant::now();
    assert_eq!(take(&quota, "a", 10, 10).await, Room::Granted);
    server.kill();
    assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
    until_away(&quota).await;
    let granted = take_all(&quota, "a", 10).await;
    let most = 10.0 * started.elapsed().as_secs_f64() + 1.0;
    assert!(f64::from(granted) <= most, "{granted} of {most}");
}

#[tokio::test]
async fn a_redis_that_comes_later_counts_from_then_on() {
    let mut server = Server::start();
    server.kill();
    let quota = RedisQuota::start(server.config()).unwrap();
    assert_eq!(take(&quota, "a", 5, 5).await, Room::Granted);
    let error = quota.check().await;
    assert!(
        matches!(error, Err(QuotaError::Unavailable(_))),
        "{error:?}"
    );
    server.run();
    until_there(&quota).await;
    until_counted(&quota, &server, "b").await;
}

#[tokio::test]
async fn a_redis_that_takes_connections_and_never_answers_delays_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let silence = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let quota = RedisQuota::start(config(&url, "t:")).unwrap();
    let many = async {
        for _ in 0..500 {
            assert_eq!(take(&quota, "a", 1000, 1).await, Room::Granted);
            assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
        }
    };
    timeout(SOON, many).await.expect("nobody waits for it");
    let error = timeout(DEADLINE, quota.check()).await.unwrap();
    assert!(
        matches!(error, Err(QuotaError::Unavailable(_))),
        "{error:?}"
    );
    silence.abort();
}

#[tokio::test]
async fn a_redis_that_hangs_delays_a_request_once_and_counts_again_afterwards() {
    let server = Server::start();
    let quota = server.connect().await;
    assert_eq!(take(&quota, "a", 5, 1).await, Room::Granted);
    server.freeze();
    let many = async {
        for _ in 0..500 {
            assert_eq!(take(&quota, "b", 1000, 1).await, Room::Granted);
            assert_eq!(quota.recall(&partner("a"), &client("m-1")).await, None);
            quota.remember(&partner("a"), &client("m-1"), MESSAGE).await;
        }
    };
    timeout(SOON, many)
        .await
        .expect("at most a few wait for it");
    assert!(quota.check().await.is_err());
    server.thaw();
    until_there(&quota).await;
    until_counted(&quota, &server, "c").await;
}

#[tokio::test]
async fn what_was_given_out_without_redis_is_told_to_it() {
    let mut server = Server::start();
    let quota = server.connect().await;
    server.kill();
    until_away(&quota).await;
    server.run();
    until("there", async || {
        let is_there = quota.check().await.is_ok();
        if !is_there {
            take(&quota, "a", 1000, 500).await;
        }
        is_there
    })
    .await;
    until("told", async || {
        take(&quota, "a", 1000, 1).await;
        server.tell::<u8>(&["EXISTS", "t:rate:a:messages"]) == 1
    })
    .await;
    let paid_at: f64 = server.tell(&["GET", "t:rate:a:messages"]);
    let (seconds, micros): (f64, f64) = server.tell(&["TIME"]);
    let open = (paid_at - seconds * 1e6 - micros) / 1e6;
    assert!(open > 0.1, "{open} s of the limit are open");
}

thread_local! {
    /// What this thread logged. A test with a runtime of one thread has it for itself.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was told, in order: whether Redis counts.
fn told() -> Vec<bool> {
    let text = LOG.with_borrow(|log| String::from_utf8(log.clone()).unwrap());
    let of_redis = text.lines().filter(|line| line.contains("Redis"));
    of_redis
        .map(|line| !line.contains("does not count"))
        .collect()
}

#[test]
fn each_change_is_told_once_and_seen_in_the_metrics() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // For the whole process: a line first met by a thread without a subscriber would stay off.
    let subscriber = tracing_subscriber::fmt().with_writer(|| Log).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let degraded = |is: u8| {
        metrics
            .render()
            .contains(&format!("pabal_quota_degraded {is}"))
    };
    let changes = async {
        let mut server = Server::start();
        let quota = server.connect().await;
        assert!(degraded(0));
        server.kill();
        until_away(&quota).await;
        for _ in 0..100 {
            take(&quota, "a", 1000, 1).await;
        }
        assert!(degraded(1));
        server.run();
        until_there(&quota).await;
        assert!(degraded(0));
        let told = told();
        assert!(told.len() >= 3, "{told:?}");
        // Never the same twice.
        assert!(
            told.iter()
                .zip([true, false].iter().cycle())
                .all(|(is, told)| is == told)
        );
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(changes));
}
