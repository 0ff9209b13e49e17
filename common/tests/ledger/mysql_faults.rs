//! What a database server does to those who use it at once, and what happens to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pabal_common::broker::QueueName;
use pabal_common::clock::{ManualClock, Timestamp};
use pabal_common::domain::id::InstanceId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::NewMessage;
use pabal_common::ledger::mysql::{LeaseClock, MysqlConfig, MysqlLedger};
use pabal_common::ledger::{
    Accepted, Duplicate, Instances as _, Intake as _, Ledger, LedgerError, QueueTaken,
    RefreshOutcome, RefreshToken, SharedHealth, Submissions as _,
};
use sqlx::MySqlConnection;
use tokio::sync::oneshot;

use crate::mysql::{Schema, end_sessions, run, sessions};
use crate::mysql_proxy::{OnCommit, Proxy};
use crate::sqlite::clock;
use crate::stack::{Fixture, LEASE, Place, name, seconds};

/// A ledger with a partner, and a second process beside the first.
struct House {
    schema: Schema,
    clock: Arc<ManualClock>,
    it: Fixture,
    other: MysqlLedger,
}

async fn house() -> House {
    let (schema, clock) = (Schema::create().await, clock());
    let it = fixture(&schema, &clock).await;
    let other = schema.ledger(&clock).await;
    House {
        schema,
        clock,
        it,
        other,
    }
}

async fn fixture(schema: &Schema, clock: &Arc<ManualClock>) -> Fixture {
    let back = Arc::new(schema.back_door().await);
    let ledger = Arc::new(schema.ledger(clock).await);
    Fixture::new(ledger, Arc::clone(clock), back, Place::Elsewhere).await
}

/// What is said of those that are there already.
fn repeated(messages: &[NewMessage]) -> Vec<Accepted> {
    let found = |message: &NewMessage| Accepted::Repeated(message.id, Duplicate::Same);
    messages.iter().map(found).collect()
}

impl House {
    fn messages(&self, how_many: usize) -> Vec<NewMessage> {
        (0..how_many)
            .map(|_| self.it.new_message(MessageType::Sms))
            .collect()
    }

    /// The same requests once more, under new ids of ours.
    fn anew(&self, messages: &[NewMessage]) -> Vec<NewMessage> {
        let anew = messages.iter().map(|message| NewMessage {
            id: self.it.ids.message(),
            ..message.clone()
        });
        anew.collect()
    }

    async fn accepted(&self) -> u64 {
        let sql = "SELECT CAST(coalesce(sum(accepted), 0) AS SIGNED) FROM partner_daily_accepted";
        self.it.back.count(sql).await
    }

    async fn rows(&self, table: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.it.back.count(&sql).await
    }

    /// Returns when somebody in this schema waits for a row.
    async fn somebody_waits(&self) {
        let mut looking = self.schema.session().await;
        for _ in 0..500 {
            let sessions = sessions(&mut looking, &self.schema.name).await;
            let waiting = waiting(&mut looking).await;
            if sessions.iter().any(|session| waiting.contains(session)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody waited for a lock");
    }

    /// A ledger whose way to the database goes through a proxy.
    async fn behind(&self, proxy: &Proxy) -> MysqlLedger {
        let config = MysqlConfig {
            url: self.schema.url_through(&proxy.address.to_string()),
            ..self.schema.config(&self.clock)
        };
        MysqlLedger::open(&config).await.unwrap()
    }
}

/// The sessions that wait for a row. From the engine's own report: the tables that tell the same are
/// not renewed while they are being looked at.
async fn waiting(looking: &mut MySqlConnection) -> Vec<i64> {
    let report: (String, String, String) = sqlx::query_as("SHOW ENGINE INNODB STATUS")
        .fetch_one(looking)
        .await
        .unwrap();
    let transactions = report.2.split("---TRANSACTION").skip(1);
    transactions
        .filter(|transaction| transaction.contains("LOCK WAIT"))
        .filter_map(|transaction| {
            let (_, after) = transaction.split_once("thread id ")?;
            after.split_once(',')?.0.parse().ok()
        })
        .collect()
}

#[tokio::test]
async fn the_victim_of_a_deadlock_is_carried_out_all_the_same() {
    let house = house().await;
    let it = &house.it;
    let (messages, others) = (house.messages(2), house.messages(20));
    it.accept(&[messages.clone(), others.clone()].concat())
        .await;
    let [first, second] = [&messages[0], &messages[1]].map(|message| it.back.id(message.id));

    let mut session = house.schema.session().await;
    run(&mut session, "BEGIN").await;
    let touch = |id: &str| format!("UPDATE messages SET poison = 1 WHERE message_id = {id}");
    run(&mut session, &touch(&second)).await;
    // It has changed more than the other one, which is the cheaper victim.
    for message in &others {
        run(&mut session, &touch(&it.back.id(message.id))).await;
    }
    let (anew, found) = (house.anew(&messages), repeated(&messages));
    let again = async {
        let outbox = it.ids.outbox();
        it.ledger.accept(it.me, outbox, &anew, &[]).await
    };
    let opposite = async {
        house.somebody_waits().await;
        run(&mut session, &touch(&first)).await;
        run(&mut session, "COMMIT").await;
    };
    let (again, ()) = tokio::join!(again, opposite);
    assert_eq!(again.unwrap().outcomes, found);
    assert_eq!(house.accepted().await, 22);
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_nothing_is_half_done() {
    let house = house().await;
    let it = &house.it;
    it.one().await;
    let mut session = house.schema.session().await;
    run(&mut session, "BEGIN").await;
    run(
        &mut session,
        "SELECT accepted FROM partner_daily_accepted FOR UPDATE",
    )
    .await;
    let message = it.new_message(MessageType::Sms);
    let accept = async || {
        let offered = std::slice::from_ref(&message);
        it.ledger.accept(it.me, it.ids.outbox(), offered, &[]).await
    };
    let refused = accept().await;
    assert!(
        matches!(refused, Err(LedgerError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(
        (house.rows("messages").await, house.rows("outbox").await),
        (1, 1)
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(accept().await.unwrap().outcomes, [Accepted::Kept]);
    assert_eq!(house.accepted().await, 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let house = house().await;
    let it = &house.it;
    it.one().await;
    let mut session = house.schema.session().await;
    run(&mut session, "BEGIN").await;
    run(
        &mut session,
        "SELECT accepted FROM partner_daily_accepted FOR UPDATE",
    )
    .await;
    let messages = house.messages(3);
    tokio::select! {
        outcome = it.ledger.accept(it.me, it.ids.outbox(), &messages, &[]) => {
            panic!("it did not wait: {outcome:?}")
        }
        () = house.somebody_waits() => {}
    }
    run(&mut session, "ROLLBACK").await;
    // Waits for what the server has yet to undo, and finds nothing of it.
    let batch = house.other.accept(it.me, it.ids.outbox(), &messages, &[]);
    assert_eq!(batch.await.unwrap().outcomes, [Accepted::Kept; 3]);
    assert_eq!(
        (house.rows("messages").await, house.accepted().await),
        (4, 4)
    );
    assert_eq!(it.ledger.reconcile().await.unwrap(), []);
}

#[tokio::test]
async fn of_two_processes_that_accept_the_same_client_ids_at_once_one_keeps_each() {
    const ROUNDS: usize = 25;
    let house = house().await;
    let it = &house.it;
    let peer = it.join().await;
    let mut kept = 0;
    for _ in 0..ROUNDS {
        let mine = house.messages(40);
        // The same client ids under other message ids, most of them, and in another order.
        let mut theirs: Vec<NewMessage> = mine[10..]
            .iter()
            .map(|message| NewMessage {
                id: it.ids.message(),
                ..message.clone()
            })
            .chain(house.messages(10))
            .collect();
        fastrand::shuffle(&mut theirs);
        let (here, there) = tokio::join!(
            it.ledger.accept(it.me, it.ids.outbox(), &mine, &[]),
            house.other.accept(peer, it.ids.outbox(), &theirs, &[]),
        );
        let (here, there) = (here.unwrap().outcomes, there.unwrap().outcomes);
        for (message, outcome) in mine.iter().zip(&here) {
            let twin = theirs
                .iter()
                .zip(&there)
                .find(|(other, _)| other.client_msg_id == message.client_msg_id);
            match (outcome, twin) {
                (Accepted::Kept, None) => {}
                (Accepted::Kept, Some((_, found))) => {
                    assert_eq!(*found, Accepted::Repeated(message.id, Duplicate::Same));
                }
                (Accepted::Repeated(id, Duplicate::Same), Some((other, Accepted::Kept))) => {
                    assert_eq!(*id, other.id);
                }
                other => panic!("{other:?}"),
            }
        }
        let outcomes = here.iter().chain(&there);
        kept += outcomes.filter(|one| **one == Accepted::Kept).count() as u64;
    }
    assert_eq!(kept, 50 * ROUNDS as u64);
    assert_eq!(
        (house.rows("messages").await, house.accepted().await),
        (kept, kept)
    );
    assert_eq!(it.ledger.reconcile().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_committed_and_not_answered_is_found_by_a_repeat_and_counts_once() {
    let house = house().await;
    let it = &house.it;
    let proxy = Proxy::to(house.schema.server()).await;
    let far = house.behind(&proxy).await;
    let messages = house.messages(2);
    proxy.next_commit(OnCommit::LoseAnswer);
    let lost = far.accept(it.me, it.ids.outbox(), &messages, &[]).await;
    assert!(matches!(lost, Err(LedgerError::Unavailable(_))), "{lost:?}");
    assert_eq!(house.rows("messages").await, 2);
    let anew = house.anew(&messages);
    let again = far.accept(it.me, it.ids.outbox(), &anew, &[]).await;
    assert_eq!(again.unwrap().outcomes, repeated(&messages));
    assert_eq!(
        (house.rows("messages").await, house.accepted().await),
        (2, 2)
    );
}

#[tokio::test]
async fn messages_whose_commit_never_arrived_are_kept_when_offered_again() {
    let house = house().await;
    let it = &house.it;
    let proxy = Proxy::to(house.schema.server()).await;
    let far = house.behind(&proxy).await;
    let messages = house.messages(2);
    proxy.next_commit(OnCommit::Cut);
    let lost = far.accept(it.me, it.ids.outbox(), &messages, &[]).await;
    assert!(matches!(lost, Err(LedgerError::Unavailable(_))), "{lost:?}");
    let again = far.accept(it.me, it.ids.outbox(), &messages, &[]).await;
    assert_eq!(again.unwrap().outcomes, [Accepted::Kept; 2]);
    assert_eq!(
        (house.rows("messages").await, house.accepted().await),
        (2, 2)
    );
    assert_eq!(house.rows("outbox").await, 1);
}

#[tokio::test]
async fn a_repeat_waits_for_the_commit_that_is_still_under_way_and_counts_nothing() {
    let house = house().await;
    let it = &house.it;
    let proxy = Proxy::to(house.schema.server()).await;
    let far = house.behind(&proxy).await;
    let messages = house.messages(2);
    let (tell, told) = oneshot::channel();
    proxy.next_commit(OnCommit::Hold(told));
    let lost = far.accept(it.me, it.ids.outbox(), &messages, &[]).await;
    assert!(matches!(lost, Err(LedgerError::Unavailable(_))), "{lost:?}");
    let anew = house.anew(&messages);
    let again = house.other.accept(it.me, it.ids.outbox(), &anew, &[]);
    let commit = async {
        house.somebody_waits().await;
        tell.send(()).unwrap();
    };
    let (again, ()) = tokio::join!(again, commit);
    assert_eq!(again.unwrap().outcomes, repeated(&messages));
    assert_eq!(
        (house.rows("messages").await, house.accepted().await),
        (2, 2)
    );
    assert_eq!(house.rows("outbox").await, 1);
}

#[tokio::test]
async fn connections_that_the_server_closed_meanwhile_are_replaced_unnoticed() {
    let house = house().await;
    let it = &house.it;
    let beats = (0..8).map(|_| it.ledger.heartbeat(it.me, LEASE, &[], &[]));
    futures::future::join_all(beats).await;
    let mut session = house.schema.session().await;
    for reading in [true, false] {
        end_sessions(&mut session, &house.schema.name).await;
        if reading {
            assert_eq!(it.ledger.lapsed(&[it.me]).await.unwrap(), []);
        } else {
            it.ledger.heartbeat(it.me, LEASE, &[], &[]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_newcomer_leaves_the_lapsed_ten_minutes_to_renew() {
    let house = house().await;
    let it = &house.it;
    let held = async |who| {
        let beat = it.ledger.heartbeat(who, LEASE, &[], &[]).await.unwrap();
        beat.held
    };
    let idle = it.join().await;
    it.clock
        .advance(LEASE + seconds(600) - Duration::from_millis(1));
    assert_eq!(
        it.ledger.lapsed(&[it.me, idle]).await.unwrap(),
        [it.me, idle]
    );
    house.other.join("newcomer", LEASE).await.unwrap();
    assert!(held(it.me).await);
    assert_eq!(it.ledger.lapsed(&[it.me, idle]).await.unwrap(), [idle]);
    it.clock.advance(Duration::from_millis(1));
    house.other.join("newcomer", LEASE).await.unwrap();
    assert!(held(it.me).await);
    assert!(!held(idle).await);
}

#[tokio::test]
async fn the_turn_to_poll_runs_by_the_clock_of_the_database() {
    let house = house().await;
    let it = &house.it;
    let other = it.join().await;
    let turn = async |who, now: Timestamp| {
        let until = now.plus(seconds(5));
        it.ledger
            .lease_poll(who, "kakao", now, until)
            .await
            .unwrap()
    };
    // One process is an hour behind, the other an hour ahead.
    let hour = seconds(3600);
    assert!(turn(it.me, it.now().minus(hour)).await);
    assert!(!turn(other, it.now().plus(hour)).await);
    it.clock.advance(seconds(5));
    assert!(turn(other, it.now().plus(hour)).await);
}

#[tokio::test]
async fn a_process_that_freezes_while_it_beats_or_joins_holds_up_nobody() {
    let house = house().await;
    let it = &house.it;
    let told = |at: usize| {
        let taken = QueueTaken {
            queue: QueueName::Report,
            queued_at: Timestamp::from_millis(at as i64),
        };
        let health = SharedHealth {
            route: "sms-a".into(),
            health: "OK".into(),
            rate: 1,
            since: Timestamp::from_millis(at as i64),
        };
        ([taken], [health])
    };
    for joins in [false, true] {
        let proxy = Proxy::to(house.schema.server()).await;
        let mut at = 0;
        loop {
            let far = house.behind(&proxy).await;
            proxy.freeze_after(at);
            let (taken, health) = told(at);
            let work = async {
                match joins {
                    true => far.join("sender", LEASE).await.map(drop),
                    false => {
                        let beat = far.heartbeat(it.me, LEASE, &taken, &health);
                        beat.await.map(drop)
                    }
                }
            };
            let done = tokio::select! {
                done = work => { done.unwrap(); true }
                () = proxy.frozen() => false,
            };
            let (taken, health) = told(at + 1);
            let others = async {
                it.ledger.heartbeat(it.me, LEASE, &taken, &health).await?;
                house.other.join("sender", LEASE).await
            };
            assert!(others.await.is_ok(), "joins: {joins}, statement {at}");
            if done {
                break;
            }
            at += 1;
        }
        assert!(at > 3, "it never froze");
    }
}

#[tokio::test]
async fn rows_of_a_process_that_fell_silent_are_free_again_within_seconds() {
    let house = house().await;
    let it = &house.it;
    let ids = it.queued(MessageType::Sms, 1).await;
    let proxy = Proxy::to(house.schema.server()).await;
    let far = house.behind(&proxy).await;
    // BEGIN, and the statement that locks with its preparation.
    proxy.freeze_after(3);
    let wish = [it.wish(&ids)];
    tokio::select! {
        claimed = far.claim(it.me, &wish, it.now()) => panic!("it did not freeze: {claimed:?}"),
        () = proxy.frozen() => {}
    }
    let wish = [it.wish(&ids)];
    let claim = async || house.other.claim(it.me, &wish, it.now()).await;
    assert!(claim().await.is_err(), "nothing was locked");
    // By default the server would wait for hours.
    for _ in 0..20 {
        if let Ok(calls) = claim().await {
            assert_eq!(calls[0].messages.len(), 1);
            return;
        }
    }
    panic!("its rows are still locked");
}

#[tokio::test]
async fn processes_that_join_and_beat_at_once_see_no_counter_twice_and_none_go_back() {
    let house = house().await;
    let it = &house.it;
    let ledgers: [&dyn Ledger; 2] = [it.ledger.as_ref(), &house.other];
    let seen = AtomicU64::new(0);
    let one = async |at: usize| {
        let before = seen.load(Ordering::SeqCst);
        let joined = ledgers[at % 2].join("sender", LEASE).await.unwrap();
        assert!(joined.counter > before);
        let mut counters = vec![joined.counter];
        for _ in 0..5 {
            let before = seen.load(Ordering::SeqCst);
            let beat = ledgers[at % 2].heartbeat(joined.instance, LEASE, &[], &[]);
            let beat = beat.await.unwrap();
            assert!(beat.held && beat.counter > before);
            seen.fetch_max(beat.counter, Ordering::SeqCst);
            counters.push(beat.counter);
        }
        (joined, counters)
    };
    let all = futures::future::join_all((0..10).map(one)).await;
    let instances: HashSet<InstanceId> = all.iter().map(|(joined, _)| joined.instance).collect();
    let nodes: HashSet<u16> = all.iter().map(|(joined, _)| joined.node).collect();
    let counters: HashSet<u64> = all
        .iter()
        .flat_map(|(_, counters)| counters.clone())
        .collect();
    assert_eq!((instances.len(), nodes.len(), counters.len()), (10, 10, 60));
}

#[tokio::test]
async fn leases_run_by_the_clock_of_the_database() {
    let house = house().await;
    let config = MysqlConfig {
        lease_clock: LeaseClock::Database,
        ..house.schema.config(&house.clock)
    };
    let ledger = MysqlLedger::open(&config).await.unwrap();
    let long = ledger.join("sender", seconds(3600)).await.unwrap().instance;
    let none = ledger
        .join("sender", Duration::ZERO)
        .await
        .unwrap()
        .instance;
    assert_eq!(ledger.lapsed(&[long, none]).await.unwrap(), [none]);
    let beat = ledger.heartbeat(none, seconds(3600), &[], &[]).await;
    assert!(beat.unwrap().held);
    assert_eq!(ledger.lapsed(&[long, none]).await.unwrap(), []);
}

#[tokio::test]
async fn a_family_that_is_revoked_while_another_process_rotates_has_no_token_left() {
    let house = house().await;
    let it = &house.it;
    let grace = seconds(30);
    let expires_at = it.now().plus(seconds(100_000));
    for _ in 0..30 {
        // The order of the hashes decides which row a process meets first, so it is left to chance.
        let [first, second, third, fourth] = [(); 4].map(|()| {
            let mut hash = [0; 32];
            fastrand::fill(&mut hash);
            hash
        });
        let login = RefreshToken {
            hash: first,
            family: first[..16].try_into().unwrap(),
            partner: name("shop"),
            expires_at,
        };
        it.ledger.keep_refresh(&login, it.now()).await.unwrap();
        let rotate = async |ledger: &dyn Ledger, presented, next| {
            let rotated = ledger.rotate_refresh(presented, next, expires_at, grace, it.now());
            rotated.await.unwrap()
        };
        rotate(it.ledger.as_ref(), &first, &second).await;
        it.clock.advance(seconds(31));
        let (reused, rotated) = tokio::join!(
            rotate(it.ledger.as_ref(), &first, &fourth),
            rotate(&house.other, &second, &third),
        );
        assert_eq!(reused, RefreshOutcome::Reused(name("shop")));
        let after = rotate(it.ledger.as_ref(), &third, &fourth).await;
        assert_eq!(after, RefreshOutcome::Invalid, "after {rotated:?}");
    }
}

#[tokio::test]
async fn a_schema_for_a_newer_program_is_refused_by_name() {
    let house = house().await;
    let newer = "UPDATE schema_info SET min_reader = 4711";
    run(&mut house.schema.session().await, newer).await;
    let config = house.schema.config(&house.clock);
    for refused in [
        MysqlLedger::open(&config).await,
        MysqlLedger::visit(&config).await,
    ] {
        let Err(LedgerError::Schema(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("4711"), "{why}");
    }
}

#[tokio::test]
async fn processes_that_find_an_empty_schema_at_once_make_it_together() {
    let (schema, clock) = (Schema::create().await, clock());
    let config = schema.config(&clock);
    let visit = MysqlLedger::visit(&config).await;
    assert!(matches!(visit, Err(LedgerError::Schema(_))), "{visit:?}");
    let opened = (0..5).map(|_| MysqlLedger::open(&config));
    for ledger in futures::future::join_all(opened).await {
        ledger.unwrap().join("sender", LEASE).await.unwrap();
    }
    MysqlLedger::visit(&config).await.unwrap();
}

#[tokio::test]
async fn a_wrong_setting_is_told_with_its_name_and_the_remedy() {
    let (schema, clock) = (Schema::create().await, clock());
    let told = async |url: String, words: &[&str]| {
        let config = MysqlConfig {
            url: url.clone(),
            ..schema.config(&clock)
        };
        let Err(LedgerError::Misconfigured(why)) = MysqlLedger::open(&config).await else {
            panic!("{url} is not wrong");
        };
        for word in words {
            assert!(why.contains(word), "{why}");
        }
        assert!(!why.contains("secret-word"), "{why}");
    };
    told("postgres://h/s".into(), &["ledger.url", "mysql://"]).await;
    let server = schema.server();
    told(format!("mysql://root@{server}"), &["ledger.url", "schema"]).await;
    let nowhere = format!("mysql://root@{server}/pabal_no_such_schema");
    told(nowhere, &["ledger.url", "CREATE DATABASE"]).await;

    let user = schema.user("secret-word").await;
    let url = |password: &str| format!("mysql://{user}:{password}@{server}/{}", schema.name);
    told(url("other-word"), &["ledger.password_file", &user]).await;
    told(url("secret-word"), &["grant", "ledger.url"]).await;
    schema.grant("SELECT", &user).await;
    told(url("secret-word"), &["grant", "CREATE", "ledger.url"]).await;

    // Where there is nothing to migrate, rights on rows are enough.
    schema.ledger(&clock).await;
    schema.grant("INSERT, UPDATE, DELETE", &user).await;
    let config = MysqlConfig {
        url: format!("mysql://{user}@{server}/{}", schema.name),
        password: Some("secret-word".into()),
        ..schema.config(&clock)
    };
    let ledger = MysqlLedger::open(&config).await.unwrap();
    ledger.join("sender", LEASE).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_may_come() {
    let (schema, clock) = (Schema::create().await, clock());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let config = MysqlConfig {
        url: schema.url_through(&address),
        ..schema.config(&clock)
    };
    let Err(LedgerError::Unavailable(why)) = MysqlLedger::open(&config).await else {
        panic!("it is there");
    };
    assert!(why.contains(&address), "{why}");
}
