use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use pabal_common::domain::kind::Lane;
use tokio::time::timeout;

use super::vendor::{SMS, book, ordinary, wide};
use crate::route::{Fit, Observation, RouteSettings};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_wait_give_up_and_close_routes_leave_every_slot_free() {
    let book = book(vec![
        RouteSettings {
            concurrency: 4,
            ..wide("a")
        },
        RouteSettings {
            concurrency: 3,
            ..wide("b")
        },
    ]);
    static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
    let tasks = (0..3_000_u64).map(|number| {
        let book = book.clone();
        tokio::spawn(async move {
            let lane = Lane::ALL[number as usize % Lane::ALL.len()];
            let call = async {
                let Ok(mut permit) = book.permit(SMS, Fit::any(), lane, 3).await else {
                    return;
                };
                let calls = IN_FLIGHT.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(calls <= 7, "{calls} calls in flight");
                if number % 7 == 0 {
                    permit.return_unused(1);
                }
                IN_FLIGHT.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            };
            match number % 3 {
                // Gives up wherever it stands after a few turns.
                0 => {
                    tokio::select! {
                        biased;
                        () = call => {}
                        () = async { for _ in 0..number % 4 { tokio::task::yield_now().await; } } => {}
                    }
                }
                1 if number % 100 == 1 => {
                    book.pause("a").unwrap();
                    tokio::task::yield_now().await;
                    book.resume("a").unwrap();
                }
                _ => call.await,
            }
            book.observe(&book.routes()[0], Observation::Answered);
        })
    });
    let ended = timeout(Duration::from_secs(60), join_all(tasks)).await;
    assert!(
        ended
            .expect("nobody waits for ever")
            .iter()
            .all(Result::is_ok)
    );
    let mut held = Vec::new();
    while let Some(permit) = ordinary(&book, 1).now_or_never() {
        held.push(permit.unwrap());
    }
    assert_eq!(held.len(), 7);
}
