//! Servers that are away when a process starts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};

use crate::ground::Ground;
use crate::process::Process;
use crate::wait::until;
use crate::world::{Tempo, World};

const ROLES: [&str; 4] = ["receiver", "sender", "reporter", "webhook-receiver"];

/// The door of a server. While it is closed, whoever comes is turned away at once, as by a proxy
/// with nothing behind it.
struct Door {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    knocks: Arc<AtomicUsize>,
}

impl Door {
    async fn to(url: &str) -> Self {
        let server = Ground::address(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::default(),
            knocks: Arc::default(),
        };
        let (open, knocks) = (Arc::clone(&door.open), Arc::clone(&door.knocks));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                knocks.fetch_add(1, Ordering::SeqCst);
                if open.load(Ordering::SeqCst) {
                    tokio::spawn(async move {
                        let mut server = TcpStream::connect(server).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    });
                }
            }
        });
        door
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Waits until `more` have come from now on.
    async fn knocked(&self, more: usize) {
        let goal = self.knocks.load(Ordering::SeqCst) + more;
        until("somebody comes to the door", async || {
            (self.knocks.load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }
}

struct Doors {
    ledger: Door,
    broker: Door,
    quota: Door,
}

impl Doors {
    async fn of(ground: &Ground) -> Self {
        Self {
            ledger: Door::to(&ground.ledger).await,
            broker: Door::to(&ground.broker).await,
            quota: Door::to(&ground.quota).await,
        }
    }

    fn settings(&self, ground: &Ground) -> [String; 3] {
        let by = |url, door: &Door| Ground::by(url, door.address);
        [
            format!("ledger.url={}", by(&ground.ledger, &self.ledger)),
            format!("broker.url={}", by(&ground.broker, &self.broker)),
            format!("quota.url={}", by(&ground.quota, &self.quota)),
        ]
    }
}

/// The causes it said it waits for `what`, in the order of its log.
fn causes(process: &Process, what: &str) -> Vec<String> {
    let said = process.said();
    let waits = format!("waiting for {what}");
    let lines = said.lines().filter_map(|line| line.split_once(&waits));
    lines.map(|(_, cause)| cause.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_waited_for_and_each_cause_is_told_once() {
    let world = World::new(Tempo::Calm).await;
    let doors = Doors::of(&world.ground).await;
    let settings = doors.settings(&world.ground);
    let mut processes = ROLES.map(|role| world.start_with(role, 0, &settings));
    for process in &processes {
        process.says("waiting for the ledger at ").await;
        assert_eq!(process.readiness().await, Some(503));
    }
    doors.ledger.knocked(12).await;
    doors.ledger.open();
    for process in &processes {
        process.says("waiting for the broker at ").await;
        assert_eq!(process.readiness().await, Some(503));
    }
    doors.broker.knocked(12).await;
    doors.broker.open();
    for process in &mut processes {
        process.ready().await;
    }
    // Limits are local until Redis is there, which holds nobody up.
    assert!(!doors.quota.open.load(Ordering::SeqCst));
    doors.quota.knocked(4).await;
    for process in &mut processes {
        let said = process.said();
        for what in ["the ledger", "the broker"] {
            let told = causes(process, what);
            let different: BTreeSet<_> = told.iter().collect();
            assert_eq!(told.len(), different.len(), "{said}");
        }
        let local = said.matches("Redis does not count").count();
        assert_eq!(local, 1, "{said}");
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_asked_to_stop_while_it_waits_ends_well() {
    let world = World::new(Tempo::Calm).await;
    let doors = Doors::of(&world.ground).await;
    let settings = doors.settings(&world.ground);
    let mut processes = ROLES.map(|role| world.start_with(role, 0, &settings));
    let (early, late) = processes.split_at_mut(2);
    for process in early {
        process.says("waiting for the ledger at ").await;
        process.stop().await;
    }
    doors.ledger.open();
    for process in late {
        process.says("waiting for the broker at ").await;
        process.stop().await;
    }
}
