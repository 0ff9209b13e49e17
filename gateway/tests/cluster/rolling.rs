//! Stopping in order, one process after the other, under load.

use std::time::Duration;

use pabal_gateway::trial::load::{Load, Manner, Mix};

use crate::process::Process;
use crate::wait::PATIENCE;
use crate::world::{Tempo, World};

const ALL: [(&str, usize); 7] = [
    ("receiver", 0),
    ("receiver", 1),
    ("sender", 0),
    ("sender", 1),
    ("reporter", 0),
    ("reporter", 1),
    ("webhook-receiver", 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_every_process_in_turn_under_load_costs_the_partner_nothing() {
    let mut world = World::new(Tempo::Calm).await;
    world.receivers(2);
    world.reporters(2);
    let settings = [
        "http.unready_wait=2s".to_owned(),
        // However busy the machine is.
        "shutdown.deadline=60s".to_owned(),
    ];
    let start = |(role, number)| world.start_with(role, number, &settings);
    let mut processes = ALL.map(start);
    for process in &mut processes {
        process.ready().await;
    }
    let partner = world.partner().await;
    let manner = Manner {
        mix: Mix::GENTLE,
        rate: 120.0,
        patience: PATIENCE,
    };
    let load = Load::start(&world.site, &partner, "r", manner, fastrand::Rng::new());
    for (place, process) in ALL.into_iter().zip(&mut processes) {
        assert!(load.accepts(25).await);
        stops_in_order(process).await;
        *process = start(place);
        process.ready().await;
    }
    assert!(load.accepts(25).await);
    let outbox = load.finish().await;
    let verdict = world.close(&partner, &outbox).await;
    assert_eq!(
        verdict.outcome.expired, 0,
        "a drain leaves nothing in doubt"
    );
}

/// First it says that it is not ready, then it is gone, and its end is a good one.
async fn stops_in_order(process: &mut Process) {
    assert_eq!(process.readiness().await, Some(200));
    process.ask_to_stop();
    let mut heard = Vec::new();
    while let Some(status) = process.readiness().await {
        heard.push(status);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    heard.dedup();
    assert!(
        heard == [200, 503] || heard == [503],
        "/readyz said {heard:?}, then nothing"
    );
    let code = process.ended().await;
    let said = process.said();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stopped; nothing was lost"), "{said}");
    for late in ["did not drain in time", "not left and closed in time"] {
        assert!(!said.contains(late), "{said}");
    }
}
