//! The real program, killed, frozen and stopped at random moments under load.
//!
//! The simulated vendors and the partner with its webhook endpoint live in the test's own process:
//! they are the witnesses, and outlive every kill. `PABAL_CRASH_ROUNDS` sets how often the program is
//! killed, `PABAL_CRASH_SEED` repeats the choices of an earlier run (though not its timing).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod process;
mod trial;
mod verdict;
mod world;

use std::time::Duration;

use pabal_gateway::trial::load::Mix;
use trial::Trial;
use world::{Tempo, World};

/// More than any request, commit or vendor call of these tests takes.
const SHUTDOWN_WATCHDOG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_loses_nothing_and_sends_nothing_twice() {
    let mut trial = Trial::new("kill");
    let world = World::new(Tempo::Hasty).await;
    let mut process = world.start();
    world.ready(&mut process).await;
    let partner = world.add_partner().await;
    let load = world.load(&partner, Mix::TROUBLED, trial.fork());
    for round in 0..trial.rounds(4) {
        // Now and then in the middle of a start, with all that the last kill left to be done.
        if round % 4 == 3 {
            trial.pause(0..400).await;
        } else {
            world.accepts(&load, trial.between(20..300)).await;
            trial.pause(0..100).await;
        }
        process.kill();
        trial.happened("kills");
        process = world.start();
    }
    world.ready(&mut process).await;
    world.accepts(&load, 100).await;
    let sent = load.finish().await;
    verdict::close(&world, &partner, &sent, &mut trial).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_past_its_lease_it_sends_nothing_twice_when_it_wakes() {
    let mut trial = Trial::new("freeze");
    let world = World::new(Tempo::Hasty).await;
    let mut process = world.start();
    world.ready(&mut process).await;
    let partner = world.add_partner().await;
    let load = world.load(&partner, Mix::SLOW, trial.fork());
    for _ in 0..3 {
        world.accepts(&load, trial.between(40..160)).await;
        trial.pause(0..200).await;
        process.freeze();
        let past_the_lease = world::LEASE + Duration::from_millis(trial.between(300..900) as u64);
        tokio::time::sleep(past_the_lease).await;
        process.thaw();
        trial.happened("freezes");
    }
    world.accepts(&load, 100).await;
    let ended = process.ended(Duration::ZERO).await;
    assert!(ended.is_none(), "it gave up: {ended:?}\n{}", world.log());
    let sent = load.finish().await;
    verdict::close(&world, &partner, &sent, &mut trial).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_under_load_it_ends_by_itself_and_leaves_nothing_undone() {
    let mut trial = Trial::new("stop");
    let world = World::new(Tempo::Calm).await;
    let mut process = world.start();
    world.ready(&mut process).await;
    let partner = world.add_partner().await;
    let load = world.load(&partner, Mix::GENTLE, trial.fork());
    for _ in 0..2 {
        world.accepts(&load, trial.between(60..200)).await;
        trial.pause(0..200).await;
        process.ask_to_stop();
        let ended = process.ended(SHUTDOWN_WATCHDOG).await;
        let status = ended.unwrap_or_else(|| panic!("it does not stop\n{}", world.log()));
        assert!(status.success(), "{status}\n{}", world.log());
        trial.happened("stops");
        process = world.start();
        world.ready(&mut process).await;
    }
    world.accepts(&load, 50).await;
    let sent = load.finish().await;
    let outcome = verdict::close(&world, &partner, &sent, &mut trial).await;
    assert_eq!(
        outcome.expired,
        0,
        "a drain leaves no outcome unknown; seed {}\n{}",
        trial.seed,
        world.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_makes_its_folder_it_leaves_one_that_can_be_used() {
    let mut trial = Trial::new("start");
    let world = World::new(Tempo::Calm).await;
    for upto in [10, 40, 80, 120, 200, 400] {
        let mut process = world.start();
        trial.pause(0..upto).await;
        process.kill();
        trial.happened("kills");
    }
    let mut process = world.start();
    world.ready(&mut process).await;
    let partner = world.add_partner().await;
    let load = world.load(&partner, Mix::GENTLE, trial.fork());
    world.accepts(&load, 30).await;
    let sent = load.finish().await;
    let outcome = verdict::close(&world, &partner, &sent, &mut trial).await;
    assert_eq!(outcome.expired, 0, "seed {}\n{}", trial.seed, world.log());
}
