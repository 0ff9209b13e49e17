//! What only a broker on a server can suffer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pabal_common::broker::rabbit::{RabbitBroker, RabbitConfig};
use pabal_common::broker::{
    Broker as _, BrokerError, FRAME_VERSION, FrameError, FrameVersion, Member, Publication,
    QueueName, SendFrame,
};
use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;

use crate::proxy::{Confirms, Passing, Proxy};
use crate::server::Server;
use crate::spans::{Spans, traceparent_before};
use crate::stack::{RCS, SMS, frame, in_time, next, take, text, texts, until_dead, until_ready};

/// A server, a proxy before it, a process behind the proxy and one that is not.
struct Behind {
    proxy: Proxy,
    broker: Arc<RabbitBroker>,
    direct: Arc<RabbitBroker>,
    server: Server,
}

async fn behind_a_proxy() -> Behind {
    let server = Server::empty().await;
    let direct = server.connect().await;
    let proxy = Proxy::before(server.address()).await;
    let broker = server.connect_by(proxy.address()).await;
    Behind {
        proxy,
        broker,
        direct,
        server,
    }
}

/// Publishes until it succeeds.
async fn publish(broker: &RabbitBroker, text: &str) {
    let published = async {
        while broker.publish(vec![frame(SMS, text)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(published).await;
}

#[tokio::test]
async fn a_confirm_that_is_cut_off_is_an_error_though_the_frame_arrived() {
    let it = behind_a_proxy().await;
    publish(&it.broker, "warm").await;
    it.proxy.pass(Passing::Requests);
    let broker = Arc::clone(&it.broker);
    let published = tokio::spawn(async move { broker.publish(vec![frame(SMS, "one")]).await });
    until_ready(it.direct.as_ref(), SMS, 2).await;
    it.proxy.cut();
    it.proxy.pass(Passing::All);
    let outcome = published.await.unwrap();
    assert!(
        matches!(outcome, Err(BrokerError::Unavailable(_))),
        "{outcome:?}"
    );
    publish(&it.broker, "two").await;
    assert_eq!(it.direct.ready(SMS).await.unwrap(), 3);
}

#[tokio::test]
async fn what_was_confirmed_is_there_however_often_connections_are_cut() {
    const PUBLISHERS: usize = 20;
    const EACH: usize = 30;
    let it = behind_a_proxy().await;
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (it, proxy) = (&it, &it.proxy);
        async move {
            for number in 0..EACH {
                if publisher == 0 && number % 5 == 2 {
                    proxy.cut();
                }
                publish(&it.broker, &format!("{publisher}-{number}")).await;
            }
        }
    });
    futures::future::join_all(publishers).await;

    let mut subscription = it.direct.subscribe(SMS, 500).await.unwrap();
    let mut missing: std::collections::HashSet<_> = (0..PUBLISHERS)
        .flat_map(|publisher| (0..EACH).map(move |number| format!("{publisher}-{number}")))
        .collect();
    while !missing.is_empty() {
        let delivery = next(&mut subscription).await;
        missing.remove(&text(delivery.as_ref()));
        delivery.ack().await;
    }
}

#[tokio::test]
async fn a_subscription_goes_on_after_a_cut_and_what_was_in_hand_comes_again() {
    let it = behind_a_proxy().await;
    let mut subscription = it.broker.subscribe(SMS, 10).await.unwrap();
    publish(&it.direct, "one").await;
    let in_hand = next(&mut subscription).await;
    it.proxy.cut();
    let again = next(&mut subscription).await;
    assert_eq!(text(again.as_ref()), "one");
    assert!(again.redelivered());
    // Said on a connection that is no more: it means nothing, and harms nothing.
    in_hand.ack().await;
    again.ack().await;
    publish(&it.direct, "two").await;
    assert_eq!(text(next(&mut subscription).await.as_ref()), "two");
}

#[tokio::test]
async fn a_connection_that_only_seems_alive_is_given_up() {
    let it = behind_a_proxy().await;
    let mut config = it.server.config_by(it.proxy.address());
    config.url.push_str("?heartbeat=1");
    let broker = it.server.connect_as(config).await;
    let mut subscription = broker.subscribe(SMS, 10).await.unwrap();
    it.proxy.pass(Passing::Nothing);
    // Ended by the heartbeat alone; the proxy still holds the old connection.
    let given_up = async {
        while broker.publish(vec![]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(given_up).await;
    it.proxy.pass(Passing::All);
    publish(&broker, "one").await;
    assert_eq!(text(next(&mut subscription).await.as_ref()), "one");
}

#[tokio::test]
async fn a_frame_that_was_returned_is_an_error_and_its_queue_is_there_again() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    broker.publish(vec![frame(SMS, "gone")]).await.unwrap();
    server.beside().await.delete(server.name(SMS.name())).await;
    let frames = vec![frame(RCS, "1"), frame(SMS, "2"), frame(RCS, "3")];
    let outcome = broker.publish(frames).await;
    assert!(
        matches!(outcome, Err(BrokerError::Returned(SMS))),
        "{outcome:?}"
    );
    until_ready(broker.as_ref(), RCS, 2).await;
    broker.publish(vec![frame(SMS, "2")]).await.unwrap();
    let mut subscription = broker.subscribe(SMS, 10).await.unwrap();
    assert_eq!(text(next(&mut subscription).await.as_ref()), "2");
}

#[tokio::test]
async fn of_many_frames_published_at_once_those_that_were_returned_are_told_from_those_kept() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    server.beside().await.delete(server.name(SMS.name())).await;
    let publishing = (0..400).map(|number| broker.publish(vec![frame(SMS, &number.to_string())]));
    let outcomes = futures::future::join_all(publishing).await;
    let kept = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    let returned = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(BrokerError::Returned(SMS))))
        .count() as u64;
    assert!(returned > 0);
    assert_eq!(kept + returned, 400);
    until_ready(broker.as_ref(), SMS, kept).await;
}

#[tokio::test]
async fn a_subscription_outlives_its_queue() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    let mut subscription = broker.subscribe(SMS, 10).await.unwrap();
    publish(&broker, "one").await;
    let in_hand = next(&mut subscription).await;
    server.beside().await.delete(server.name(SMS.name())).await;
    publish(&broker, "two").await;
    assert_eq!(text(next(&mut subscription).await.as_ref()), "two");
    in_hand.ack().await;
}

#[tokio::test]
async fn a_queue_that_is_missing_is_empty_and_there_again() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    let beside = server.beside().await;
    beside.delete(server.name(SMS.name())).await;
    assert_eq!(broker.ready(SMS).await.unwrap(), 0);
    assert_eq!(beside.count(server.name(SMS.name())).await, 0);
    assert_eq!(broker.ready(RCS).await.unwrap(), 0);
}

#[tokio::test]
async fn a_frame_that_comes_again_and_again_is_not_thrown_away() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    publish(&broker, "one").await;
    let mut subscription = broker.subscribe(SMS, 1).await.unwrap();
    for time in 0..50 {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.redelivered(), time > 0);
        drop(delivery);
    }
    assert!(broker.dead_frames(1).await.unwrap().is_empty());
    // Dead at last, it is known where it comes from.
    next(&mut subscription).await.reject().await;
    let dead = until_dead(broker.as_ref(), 1).await;
    assert_eq!((texts(&dead), dead[0].queue()), (vec!["one".into()], SMS));
}

#[tokio::test]
async fn a_dead_frame_cannot_be_lost_by_rejecting_it() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    publish(&broker, "one").await;
    let mut subscription = broker.subscribe(SMS, 1).await.unwrap();
    next(&mut subscription).await.reject().await;
    until_dead(broker.as_ref(), 1)
        .await
        .remove(0)
        .reject()
        .await;
    until_dead(broker.as_ref(), 1).await.remove(0).ack().await;
    let beside = server.beside().await;
    assert_eq!(beside.count(server.name("dead.queue")).await, 0);
}

#[tokio::test]
async fn frames_of_a_newer_version_share_a_queue_with_ours() {
    let server = Server::empty().await;
    let (old, new) = (server.connect().await, server.connect().await);
    let ours = SendFrame {
        kind: MessageType::Sms,
        queued_at: Timestamp::from_millis(1),
        members: vec![Member {
            id: MessageId::from_number(7),
            attempt: 0,
        }],
    };
    // The version is the first field of every frame.
    let written = ours.encode(FrameVersion::NEWEST);
    let mut newer = written.to_vec();
    assert_eq!(newer[..2], [8, FRAME_VERSION as u8]);
    newer[1] += 1;
    let publication = |body: Bytes| Publication { queue: SMS, body };
    let frames = vec![publication(newer.clone().into()), publication(written)];
    new.publish(frames).await.unwrap();

    let mut subscription = old.subscribe(SMS, 10).await.unwrap();
    let mut taken = take(&mut subscription, 2).await;
    assert_eq!(SendFrame::decode(taken[1].body()), Ok(ours));
    taken.remove(1).ack().await;
    assert_eq!(
        SendFrame::decode(taken[0].body()),
        Err(FrameError::Newer(FRAME_VERSION + 1))
    );
    // Left to who can read it.
    drop(subscription);
    drop(taken);
    let mut subscription = new.subscribe(SMS, 10).await.unwrap();
    assert_eq!(next(&mut subscription).await.body(), &newer);
}

#[tokio::test]
async fn the_mark_never_goes_back_whoever_writes_it() {
    let server = Server::empty().await;
    let brokers = [
        server.connect().await,
        server.connect().await,
        server.connect().await,
    ];
    let writers = brokers.iter().enumerate().map(|(place, broker)| {
        let place = place as u64;
        async move {
            for round in 0..12 {
                let counter = (round * 3 + place + 1) * 10;
                broker.remember_mark(counter).await.unwrap();
                assert!(broker.recall_mark().await.unwrap() >= counter);
            }
        }
    });
    futures::future::join_all(writers).await;
    for broker in &brokers {
        broker.remember_mark(1).await.unwrap();
        assert_eq!(broker.recall_mark().await.unwrap(), 360);
    }
    let beside = server.beside().await;
    assert_eq!(beside.count(server.name("ledger.mark.queue")).await, 1);
}

#[tokio::test]
async fn the_mark_survives_cuts_while_it_is_moved() {
    let it = behind_a_proxy().await;
    let mut kept = 0;
    for counter in 1..=40 {
        let (remembered, ()) = tokio::join!(it.broker.remember_mark(counter), async {
            // Cut at another step each time.
            for _ in 0..counter {
                tokio::task::yield_now().await;
            }
            if counter % 4 == 0 {
                it.proxy.cut();
            }
        });
        if remembered.is_ok() {
            kept = counter;
        }
        assert!(it.direct.recall_mark().await.unwrap() >= kept);
    }
    assert!(kept > 0);
}

#[tokio::test]
async fn a_blocked_connection_fails_publishing_at_once_and_consuming_goes_on() {
    let it = behind_a_proxy().await;
    publish(&it.broker, "one").await;
    it.broker.publish(vec![frame(RCS, "warm")]).await.unwrap();
    let mut subscription = it.broker.subscribe(SMS, 10).await.unwrap();
    it.proxy.pass(Passing::Requests);
    let waiting = it.broker.publish(vec![frame(RCS, "waits")]);
    let (outcome, ()) = tokio::join!(waiting, async {
        until_ready(it.direct.as_ref(), RCS, 2).await;
        it.proxy.say(blocked("low on memory"));
        it.proxy.pass(Passing::All);
    });
    // Whatever came first, the confirm or the word: from now on nothing is waited for.
    drop(outcome);
    let refused = async {
        loop {
            match it.broker.publish(vec![frame(RCS, "more")]).await {
                Err(BrokerError::Unavailable(why)) if why.contains("low on memory") => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    in_time(refused).await;
    let mark = it.broker.remember_mark(1).await;
    assert!(matches!(mark, Err(BrokerError::Unavailable(_))), "{mark:?}");
    it.proxy.say(unblocked());
    publish(&it.broker, "two").await;
    let taken = take(&mut subscription, 2).await;
    assert_eq!(texts(&taken), ["one", "two"]);
}

#[tokio::test]
async fn a_process_joins_while_the_broker_takes_no_frames() {
    let server = Server::empty().await;
    let before = server.connect().await;
    before.remember_mark(7).await.unwrap();
    let proxy = Proxy::before(server.address()).await;
    proxy.greet(blocked("low on disk"));
    let joining = server.connect_by(proxy.address()).await;
    let refused = async {
        while joining.publish(vec![frame(SMS, "one")]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    in_time(refused).await;
    assert_eq!(joining.recall_mark().await.unwrap(), 7);
    // What is known to be lower needs no writing; what is higher waits, and stands in no one's way.
    joining.remember_mark(6).await.unwrap();
    joining.remember_mark(8).await.unwrap_err();
    assert_eq!(before.recall_mark().await.unwrap(), 7);
    before.remember_mark(9).await.unwrap();
    assert_eq!(joining.recall_mark().await.unwrap(), 9);
    let beside = server.beside().await;
    assert_eq!(beside.count(server.name("ledger.mark.queue")).await, 1);
}

#[tokio::test]
async fn a_queue_whose_leader_only_seems_to_say_that_it_is_empty_is_not_taken_at_its_word() {
    let it = behind_a_proxy().await;
    it.proxy.hide_counts();
    assert_eq!(it.broker.ready(SMS).await.unwrap(), 0);
    publish(&it.direct, "one").await;
    publish(&it.direct, "two").await;
    assert_eq!(it.broker.ready(SMS).await.unwrap(), 2);
    // Looking took nothing away.
    until_ready(it.direct.as_ref(), SMS, 2).await;
    let mut subscription = it.direct.subscribe(SMS, 10).await.unwrap();
    assert_eq!(texts(&take(&mut subscription, 2).await), ["one", "two"]);
}

#[tokio::test]
async fn a_queue_that_refuses_is_told_from_a_broker_that_is_away() {
    let it = behind_a_proxy().await;
    it.broker.probe().await.unwrap();
    it.proxy.confirms(Confirms::Refuse);
    let error = it.broker.publish(vec![frame(SMS, "one")]).await;
    assert!(matches!(error, Err(BrokerError::Refused(SMS))), "{error:?}");
    it.proxy.confirms(Confirms::Pass);
    it.broker.publish(vec![frame(SMS, "two")]).await.unwrap();
    it.proxy.cut();
    let away = async {
        while it.broker.probe().await.is_ok() {
            it.proxy.cut();
        }
    };
    in_time(away).await;
}

#[tokio::test]
async fn frames_that_are_not_confirmed_keep_no_place_from_another_queue_nor_after_they_are_given_up()
 {
    let server = Server::empty().await;
    let direct = server.connect().await;
    let proxy = Proxy::before(server.address()).await;
    let config = RabbitConfig {
        window: 1,
        ..server.config_by(proxy.address())
    };
    let broker = server.connect_as(config).await;
    proxy.confirms(Confirms::Lose);
    let publish = |queue, text| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.publish(vec![frame(queue, text)]).await })
    };
    let silent = publish(SMS, "one");
    until_ready(direct.as_ref(), SMS, 1).await;
    publish(RCS, "two");
    until_ready(direct.as_ref(), RCS, 1).await;
    silent.abort();
    publish(SMS, "three");
    until_ready(direct.as_ref(), SMS, 2).await;
}

/// The method `connection.blocked`, which RabbitMQ adds to AMQP 0-9-1.
fn blocked(why: &str) -> Vec<u8> {
    let mut payload = vec![0, 10, 0, 60, why.len() as u8];
    payload.extend_from_slice(why.as_bytes());
    method(&payload)
}

fn unblocked() -> Vec<u8> {
    method(&[0, 10, 0, 61])
}

/// A method frame on channel 0.
fn method(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

#[tokio::test]
async fn a_closed_broker_gives_back_everything_and_ends_its_subscriptions() {
    let server = Server::empty().await;
    let (broker, other) = (server.connect().await, server.connect().await);
    for text in ["1", "2", "3"] {
        publish(&broker, text).await;
    }
    let mut subscription = broker.subscribe(SMS, 10).await.unwrap();
    let in_hand = next(&mut subscription).await;
    broker.close().await;
    until_ready(other.as_ref(), SMS, 3).await;
    drop(in_hand);
    in_time(async { while subscription.next().await.is_some() {} }).await;
    let outcome = broker.publish(vec![frame(SMS, "4")]).await;
    assert!(matches!(outcome, Err(BrokerError::Unavailable(_))));
    let mut subscription = other.subscribe(SMS, 10).await.unwrap();
    assert_eq!(texts(&take(&mut subscription, 3).await), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_frame_carries_the_trace_it_was_published_in_and_whoever_takes_it_goes_on_with_it() {
    let server = Server::empty().await;
    let broker = server.connect().await;
    let spans = Spans::default();
    let publish = async {
        let span = tracing::info_span!("request");
        broker
            .publish(vec![frame(SMS, "traced")])
            .instrument(span)
            .await
    };
    publish.with_subscriber(spans.subscriber()).await.unwrap();
    broker.publish(vec![frame(SMS, "alone")]).await.unwrap();
    let mut subscription = broker.subscribe(SMS, 10).await.unwrap();
    let traced = next(&mut subscription).await;
    let parts: Vec<_> = traced.traceparent().unwrap().split('-').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [2, 32, 16, 2]
    );
    let untraced = next(&mut subscription).await;
    assert_eq!(untraced.traceparent(), None);

    tracing::subscriber::with_default(spans.subscriber(), || {
        traced.span().in_scope(|| {});
        untraced.span().in_scope(|| {});
    });
    let [goes_on, alone] = spans.named("frame").try_into().unwrap();
    let published_in = traced.traceparent().map(ToOwned::to_owned);
    assert_eq!(traceparent_before(&goes_on), published_in);
    assert_eq!(traceparent_before(&alone), None);
}

async fn refused(config: RabbitConfig) -> String {
    match RabbitBroker::connect(config).await {
        Err(BrokerError::Misconfigured(sentence)) => sentence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_with_its_setting() {
    let server = Server::empty().await;
    let sentence = refused(RabbitConfig {
        password: Some("not-this-one".into()),
        ..server.config.clone()
    })
    .await;
    assert!(sentence.starts_with("broker.password_file: "), "{sentence}");
    assert!(!sentence.contains("not-this-one"), "{sentence}");
}

#[tokio::test]
async fn a_vhost_that_is_not_there_is_told_with_the_command_that_makes_it() {
    let server = Server::empty().await;
    let mut uri: lapin::uri::AMQPUri = server.config.url.parse().unwrap();
    uri.vhost = "not-there".to_owned();
    let sentence = refused(RabbitConfig {
        url: uri.to_string(),
        ..server.config.clone()
    })
    .await;
    assert!(sentence.starts_with("broker.url: "), "{sentence}");
    assert!(
        sentence.contains("rabbitmqctl add_vhost not-there"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_queue_declared_with_other_arguments_is_told_by_name() {
    let server = Server::empty().await;
    let queue = server.name(QueueName::Report.name());
    server.beside().await.declare_classic(queue.clone()).await;
    let sentence = refused(server.config.clone()).await;
    assert!(sentence.starts_with("broker.prefix: "), "{sentence}");
    assert!(sentence.contains(&queue), "{sentence}");
    assert!(
        sentence.contains("x-queue-type") || sentence.contains("type"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_broker_that_is_not_there_may_come_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let server = Server::empty().await;
    let outcome = RabbitBroker::connect(server.config_by(address)).await;
    assert!(
        matches!(outcome, Err(BrokerError::Unavailable(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn deleting_the_topology_twice_is_no_error() {
    let server = Server::empty().await;
    server.connect().await.close().await;
    for _ in 0..2 {
        RabbitBroker::delete_topology(&server.config).await.unwrap();
    }
}
