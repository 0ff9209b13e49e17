//! Long and rare work on a ledger of many processes: in chunks, by two at once, broken off half-way.

use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::id::{MessageId, WebhookId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::report::Verdict;
use pabal_common::ledger::mysql::MysqlLedger;
use pabal_common::ledger::{
    DeadLetterFilter, DeadLetterKind, DeadLetters as _, LedgerError, NewDeadLetter, Queries as _,
    Upkeep as _,
};
use sqlx::Executor as _;

use crate::mysql::Schema;
use crate::sqlite::clock;
use crate::stack::{Fixture, Place, name, seconds};

/// More messages than a restore looks at in one transaction.
const MANY: usize = 5_200;

/// One process, a second way to the ledger, and what they share.
struct Shared {
    it: Fixture,
    first: MysqlLedger,
    second: MysqlLedger,
    schema: Schema,
}

async fn shared() -> Shared {
    let (schema, clock) = (Schema::create().await, clock());
    let back = Arc::new(schema.back_door().await);
    let (first, second) = (schema.ledger(&clock).await, schema.ledger(&clock).await);
    let it = Fixture::new(Arc::new(first.clone()), clock, back, Place::Elsewhere).await;
    Shared {
        it,
        first,
        second,
        schema,
    }
}

impl Shared {
    async fn count(&self, sql: &str) -> u64 {
        self.it.back.count(sql).await
    }

    async fn counter(&self) -> u64 {
        self.count("SELECT counter FROM ledger_counter").await
    }

    /// A message that waits for its retry.
    async fn waiting(&self) -> MessageId {
        let id = self.it.one().await;
        let call = self.it.claimed(&[id]).await;
        let back = Settled::NotTaken { charged: true };
        self.it.settle(&[self.it.settlement(id, call, back)]).await;
        id
    }
}

#[tokio::test]
async fn a_restore_goes_through_every_message_that_is_not_taken_chunk_by_chunk() {
    let shared = shared().await;
    let it = &shared.it;
    let mut ids = Vec::new();
    for _ in 0..MANY / 400 {
        ids.extend(it.queued(MessageType::Sms, 400).await);
    }
    let lost = it.claimed(&ids[..10]).await;
    let settlement = |id: &MessageId| it.settlement(*id, lost, Settled::Lost);
    it.settle(&ids[..10].iter().map(settlement).collect::<Vec<_>>())
        .await;
    assert_eq!(ids.len(), MANY);
    let doubtful = MANY as u64 - 10;
    assert_eq!(it.ledger.restored(0, it.now()).await.unwrap(), doubtful);
    let unknown = format!(
        "SELECT count(*) FROM messages WHERE phase = {}",
        Phase::Unknown.number()
    );
    assert_eq!(shared.count(&unknown).await, MANY as u64);
    assert_eq!(it.ledger.restored(0, it.now()).await.unwrap(), 0);
    // One each: of the lost answers, and of the restore.
    let events = "SELECT count(*) FROM message_events WHERE kind = 'UNKNOWN'";
    assert_eq!(shared.count(events).await, MANY as u64);
}

#[tokio::test]
async fn a_restore_that_was_broken_off_is_still_to_be_done_and_is_done_once() {
    let shared = shared().await;
    let it = &shared.it;
    let (waiting, queued) = (shared.waiting().await, it.one().await);
    let before = shared.counter().await;
    // Somebody holds a delay, so that the restore cannot be finished.
    let mut holder = shared.schema.session().await;
    for statement in [
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN",
        "SELECT * FROM delays FOR UPDATE",
    ] {
        holder.execute(statement).await.unwrap();
    }
    let seen = before + 1000;
    let broken_off = it.ledger.restored(seen, it.now()).await;
    assert!(matches!(broken_off, Err(LedgerError::Unavailable(_))));
    assert_eq!(shared.counter().await, before);
    assert_eq!(it.view(queued).await.phase, Phase::Unknown);

    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(it.ledger.restored(seen, it.now()).await.unwrap(), 0);
    assert_eq!(shared.counter().await, seen + 1);
    for id in [waiting, queued] {
        let events = it.events(id).await;
        let unknown = events.iter().filter(|kind| *kind == "UNKNOWN");
        assert_eq!(unknown.count(), 1);
    }
    assert_eq!(it.release(it.now().plus(seconds(99))).await, None);
}

#[tokio::test]
async fn of_two_who_retire_messages_at_once_neither_waits_or_retires_one_twice() {
    let shared = shared().await;
    let it = &shared.it;
    let old = it.queued(MessageType::Sms, 300).await;
    let reports: Vec<_> = old
        .iter()
        .map(|id| it.report_on(*id, Verdict::Delivered))
        .collect();
    it.apply(&reports).await;
    it.clock.advance(seconds(1));
    let before = it.now();
    let mut retired = 0;
    while retired < 300 {
        let (first, second) = tokio::join!(
            shared.first.retire_messages(before, 20),
            shared.second.retire_messages(before, 20),
        );
        let some = first.unwrap() + second.unwrap();
        assert!(some > 0, "{retired} of 300 are retired");
        retired += some;
    }
    assert_eq!(retired, 300);
    assert_eq!(shared.count("SELECT count(*) FROM messages").await, 0);
    assert_eq!(it.ledger.reconcile().await.unwrap(), []);
}

#[tokio::test]
async fn of_two_operators_who_send_the_same_dead_letters_again_each_webhook_goes_once() {
    let shared = shared().await;
    let it = &shared.it;
    let letter = |subject: WebhookId| NewDeadLetter {
        id: it.ids.dead_letter(),
        kind: DeadLetterKind::Webhook,
        partner: Some(name("shop")),
        subject: subject.to_string(),
        reason: "gave up".into(),
        attempts: 3,
        payload: br#"{"events":[{},{}]}"#.to_vec(),
    };
    let letters: Vec<_> = it.webhook_ids(50).into_iter().map(letter).collect();
    it.ledger.bury(&letters, it.now()).await.unwrap();
    let other = it.join().await;
    let filter = DeadLetterFilter {
        partner: Some(name("shop")),
        limit: 100,
        ..DeadLetterFilter::default()
    };
    let (now, outboxes) = (it.now(), [it.ids.outbox(), it.ids.outbox()]);
    let (first, second) = tokio::join!(
        shared.first.replay(it.me, outboxes[0], &filter, now),
        shared.second.replay(other, outboxes[1], &filter, now),
    );
    assert_eq!((first.unwrap(), second.unwrap()), ((50, None), (50, None)));
    let rows = "SELECT count(*) FROM webhooks WHERE results = 2";
    assert_eq!(shared.count(rows).await, 50);
    let owners = "SELECT count(DISTINCT owner) FROM webhooks";
    assert_eq!(shared.count(owners).await, 1);
}

#[tokio::test]
async fn the_books_agree_while_messages_are_accepted_and_end() {
    let shared = shared().await;
    let it = &shared.it;
    let busy = async {
        for _ in 0..40 {
            let ids = it.queued(MessageType::Sms, 20).await;
            let end = |id: &MessageId| it.report_on(*id, Verdict::Delivered);
            it.apply(&ids[..10].iter().map(end).collect::<Vec<_>>())
                .await;
        }
    };
    let reconciled = async {
        for _ in 0..40 {
            assert_eq!(shared.second.reconcile().await.unwrap(), []);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(busy, reconciled);
    })
    .await
    .unwrap();
}
