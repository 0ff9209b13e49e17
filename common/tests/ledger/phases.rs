//! Each conditional update does exactly what the phase machine says.

use std::collections::HashMap;

use pabal_common::domain::phase::Phase;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::stack::{Fixture, each, stacks};
use crate::twin::{Call, Deed, Said, Twin};

const HOLD: Deed = Deed::Hold {
    stale: false,
    faulty: false,
};
const CLAIM: Deed = Deed::Claim {
    other_owner: false,
    other_account: false,
    stale: false,
};
const SPAM: Verdict = Verdict::Failed(Reason::Spam);

/// Ways to each phase, by every kind of move that leads there.
fn ways() -> Vec<(Phase, Vec<Deed>)> {
    use Call::Current;
    let said = |verdict| {
        Deed::Report(Said {
            other_account: false,
            vendor_id: None,
            by_our_id: true,
            call: None,
            verdict,
        })
    };
    let again = |rest: Vec<Deed>| {
        let first = vec![CLAIM, Deed::NotTaken(Current, true), Deed::Release, CLAIM];
        [first, rest].concat()
    };
    vec![
        (Phase::Queued, vec![]),
        (Phase::Queued, vec![HOLD, Deed::Release]),
        (
            Phase::Queued,
            vec![CLAIM, Deed::NotTaken(Current, true), Deed::Release],
        ),
        (Phase::Waiting, vec![HOLD]),
        (Phase::Waiting, vec![CLAIM, Deed::NotTaken(Current, true)]),
        (
            Phase::Waiting,
            vec![
                CLAIM,
                Deed::Lost(Current, true),
                Deed::NotTaken(Current, false),
            ],
        ),
        (Phase::Submitting, vec![CLAIM]),
        (Phase::Submitting, vec![HOLD, Deed::Release, CLAIM]),
        (Phase::Unknown, vec![CLAIM, Deed::Lost(Current, true)]),
        (Phase::Unknown, vec![CLAIM, Deed::TakeOver(Current, false)]),
        // With an earlier call, whose late answers and reports may come.
        (Phase::Submitting, again(vec![])),
        (Phase::Unknown, again(vec![Deed::Lost(Current, true)])),
        (Phase::Answered, again(vec![Deed::Taken(Current, None)])),
        (Phase::Unknown, vec![Deed::Restore]),
        (Phase::Answered, vec![CLAIM, Deed::Taken(Current, Some(1))]),
        (Phase::Answered, vec![CLAIM, Deed::Taken(Current, None)]),
        (
            Phase::Answered,
            vec![
                CLAIM,
                Deed::Lost(Current, true),
                Deed::Taken(Current, Some(1)),
            ],
        ),
        (
            Phase::Answered,
            vec![CLAIM, Deed::Final(Current, SPAM, None)],
        ),
        (
            Phase::Answered,
            vec![CLAIM, Deed::Final(Current, Verdict::Delivered, Some(1))],
        ),
        (Phase::Answered, vec![CLAIM, said(Verdict::Taken)]),
        (Phase::Done, vec![CLAIM, said(SPAM)]),
        (Phase::Done, vec![said(Verdict::Delivered)]),
        (
            Phase::Done,
            vec![CLAIM, Deed::Taken(Current, Some(1)), Deed::Deadline],
        ),
        (Phase::Done, vec![Deed::Deadline]),
    ]
}

/// Everything that can be done to a message.
fn deeds() -> Vec<Deed> {
    let mut deeds = vec![
        CLAIM,
        Deed::Claim {
            other_owner: false,
            other_account: false,
            stale: true,
        },
        HOLD,
        Deed::Hold {
            stale: true,
            faulty: false,
        },
        Deed::Hold {
            stale: false,
            faulty: true,
        },
        Deed::Release,
        Deed::TakeAsks,
        Deed::Restore,
        Deed::Deadline,
    ];
    for call in [Call::Current, Call::Earlier] {
        for vendor_id in [None, Some(1), Some(2)] {
            deeds.push(Deed::Taken(call, vendor_id));
            deeds.push(Deed::Final(call, SPAM, vendor_id));
        }
        deeds.push(Deed::Final(call, Verdict::Delivered, None));
        for yes in [false, true] {
            deeds.push(Deed::NotTaken(call, yes));
            deeds.push(Deed::Lost(call, yes));
            deeds.push(Deed::TakeOver(call, yes));
        }
    }
    for verdict in [Verdict::Taken, Verdict::Delivered, SPAM] {
        let plain = Said {
            other_account: false,
            vendor_id: None,
            by_our_id: true,
            call: None,
            verdict,
        };
        for said in [
            plain.clone(),
            Said {
                other_account: true,
                ..plain.clone()
            },
            Said {
                vendor_id: Some(1),
                ..plain.clone()
            },
            Said {
                vendor_id: Some(2),
                ..plain.clone()
            },
            Said {
                vendor_id: Some(1),
                by_our_id: false,
                ..plain.clone()
            },
            Said {
                call: Some(Call::Current),
                ..plain.clone()
            },
            Said {
                call: Some(Call::Earlier),
                ..plain
            },
        ] {
            deeds.push(Deed::Report(said));
        }
    }
    deeds
}

#[tokio::test]
async fn every_event_in_every_phase_does_what_the_phase_machine_says() {
    each(|it| async move {
        let other = it.join().await;
        for (phase, way) in ways() {
            for deed in deeds() {
                let mut twin = Twin::new(&it, other).await;
                for before in &way {
                    twin.go(before).await;
                }
                assert_eq!(twin.row.phase, phase, "{way:?}");
                twin.go(&deed).await;
                twin.check().await;
            }
        }
    })
    .await;
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![5 => Just(Call::Current), 1 => Just(Call::Earlier)]
}

fn vendor_id() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![Just(None), Just(Some(1)), Just(Some(2))]
}

fn said() -> impl Strategy<Value = Said> {
    let verdict =
        prop_oneof![3 => Just(Verdict::Taken), 1 => Just(Verdict::Delivered), 2 => Just(SPAM)];
    let rarely = || prop::bool::weighted(0.2);
    (
        rarely(),
        vendor_id(),
        any::<bool>(),
        prop::option::of(call()),
        verdict,
    )
        .prop_map(
            |(other_account, vendor_id, by_our_id, call, verdict)| Said {
                other_account,
                vendor_id,
                by_our_id,
                call,
                verdict,
            },
        )
}

fn deed() -> impl Strategy<Value = Deed> {
    let rarely = || prop::bool::weighted(0.2);
    let ends = prop_oneof![Just(SPAM), Just(Verdict::Delivered)];
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), rarely()).prop_map(
            |(other_owner, other_account, stale)| Deed::Claim { other_owner, other_account, stale }
        ),
        2 => (rarely(), any::<bool>()).prop_map(|(stale, faulty)| Deed::Hold { stale, faulty }),
        2 => (call(), vendor_id()).prop_map(|(call, id)| Deed::Taken(call, id)),
        1 => (call(), ends, vendor_id()).prop_map(|(call, end, id)| Deed::Final(call, end, id)),
        5 => (call(), any::<bool>()).prop_map(|(call, charged)| Deed::NotTaken(call, charged)),
        3 => (call(), any::<bool>()).prop_map(|(call, askable)| Deed::Lost(call, askable)),
        2 => (call(), any::<bool>()).prop_map(|(call, askable)| Deed::TakeOver(call, askable)),
        6 => Just(Deed::Release),
        1 => Just(Deed::TakeAsks),
        1 => Just(Deed::Restore),
        3 => said().prop_map(Deed::Report),
        1 => Just(Deed::Deadline),
    ]
}

#[test]
fn any_sequence_of_events_leaves_the_row_that_the_phase_machine_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for stack in stacks() {
        let it = runtime.block_on((stack.open)());
        let other = runtime.block_on(it.join());
        runtime.block_on(it.webhook("shop", |webhook| webhook.sent = true));
        let config = Config {
            cases: 120,
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&prop::collection::vec(deed(), 1..24), |deeds| {
            runtime.block_on(async {
                let mut twin = Twin::new(&it, other).await;
                for deed in &deeds {
                    twin.go(deed).await;
                    twin.check().await;
                }
                twin.finish().await;
            });
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
        runtime.block_on(told_and_counted_once(&it));
    }
}

/// Every message has ended by now: its partner is told its end once, SENT at most once, and the
/// books agree.
async fn told_and_counted_once(it: &Fixture) {
    let mut told: HashMap<(String, bool), u32> = HashMap::new();
    for (message, status) in it.told("shop").await {
        *told.entry((message, status == "SENT")).or_default() += 1;
    }
    assert!(told.values().all(|times| *times == 1));
    let ended = told.keys().filter(|(_, sent)| !sent).count() as u64;
    assert!(ended >= 120);
    assert_eq!(ended, it.back.count("SELECT count(*) FROM messages").await);
    assert_eq!(it.ledger.reconcile().await.unwrap(), []);
}
