//! What holds for every implementation.

use std::time::{Duration, Instant};

use pabal_common::quota::{Meter, Room};

use crate::stack::{
    MESSAGE, client, each, each_alone, each_with_memory, partner, take, take_all, until,
};

#[tokio::test]
async fn a_batch_costs_its_items() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 10, 10).await, Room::Granted);
        let room = take(quota, "a", 10, 10).await;
        let second = Duration::from_secs(1);
        assert!(
            matches!(room, Room::Wait(wait) if wait <= second),
            "{room:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn more_than_a_second_s_limit_is_too_many_for_ever() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 1000, 1001).await, Room::TooMany);
        assert_eq!(take(quota, "a", 1000, 1000).await, Room::Granted);
        assert_eq!(take(quota, "a", 1000, 1001).await, Room::TooMany);
        assert_eq!(take(quota, "b", 0, 1).await, Room::TooMany);
    })
    .await;
}

#[tokio::test]
async fn nothing_needs_no_room() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 0, 0).await, Room::Granted);
        assert_eq!(take(quota, "a", 1, 1).await, Room::Granted);
        assert_eq!(take(quota, "a", 1, 0).await, Room::Granted);
    })
    .await;
}

#[tokio::test]
async fn one_partner_s_limit_is_not_another_s_and_one_meter_s_not_the_other_s() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 1, 1).await, Room::Granted);
        assert_eq!(take(quota, "b", 1, 1).await, Room::Granted);
        assert!(matches!(take(quota, "a", 1, 1).await, Room::Wait(_)));
        let partner = partner("a");
        let express = quota.take(&partner, Meter::Express, 1, 1);
        assert_eq!(express.await, Room::Granted);
    })
    .await;
}

#[tokio::test]
async fn there_is_room_after_the_time_that_was_named() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 20, 20).await, Room::Granted);
        let Room::Wait(first) = take(quota, "a", 20, 20).await else {
            panic!("there was room at once");
        };
        assert!(first > Duration::ZERO && first <= Duration::from_secs(1));
        until("room", async || match take(quota, "a", 20, 20).await {
            Room::Granted => true,
            Room::Wait(wait) => {
                tokio::time::sleep(wait).await;
                false
            }
            Room::TooMany => panic!("waiting would help"),
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_limit_holds_from_the_next_request_on() {
    each(|house| async move {
        let quota = house.quota();
        assert_eq!(take(quota, "a", 1, 1).await, Room::Granted);
        assert_eq!(take(quota, "a", 1000, 1001).await, Room::TooMany);
        until("room", async || {
            take(quota, "a", 1000, 500).await == Room::Granted
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn beside_others_a_receiver_gives_out_its_share() {
    each_alone(|house| async move {
        let quota = house.quota();
        quota.note_receivers(4);
        let started = Instant::now();
        let granted = take_all(quota, "a", 400).await;
        let most = 100.0 * (1.0 + started.elapsed().as_secs_f64()) + 1.0;
        assert!(granted >= 100 && f64::from(granted) <= most, "{granted}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_beyond_the_share_is_taken_and_paid_for_afterwards() {
    each_alone(|house| async move {
        let quota = house.quota();
        quota.note_receivers(4);
        assert_eq!(take(quota, "a", 1000, 1000).await, Room::Granted);
        let room = take(quota, "a", 1000, 1).await;
        let (least, most) = (Duration::from_secs(2), Duration::from_secs(4));
        assert!(
            matches!(room, Room::Wait(wait) if wait > least && wait < most),
            "{room:?}"
        );
        assert_eq!(take(quota, "a", 1000, 1001).await, Room::TooMany);
    })
    .await;
}

#[tokio::test]
async fn an_accepted_client_id_is_recalled_for_its_partner_only() {
    each_with_memory(|house| async move {
        let quota = house.quota();
        let longest = "~".repeat(64);
        for id in ["m-1", "*?[x]{y}:\"'\\", longest.as_str()] {
            let id = client(id);
            quota.remember(&partner("a"), &id, MESSAGE).await;
            until("recalled", async || {
                quota.recall(&partner("a"), &id).await == Some(MESSAGE)
            })
            .await;
            assert_eq!(quota.recall(&partner("b"), &id).await, None);
        }
        assert_eq!(quota.recall(&partner("a"), &client("m-2")).await, None);
    })
    .await;
}
