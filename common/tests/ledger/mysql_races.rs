//! Two processes that want the same rows at once: each row goes to one of them, nothing happens
//! twice, and neither is told of an error.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::broker::{Member, ReportFrame};
use pabal_common::clock::ManualClock;
use pabal_common::domain::id::{InstanceId, MessageId, WebhookId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::phase::{Phase, Settled};
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::{Report, VendorMessageId, Verdict};
use pabal_common::ledger::mysql::MysqlLedger;
use pabal_common::ledger::{
    Applied, Claim, ClaimedCall, Delays as _, DeliveryResult, Dispatch, DueGroup, DueWebhook, Hold,
    Instances as _, Overdue, Reports as _, Settlement, Submissions as _, Upkeep as _,
    Webhooks as _,
};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::mysql::Schema;
use crate::sqlite::clock;
use crate::stack::{Fixture, LEASE, Place, YEAR, members, name, partner, results, seconds};

/// How often two processes are let loose on each other.
const ROUNDS: usize = 20;
/// How many rows they want.
const ROWS: usize = 40;

/// Two processes on one schema, each with connections of its own.
struct Two {
    it: Fixture,
    a: MysqlLedger,
    b: MysqlLedger,
    other: InstanceId,
    schema: Schema,
}

async fn two() -> Two {
    let (schema, clock) = (Schema::create().await, clock());
    let back = Arc::new(schema.back_door().await);
    let (a, b) = (schema.ledger(&clock).await, schema.ledger(&clock).await);
    let it = Fixture::new(Arc::new(a.clone()), clock, back, Place::Elsewhere).await;
    let other = b.join("test", LEASE).await.unwrap().instance;
    Two {
        it,
        a,
        b,
        other,
        schema,
    }
}

impl Two {
    fn clock(&self) -> &ManualClock {
        &self.it.clock
    }

    /// Messages that wait for a retry that is due.
    async fn waiting(&self) -> Vec<MessageId> {
        let ids = self.it.queued(MessageType::Sms, ROWS).await;
        let call = self.it.claimed(&ids).await;
        let back = Settled::NotTaken { charged: true };
        let back = |id: &MessageId| self.it.settlement(*id, call, back.clone());
        self.it
            .settle(&ids.iter().map(back).collect::<Vec<_>>())
            .await;
        ids
    }

    /// Messages a vendor has taken; the id it gave each is our own.
    async fn sent(&self) -> Vec<MessageId> {
        let ids = self.it.queued(MessageType::Sms, ROWS).await;
        let call = self.it.claimed(&ids).await;
        let taken = |id: &MessageId| {
            let vendor_id = VendorMessageId::new(&id.to_string());
            self.it.settlement(*id, call, Settled::Taken(vendor_id))
        };
        self.it
            .settle(&ids.iter().map(taken).collect::<Vec<_>>())
            .await;
        ids
    }

    fn delivered(&self, ids: &[MessageId]) -> Vec<Report> {
        shuffled(ids)
            .iter()
            .map(|id| self.it.report(&id.to_string(), Verdict::Delivered))
            .collect()
    }

    /// Every webhook that a process owns.
    async fn owned(&self, owner: InstanceId) -> Vec<DueWebhook> {
        let (shop, far) = (name("shop"), self.it.now().plus(YEAR));
        let webhooks = self.a.due_webhooks(owner, &shop, far, &[], 100_000);
        webhooks.await.unwrap()
    }

    /// The messages of which a process has webhooks.
    async fn told(&self, owner: InstanceId) -> Vec<String> {
        let webhooks = self.owned(owner).await;
        webhooks
            .iter()
            .flat_map(|webhook| results(&webhook.body))
            .map(|(message, _)| message)
            .collect()
    }

    async fn assert_books_agree(&self) {
        assert_eq!(self.it.ledger.reconcile().await.unwrap(), []);
    }
}

fn shuffled<T: Clone>(rows: &[T]) -> Vec<T> {
    let mut rows = rows.to_vec();
    fastrand::shuffle(&mut rows);
    rows
}

fn ids_of(calls: &[ClaimedCall]) -> Vec<MessageId> {
    let messages = calls.iter().flat_map(|call| &call.messages);
    messages.map(|message| message.id).collect()
}

fn sent_members(dispatch: &Option<Dispatch>) -> Vec<MessageId> {
    let members = dispatch.iter().flat_map(|one| members(&one.frames));
    members.map(|member| member.id).collect()
}

/// Every one of `all`, and each once.
#[track_caller]
fn assert_each_once<T: Ord + Clone + std::fmt::Debug>(got: Vec<T>, all: &[T]) {
    let (mut got, mut all) = (got, all.to_vec());
    got.sort();
    all.sort();
    assert_eq!(got, all);
}

#[tokio::test]
async fn of_two_senders_with_the_same_frames_exactly_one_gets_each_message() {
    let two = two().await;
    for _ in 0..ROUNDS {
        let ids = two.it.queued(MessageType::Sms, ROWS).await;
        let wishes = || -> Vec<Claim> {
            let order = shuffled(&ids);
            order.chunks(7).map(|some| two.it.wish(some)).collect()
        };
        let (first, second) = (wishes(), wishes());
        let now = two.it.now();
        let (mine, theirs) = tokio::join!(
            two.a.claim(two.it.me, &first, now),
            two.b.claim(two.other, &second, now)
        );
        let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
        for (owner, wishes, calls) in [(two.it.me, &first, &mine), (two.other, &second, &theirs)] {
            for (wish, call) in wishes.iter().zip(calls) {
                for message in &call.messages {
                    let view = two.it.view(message.id).await;
                    assert_eq!(view.owner, Some(owner));
                    assert_eq!(view.submission, Some(wish.submission));
                }
            }
        }
        let got = [ids_of(&mine), ids_of(&theirs)].concat();
        assert_each_once(got, &ids);
    }
}

#[tokio::test]
async fn a_message_named_in_two_claims_of_one_transaction_is_claimed_for_the_first() {
    let two = two().await;
    let ids = two.it.queued(MessageType::Sms, 3).await;
    let wishes = [two.it.wish(&ids[..2]), two.it.wish(&ids[1..])];
    let calls = two.a.claim(two.it.me, &wishes, two.it.now()).await.unwrap();
    assert_eq!(ids_of(&calls[..1]), ids[..2]);
    assert_eq!(ids_of(&calls[1..]), ids[2..]);
}

#[tokio::test]
async fn reading_a_claim_back_waits_for_its_commit() {
    let two = two().await;
    let ids = two.it.queued(MessageType::Sms, 2).await;
    let wish = two.it.wish(&ids);
    let mut session = two.schema.session().await;
    session.execute("BEGIN").await.unwrap();
    let claimed = format!(
        "UPDATE messages SET phase = 3, owner = '{}', submission_id = '{}', claimed_at = 1",
        two.it.me, wish.submission
    );
    session.execute(AssertSqlSafe(claimed)).await.unwrap();
    let (ledger, claim) = (two.b.clone(), wish.clone());
    let reread = tokio::spawn(async move { ledger.reread(&claim).await.unwrap() });
    let waits = format!(
        "SELECT count(*) FROM information_schema.innodb_trx t \
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
         WHERE p.db = '{}' AND t.trx_state = 'LOCK WAIT'",
        two.schema.name
    );
    while two.it.back.count(&waits).await == 0 {
        assert!(!reread.is_finished(), "it did not wait");
        // The server renews the table only if nobody has read it for a tenth of a second.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    session.execute("COMMIT").await.unwrap();
    assert_eq!(ids_of(&[reread.await.unwrap()]), ids);
    // It has written itself, so that its commit is on disk only after that one.
    let written = "SELECT count(*) FROM messages WHERE claimed_at = 2";
    assert_eq!(two.it.back.count(written).await, 2);
}

#[tokio::test]
async fn what_two_processes_settle_at_once_is_settled_once() {
    let two = two().await;
    for round in 0..ROUNDS {
        let ids = two.it.queued(MessageType::Sms, ROWS).await;
        let call = two.it.claimed(&ids).await;
        let refused = Verdict::Failed(Reason::Unspecified);
        let settled = match round % 3 {
            0 => Settled::Final(refused, None),
            1 => Settled::NotTaken { charged: true },
            _ => Settled::Lost,
        };
        let settlements = || -> Vec<Settlement> {
            let one = |id: &MessageId| Settlement {
                due: Some(two.it.now()),
                ..two.it.settlement(*id, call, settled.clone())
            };
            shuffled(&ids).iter().map(one).collect()
        };
        let (first, second) = (settlements(), settlements());
        let (mine, theirs) = tokio::join!(
            two.a.settle(two.it.me, two.it.ids.outbox(), &first, &[]),
            two.b.settle(two.other, two.it.ids.outbox(), &second, &[])
        );
        let reports: Vec<MessageId> = [mine.unwrap(), theirs.unwrap()]
            .iter()
            .flatten()
            .flat_map(|dispatch| &dispatch.frames)
            .flat_map(|frame| ReportFrame::decode(&frame.body).unwrap().reports)
            .filter_map(|report| report.message)
            .collect();
        let (phase, attempt, event) = match round % 3 {
            0 => (Phase::Answered, 0, None),
            1 => (Phase::Waiting, 1, Some("RETRY")),
            _ => (Phase::Unknown, 0, Some("UNKNOWN")),
        };
        assert_each_once(reports, if round % 3 == 0 { &ids } else { &[] });
        for id in &ids {
            let view = two.it.view(*id).await;
            assert_eq!((view.phase, view.attempt), (phase, attempt));
            let events = two.it.events(*id).await;
            assert_eq!(
                events.iter().map(String::as_str).collect::<Vec<_>>(),
                Vec::from_iter(event)
            );
        }
    }
}

#[tokio::test]
async fn a_call_that_ends_while_it_is_taken_over_ends_one_way() {
    let two = two().await;
    for _ in 0..ROUNDS {
        let ids = two.it.queued(MessageType::Sms, ROWS).await;
        let call = two.it.claimed(&ids).await;
        let taken = |id: &MessageId| two.it.settlement(*id, call, Settled::Taken(None));
        let settlements: Vec<_> = shuffled(&ids).iter().map(taken).collect();
        let claims: Vec<_> = shuffled(&ids)
            .iter()
            .map(|id| (*id, call, Some(two.it.now())))
            .collect();
        let (settled, over) = tokio::join!(
            two.a
                .settle(two.it.me, two.it.ids.outbox(), &settlements, &[]),
            two.b.take_over(&claims, "its owner is gone", two.it.now())
        );
        settled.unwrap();
        // Taken over first or not at all: the answer counts either way.
        let mut taken_over = 0;
        for id in &ids {
            assert_eq!(two.it.view(*id).await.phase, Phase::Answered);
            taken_over += two.it.events(*id).await.len();
        }
        assert_eq!(over.unwrap() as usize, taken_over);
    }
}

#[tokio::test]
async fn a_result_that_two_reporters_have_at_once_is_carried_out_once() {
    let two = two().await;
    for id in ["book", "cafe", "deli"] {
        two.it.add_partner(partner(id)).await;
    }
    for _ in 0..ROUNDS {
        let ids = two.sent().await;
        let (first, second) = (two.delivered(&ids), two.delivered(&ids));
        let (ids_a, ids_b) = (two.it.webhook_ids(ROWS), two.it.webhook_ids(ROWS));
        let now = two.it.now();
        let (mine, theirs) = tokio::join!(
            two.a.apply(two.it.me, &first, &ids_a, now),
            two.b.apply(two.other, &second, &ids_b, now)
        );
        let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
        assert_eq!((mine.ended + theirs.ended) as usize, ROWS);
        assert_eq!((mine.webhooks + theirs.webhooks) as usize, ROWS);
        let moved = [mine.applied, theirs.applied].concat();
        let moved: Vec<_> = moved
            .into_iter()
            .filter_map(|applied| match applied {
                Applied::Moved(id) => Some(id),
                Applied::Nothing(_) => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_each_once(moved, &ids);
    }
    two.assert_books_agree().await;
}

#[tokio::test]
async fn a_message_that_is_reported_while_it_expires_ends_once() {
    let two = two().await;
    let limits = Overdue {
        sms: seconds(0),
        others: seconds(0),
    };
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let ids = two.sent().await;
        let reports = two.delivered(&ids);
        let overdue = shuffled(&ids);
        let (ids_a, ids_b) = (two.it.webhook_ids(ROWS), two.it.webhook_ids(ROWS));
        let now = two.it.now();
        let (applied, expired) = tokio::join!(
            two.a.apply(two.it.me, &reports, &ids_a, now),
            two.b.expire(two.other, &overdue, &ids_b, now, limits)
        );
        assert_eq!((applied.unwrap().ended + expired.unwrap()) as usize, ROWS);
        all.extend(ids);
    }
    let told = [two.told(two.it.me).await, two.told(two.other).await].concat();
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_each_once(told, &all);
    two.assert_books_agree().await;
}

#[tokio::test]
async fn a_delay_that_two_processes_find_due_is_released_once() {
    let two = two().await;
    let groups = [DueGroup {
        kind: MessageType::Sms,
        limit: 10,
    }];
    for _ in 0..ROUNDS {
        let ids = two.waiting().await;
        let now = two.it.now();
        let mut released = Vec::new();
        while two.it.ledger.delays_size().await.unwrap() > 0 {
            let (mine, theirs) = tokio::join!(
                two.a
                    .release_due(two.it.me, two.it.ids.outbox(), &groups, now),
                two.b
                    .release_due(two.other, two.it.ids.outbox(), &groups, now)
            );
            released.extend(sent_members(&mine.unwrap()));
            released.extend(sent_members(&theirs.unwrap()));
        }
        assert_each_once(released, &ids);
    }
}

#[tokio::test]
async fn a_delay_that_is_due_while_its_message_expires_never_holds_the_other_up() {
    let two = two().await;
    let groups = [DueGroup {
        kind: MessageType::Sms,
        limit: 1000,
    }];
    for _ in 0..ROUNDS {
        let ids = two.waiting().await;
        let overdue = shuffled(&ids);
        let webhooks = two.it.webhook_ids(ROWS);
        let until = two.it.now().plus(seconds(3600));
        let (released, expired) = tokio::join!(
            two.a
                .release_due(two.it.me, two.it.ids.outbox(), &groups, until),
            two.b
                .expire(two.other, &overdue, &webhooks, until, Overdue::default())
        );
        // What was released first has expired all the same: its validity is over.
        let released = sent_members(&released.unwrap());
        assert_eq!(BTreeSet::from_iter(&released).len(), released.len());
        assert_eq!(expired.unwrap() as usize, ROWS);
        assert_eq!(two.it.ledger.delays_size().await.unwrap(), 0);
    }
    let waits = "SELECT count(*) FROM messages WHERE phase <> 6";
    assert_eq!(two.it.back.count(waits).await, 0);
    two.assert_books_agree().await;
}

#[tokio::test]
async fn a_due_delay_whose_message_somebody_has_in_hand_is_left_for_the_next_time() {
    let two = two().await;
    let ids = two.waiting().await;
    let mut session = two.schema.session().await;
    session.execute("BEGIN").await.unwrap();
    let lock = format!(
        "SELECT 1 FROM messages WHERE message_id = '{}' FOR UPDATE",
        ids[0]
    );
    session.execute(AssertSqlSafe(lock)).await.unwrap();
    let released = two.it.release(two.it.now()).await;
    assert_each_once(sent_members(&released), &ids[1..]);
    session.execute("ROLLBACK").await.unwrap();
    let released = two.it.release(two.it.now()).await;
    assert_eq!(sent_members(&released), ids[..1]);
}

#[tokio::test]
async fn a_question_that_two_processes_find_due_is_asked_once() {
    let two = two().await;
    for _ in 0..ROUNDS {
        let ids = two.it.queued(MessageType::Sms, ROWS).await;
        let call = two.it.claimed(&ids).await;
        let lost = |id: &MessageId| Settlement {
            due: Some(two.it.now()),
            ..two.it.settlement(*id, call, Settled::Lost)
        };
        two.it
            .settle(&ids.iter().map(lost).collect::<Vec<_>>())
            .await;
        let (now, again) = (two.it.now(), two.it.now().plus(YEAR));
        let mut asked = Vec::new();
        while asked.len() < ROWS {
            let before = asked.len();
            let (mine, theirs) = tokio::join!(
                two.a.take_asks(now, again, 9),
                two.b.take_asks(now, again, 9)
            );
            let asks = [mine.unwrap(), theirs.unwrap()].concat();
            asked.extend(asks.iter().map(|ask| ask.id));
            assert!(asked.len() > before, "{before} of {ROWS}, and no more");
        }
        assert_each_once(asked, &ids);
    }
}

#[tokio::test]
async fn a_parked_report_that_two_processes_find_due_is_taken_once() {
    let two = two().await;
    for round in 0..ROUNDS {
        let (now, again) = (two.it.now(), two.it.now().plus(YEAR));
        let unknown: Vec<String> = (0..ROWS).map(|place| format!("v{round}-{place}")).collect();
        let report = |id: &String| two.it.report(id, Verdict::Delivered);
        let reports: Vec<_> = unknown.iter().map(report).collect();
        two.a.park(&reports, now, now).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < ROWS {
            let before = taken.len();
            let (mine, theirs) = tokio::join!(
                two.a.take_parked(now, again, 9),
                two.b.take_parked(now, again, 9)
            );
            let parked = [mine.unwrap(), theirs.unwrap()].concat();
            let vendor_ids = parked
                .iter()
                .filter_map(|one| one.report.vendor_id.as_ref());
            taken.extend(vendor_ids.map(ToString::to_string));
            assert!(taken.len() > before, "{before} of {ROWS}, and no more");
        }
        assert_each_once(taken, &unknown);
    }
}

/// Webhooks of a process whose lease has run out; the two others live.
async fn orphaned(two: &Two) -> (InstanceId, Vec<DueWebhook>) {
    let gone = two.it.join().await;
    let ids = two.sent().await;
    let webhooks = two.it.webhook_ids(ROWS);
    let reports = two.delivered(&ids);
    let applied = two.a.apply(gone, &reports, &webhooks, two.it.now());
    assert_eq!(applied.await.unwrap().ended as usize, ROWS);
    for _ in 0..3 {
        two.clock().advance(LEASE / 2);
        for one in [two.it.me, two.other] {
            two.a.heartbeat(one, LEASE, &[], &[]).await.unwrap();
        }
    }
    (gone, two.owned(gone).await)
}

fn ids(webhooks: &[DueWebhook]) -> Vec<WebhookId> {
    webhooks.iter().map(|webhook| webhook.id).collect()
}

#[tokio::test]
async fn webhooks_of_a_dead_owner_go_to_one_of_two_that_adopt_them_at_once() {
    let two = two().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        let (gone, webhooks) = orphaned(&two).await;
        all.extend(ids(&webhooks));
        let mut adopted = 0;
        while adopted < ROWS as u64 {
            let (mine, theirs) = tokio::join!(
                two.a.adopt_webhooks(two.it.me, 9),
                two.b.adopt_webhooks(two.other, 9)
            );
            let some = mine.unwrap() + theirs.unwrap();
            assert!(some > 0, "{adopted} of {ROWS}, and no more");
            adopted += some;
        }
        assert_eq!(adopted, ROWS as u64);
        assert_eq!(two.owned(gone).await, []);
    }
    let (mine, theirs) = (two.owned(two.it.me).await, two.owned(two.other).await);
    assert_each_once([ids(&mine), ids(&theirs)].concat(), &all);
}

#[tokio::test]
async fn a_webhook_is_either_recorded_by_its_owner_or_adopted() {
    let two = two().await;
    for _ in 0..5 {
        let (gone, webhooks) = orphaned(&two).await;
        let results: Vec<_> = shuffled(&webhooks)
            .into_iter()
            .map(|webhook| (webhook, DeliveryResult::Delivered))
            .collect();
        let before = two.owned(two.other).await.len() as u64;
        let (recorded, adopted) = tokio::join!(
            two.a.record_deliveries(gone, &results, two.it.now()),
            two.b.adopt_webhooks(two.other, 1000)
        );
        recorded.unwrap();
        let after = two.owned(two.other).await.len() as u64;
        assert_eq!(before + adopted.unwrap(), after);
        assert_eq!(two.owned(gone).await, []);
    }
}

#[tokio::test]
async fn an_attempt_that_is_recorded_twice_at_once_counts_once() {
    let two = two().await;
    let ids = two.sent().await;
    two.it.apply(&two.delivered(&ids)).await;
    for _ in 0..ROUNDS {
        let webhooks = two.it.webhooks("shop").await;
        let failed = || -> Vec<_> {
            let result = DeliveryResult::Retry {
                next_at: two.it.now(),
                why: "503".into(),
            };
            let failed = |webhook| (webhook, result.clone());
            shuffled(&webhooks).into_iter().map(failed).collect()
        };
        let (first, second) = (failed(), failed());
        let now = two.it.now();
        let (mine, theirs) = tokio::join!(
            two.a.record_deliveries(two.it.me, &first, now),
            two.b.record_deliveries(two.it.me, &second, now)
        );
        mine.unwrap();
        theirs.unwrap();
    }
    for webhook in two.it.webhooks("shop").await {
        assert_eq!(webhook.attempt as usize, ROUNDS);
    }
    for id in &ids {
        assert_eq!(two.it.events(*id).await.len(), ROUNDS);
    }
}

#[tokio::test]
async fn a_message_held_by_two_processes_at_once_waits_once() {
    let two = two().await;
    for _ in 0..ROUNDS {
        let ids = two.it.queued(MessageType::Sms, ROWS).await;
        let members = || -> Vec<Member> {
            let member = |id| Member { id, attempt: 0 };
            shuffled(&ids).into_iter().map(member).collect()
        };
        let (first, second) = (members(), members());
        let (kind, now) = (MessageType::Sms, two.it.now());
        let (mine, theirs) = tokio::join!(
            two.a.hold(kind, &first, Hold::Faulty, now, now),
            two.b.hold(kind, &second, Hold::Faulty, now, now)
        );
        mine.unwrap();
        theirs.unwrap();
        for id in &ids {
            assert_eq!(two.it.events(*id).await, ["QUARANTINED"]);
        }
    }
    let twice = "SELECT count(*) FROM messages WHERE poison <> 1";
    assert_eq!(two.it.back.count(twice).await, 0);
}
