//! What can go wrong. Each fault is over when its function returns: the part is back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::BoxFuture;
use pabal_gateway::trial::endpoint::Mood;
use pabal_gateway::trial::load::{Load, Manner, Mix};
use pabal_gateway::trial::proxy::{Flow, Proxy};
use pabal_simulator::Family;
use tokio::time::sleep;

use super::stage::Stage;
use crate::command::ground::member::Member;
use crate::command::ground::parts::{Part, SCHEMA};

type Done<'a> = BoxFuture<'a, anyhow::Result<()>>;

/// Something that goes wrong.
pub(super) struct Fault {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What happens, for the table.
    pub(super) what: &'static str,
    /// Whether it is part of the short run.
    pub(super) short: bool,
    /// To whom the load sends meanwhile.
    pub(super) mix: Mix,
    /// Whether the ledger forgets messages by it.
    pub(super) forgets: bool,
    /// Lets it happen.
    pub(super) inject: for<'a> fn(&'a Stage, &'a mut fastrand::Rng) -> Done<'a>,
}

impl Fault {
    /// The longest time until the first message comes through once the part is back.
    pub(super) const MOST: Duration = Duration::from_secs(30);

    const fn new(
        name: &'static str,
        what: &'static str,
        inject: for<'a> fn(&'a Stage, &'a mut fastrand::Rng) -> Done<'a>,
    ) -> Self {
        Self {
            name,
            what,
            short: false,
            mix: Mix::TROUBLED,
            forgets: false,
            inject,
        }
    }

    const fn in_short(self) -> Self {
        Self {
            short: true,
            ..self
        }
    }

    const fn sending(self, mix: Mix) -> Self {
        Self { mix, ..self }
    }

    const fn forgetting(self) -> Self {
        Self {
            forgets: true,
            ..self
        }
    }
}

/// Every fault, in the order of the table.
pub(super) static ALL: &[Fault] = &[
    Fault::new("none", "nothing", |_, _| Box::pin(pause(5))),
    Fault::new(
        "kill",
        "every service is killed (SIGKILL) twice, in random order",
        |stage, random| Box::pin(kill(stage, random)),
    )
    .in_short(),
    Fault::new(
        "freeze",
        "a sender is frozen (SIGSTOP) for 14 s, past its lease, and wakes",
        |stage, _| Box::pin(freeze(stage)),
    ),
    Fault::new(
        "rolling-restart",
        "every service in turn is asked to stop (SIGTERM) and started again",
        |stage, _| Box::pin(rolling_restart(stage)),
    )
    .in_short(),
    Fault::new(
        "broker-restart",
        "the broker is killed and started again",
        |stage, _| Box::pin(restart(stage, Part::Rabbit, 2)),
    )
    .in_short(),
    Fault::new(
        "broker-cut",
        "connections to the broker are cut five times while confirms are outstanding",
        |stage, _| Box::pin(mute_and_cut(&stage.ways.rabbit, 5)),
    ),
    Fault::new(
        "broker-redelivery",
        "connections to the broker are cut 30 times, so that frames come again and again",
        |stage, _| Box::pin(cut_often(&stage.ways.rabbit)),
    ),
    Fault::new("broker-stall", "the broker freezes for 20 s", |stage, _| {
        Box::pin(stall(stage, Part::Rabbit, 20))
    }),
    Fault::new(
        "broker-memory",
        "the broker's memory alarm blocks publishing for 10 s",
        |stage, _| Box::pin(memory_alarm(stage)),
    ),
    Fault::new(
        "broker-full",
        "a policy makes the broker's queues full for 10 s: publishing is refused",
        |stage, _| Box::pin(queues_full(stage)),
    ),
    Fault::new(
        "queues-purged",
        "every queue is emptied behind our back",
        |stage, _| Box::pin(every_queue(stage, "purge(Q)")),
    ),
    Fault::new(
        "queues-deleted",
        "every queue is deleted behind our back",
        |stage, _| Box::pin(every_queue(stage, "delete(Q, false, false, <<\"chaos\">>)")),
    ),
    Fault::new(
        "ledger-restart",
        "the database is killed and started again",
        |stage, _| Box::pin(restart(stage, Part::Mysql, 2)),
    )
    .in_short(),
    Fault::new(
        "ledger-stall",
        "the database freezes for 10 s",
        |stage, _| Box::pin(stall(stage, Part::Mysql, 10)),
    ),
    Fault::new(
        "ledger-cut",
        "connections to the database are cut ten times while the answer to COMMIT is on its way",
        |stage, _| Box::pin(mute_and_cut(&stage.ways.mysql, 10)),
    ),
    Fault::new(
        "ledger-deadlocks",
        "somebody else locks messages and statistics in the opposite order for 10 s",
        |stage, _| Box::pin(deadlocks(stage)),
    ),
    Fault::new(
        "ledger-locks",
        "somebody else holds locks on the statistics for 8 s, longer than is waited for",
        |stage, _| Box::pin(lock_timeouts(stage)),
    ),
    Fault::new(
        "ledger-read-only",
        "the database is read-only for 8 s",
        |stage, _| Box::pin(read_only(stage)),
    ),
    Fault::new(
        "ledger-restored",
        "an older backup of the ledger is put back beside live queues",
        |stage, _| Box::pin(restored(stage)),
    )
    .forgetting(),
    Fault::new(
        "quota-restart",
        "Redis is killed and started again",
        |stage, _| Box::pin(restart(stage, Part::Redis, 3)),
    ),
    Fault::new("quota-flush", "Redis is emptied five times", |stage, _| {
        Box::pin(flush(stage))
    }),
    Fault::new(
        "answers-lost",
        "answers to calls of many are lost, reports come before answers",
        |_, _| Box::pin(pause(10)),
    )
    .sending(Mix::LOST),
    Fault::new(
        "vendor-away",
        "a vendor refuses connections for 30 s",
        |stage, _| Box::pin(vendor_away(stage, 30)),
    ),
    Fault::new(
        "vendor-away-long",
        "a vendor refuses connections for 5 min",
        |stage, _| Box::pin(vendor_away(stage, 300)),
    ),
    Fault::new(
        "endpoint-away",
        "the partner's endpoint answers 503 for 15 s",
        |stage, _| Box::pin(endpoint(stage, Mood::Away)),
    ),
    Fault::new(
        "endpoint-hangs",
        "another partner's endpoint hangs for 20 s",
        |stage, _| Box::pin(endpoint(stage, Mood::Hanging)),
    ),
    Fault::new(
        "together",
        "services are killed while broker, database and Redis are cut and killed",
        |stage, random| Box::pin(together(stage, random)),
    ),
];

async fn pause(seconds: u64) -> anyhow::Result<()> {
    sleep(Duration::from_secs(seconds)).await;
    Ok(())
}

async fn kill(stage: &Stage, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let mut order: Vec<&Member> = stage.cluster.members.iter().map(AsRef::as_ref).collect();
    for _ in 0..2 {
        random.shuffle(&mut order);
        for member in &order {
            member.kill();
            sleep(Duration::from_millis(random.u64(200..1_200))).await;
        }
    }
    stage.cluster.ready().await
}

async fn freeze(stage: &Stage) -> anyhow::Result<()> {
    let senders = stage.cluster.of("sender");
    let sender = senders.first().context("there is no sender")?;
    sender.freeze();
    sleep(Duration::from_secs(14)).await;
    sender.thaw();
    Ok(())
}

async fn rolling_restart(stage: &Stage) -> anyhow::Result<()> {
    for member in &stage.cluster.members {
        member.stop().await?;
        member.start()?;
        member.ready().await?;
    }
    Ok(())
}

async fn restart(stage: &Stage, part: Part, away: u64) -> anyhow::Result<()> {
    stage.parts.kill(part).await?;
    sleep(Duration::from_secs(away)).await;
    stage.parts.revive(part).await
}

async fn stall(stage: &Stage, part: Part, seconds: u64) -> anyhow::Result<()> {
    stage.parts.freeze(part).await?;
    sleep(Duration::from_secs(seconds)).await;
    stage.parts.thaw(part).await
}

/// What was asked arrives, and its answer is lost.
async fn mute_and_cut(proxy: &Proxy, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        proxy.set(Flow::Mute);
        sleep(Duration::from_millis(120)).await;
        proxy.cut();
        proxy.set(Flow::Open);
        sleep(Duration::from_millis(1_500)).await;
    }
    Ok(())
}

async fn cut_often(proxy: &Proxy) -> anyhow::Result<()> {
    for _ in 0..30 {
        proxy.cut();
        sleep(Duration::from_millis(400)).await;
    }
    Ok(())
}

async fn memory_alarm(stage: &Stage) -> anyhow::Result<()> {
    let set = "set_vm_memory_high_watermark";
    let parts = &stage.parts;
    parts.client(Part::Rabbit, &[set, "0.00001"]).await?;
    sleep(Duration::from_secs(10)).await;
    parts.client(Part::Rabbit, &[set, "0.4"]).await?;
    Ok(())
}

async fn queues_full(stage: &Stage) -> anyhow::Result<()> {
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    let set = [
        "set_policy",
        "--apply-to",
        "queues",
        "full",
        ".*\\.queue.*",
        policy,
    ];
    stage.parts.client(Part::Rabbit, &set).await?;
    sleep(Duration::from_secs(10)).await;
    stage
        .parts
        .client(Part::Rabbit, &["clear_policy", "full"])
        .await?;
    Ok(())
}

/// At once and inside the broker: a client for each queue would take a minute.
async fn every_queue(stage: &Stage, what: &str) -> anyhow::Result<()> {
    let all = format!("[rabbit_amqqueue:{what} || Q <- rabbit_amqqueue:list()].");
    stage.parts.client(Part::Rabbit, &["eval", &all]).await?;
    Ok(())
}

async fn deadlocks(stage: &Stage) -> anyhow::Result<()> {
    let sql = format!(
        "SET SESSION innodb_lock_wait_timeout = 2; START TRANSACTION; \
         SELECT count(*) FROM {SCHEMA}.partner_daily_stats FOR UPDATE; DO SLEEP(0.05); \
         SELECT count(*) FROM (SELECT message_id FROM {SCHEMA}.messages \
         ORDER BY message_id DESC LIMIT 200 FOR UPDATE) m; ROLLBACK"
    );
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        // Now the one, now the other is the victim.
        let _ = stage.parts.sql(&sql).await;
    }
    Ok(())
}

async fn lock_timeouts(stage: &Stage) -> anyhow::Result<()> {
    let sql = format!(
        "START TRANSACTION; SELECT count(*) FROM {SCHEMA}.partner_daily_stats FOR UPDATE; \
         DO SLEEP(8); ROLLBACK"
    );
    stage.parts.sql(&sql).await?;
    Ok(())
}

async fn read_only(stage: &Stage) -> anyhow::Result<()> {
    stage.parts.sql("SET GLOBAL read_only = 1").await?;
    sleep(Duration::from_secs(8)).await;
    stage.parts.sql("SET GLOBAL read_only = 0").await?;
    Ok(())
}

async fn flush(stage: &Stage) -> anyhow::Result<()> {
    for _ in 0..5 {
        stage.parts.client(Part::Redis, &["FLUSHALL"]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A backup is taken under load, work goes on, and then the backup is put back while the queues keep
/// what they have.
async fn restored(stage: &Stage) -> anyhow::Result<()> {
    let backup = stage.folder.join("backup.sql");
    stage.parts.back_up(SCHEMA, &backup).await?;
    sleep(Duration::from_secs(5)).await;
    stage.cluster.stop().await?;
    stage.parts.put_back(SCHEMA, &backup).await?;
    refuses_an_old_ledger(stage).await?;
    let moved = stage.site.program.run(&["ledger", "restored"])?;
    let said = String::from_utf8_lossy(&moved.stderr);
    ensure!(moved.status.success(), "pabal ledger restored: {said}");
    stage.cluster.start().await
}

/// A service must not start on a ledger that went back.
async fn refuses_an_old_ledger(stage: &Stage) -> anyhow::Result<()> {
    let senders = stage.cluster.of("sender");
    let sender = senders.first().context("there is no sender")?;
    let ready = sender.start().map(|()| sender.ready());
    let ready = tokio::time::timeout(Duration::from_secs(10), ready?).await;
    let _ = sender.stop().await;
    ensure!(
        !matches!(ready, Ok(Ok(()))),
        "a sender works on a ledger that went back"
    );
    let log = sender.log_end();
    ensure!(
        log.contains("pabal ledger restored"),
        "a sender does not name the remedy: {:?} {log}",
        sender.last_end()
    );
    Ok(())
}

async fn vendor_away(stage: &Stage, seconds: u64) -> anyhow::Result<()> {
    let simulator = &stage.site.simulator;
    let door = simulator.door(Family::Carrier)?;
    door.shut().await;
    sleep(Duration::from_secs(seconds)).await;
    door.open().await;
    Ok(())
}

/// The endpoint of a partner of its own fares ill; the load's own partner must not notice.
async fn endpoint(stage: &Stage, mood: Mood) -> anyhow::Result<()> {
    let name = format!("e{:08x}", fastrand::u32(..));
    let partner = stage.site.add_partner(&name).await?;
    let manner = Manner {
        mix: Mix::GENTLE,
        rate: 100.0,
        patience: Duration::from_secs(60),
    };
    partner.endpoint.set(mood);
    let load = Load::start(&stage.site, &partner, &name, manner, fastrand::Rng::new());
    sleep(Duration::from_secs(15)).await;
    let outbox = load.finish().await;
    partner.endpoint.set(Mood::Well);
    let accepted = outbox.accepted.len();
    stage.others().extend(&outbox);
    let begun = Instant::now();
    while partner.endpoint.taken() < accepted {
        ensure!(
            begun.elapsed() < Duration::from_secs(120),
            "{} of {accepted} results reached the endpoint that was away",
            partner.endpoint.taken()
        );
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn together(stage: &Stage, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    for round in 0..3 {
        for _ in 0..3 {
            let members = &stage.cluster.members;
            members[random.usize(..members.len())].kill();
            stage.ways.rabbit.cut();
            sleep(Duration::from_millis(random.u64(300..1_500))).await;
            stage.ways.mysql.cut();
            sleep(Duration::from_millis(random.u64(300..1_500))).await;
        }
        let part = [Part::Rabbit, Part::Mysql, Part::Redis][round];
        restart(stage, part, 1).await?;
    }
    stage.cluster.ready().await
}
