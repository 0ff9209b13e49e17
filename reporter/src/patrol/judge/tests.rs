use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::report::VendorAccount;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000_000;
const SECOND: i64 = 1_000;
const ME: InstanceId = InstanceId::from_number(1);
const SENDER: InstanceId = InstanceId::from_number(2);
const CALL: SubmissionId = SubmissionId::from_number(9);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW - seconds * SECOND)
}

fn row(phase: Phase) -> Watched {
    let claimed = !matches!(phase, Phase::Queued | Phase::Waiting);
    Watched {
        id: MessageId::from_number(5),
        kind: MessageType::Sms,
        phase,
        attempt: 0,
        queue: QueueName::of(MessageType::Sms, Lane::Ordinary),
        queued_at: ago(2),
        owner: claimed.then_some(SENDER),
        submission: claimed.then_some(CALL),
        account: claimed.then(|| VendorAccount::new("carrier", "main")),
        claimed_at: claimed.then(|| ago(1)),
        answered_at: None,
        valid_until: ago(-3_600),
    }
}

fn context() -> Context {
    Context {
        now: ago(0),
        me: ME,
        unbroken: true,
        lapsed: BTreeSet::new(),
        call_limit: Duration::from_secs(60),
        margins: Margins::default(),
        publishing: true,
        queues: BTreeMap::new(),
        overdue: Overdue::default(),
        ask_grace: Duration::from_secs(5),
        askable: BTreeSet::new(),
    }
}

fn with_queue(queue: QueueName, ready: Option<u64>, taken: Option<Timestamp>) -> Context {
    Context {
        queues: BTreeMap::from([(queue, QueueState { ready, taken })]),
        ..context()
    }
}

#[test]
fn a_call_whose_owner_has_no_lease_is_taken_over() {
    let context = Context {
        lapsed: BTreeSet::from([SENDER]),
        ..context()
    };
    let duty = judge(&row(Phase::Submitting), &context);
    assert_eq!(duty, Some(Duty::TakeOver(CALL, Orphaned::Lapsed)));
}

#[test]
fn a_claim_is_taken_over_a_minute_after_the_longest_call() {
    let claimed = |seconds| Watched {
        claimed_at: Some(ago(seconds)),
        ..row(Phase::Submitting)
    };
    assert_eq!(judge(&claimed(120), &context()), None);
    let duty = judge(&claimed(121), &context());
    assert_eq!(duty, Some(Duty::TakeOver(CALL, Orphaned::TooOld)));
}

#[test]
fn a_frame_is_lost_when_its_queue_is_empty_past_the_margin() {
    let row = |seconds| Watched {
        queued_at: ago(seconds),
        ..row(Phase::Queued)
    };
    let queue = row(0).queue;
    let empty = with_queue(queue, Some(0), None);
    assert_eq!(judge(&row(120), &empty), None);
    assert_eq!(judge(&row(121), &empty), Some(Duty::QueueAgain));
    let full = with_queue(queue, Some(1), None);
    assert_eq!(judge(&row(121), &full), None);
    let silent = with_queue(queue, None, None);
    assert_eq!(judge(&row(121), &silent), None);
}

#[test]
fn a_frame_is_lost_when_later_ones_were_taken_long_since() {
    let row = Watched {
        queued_at: ago(600),
        ..row(Phase::Queued)
    };
    let taken = |seconds| with_queue(row.queue, Some(7), Some(ago(seconds)));
    assert_eq!(judge(&row, &taken(480)), None);
    assert_eq!(judge(&row, &taken(479)), Some(Duty::QueueAgain));
}

#[test]
fn the_express_lane_alone_has_the_shorter_margin() {
    for lane in Lane::ALL {
        let row = Watched {
            queue: QueueName::Retry(lane),
            queued_at: ago(16),
            ..row(Phase::Queued)
        };
        let empty = with_queue(row.queue, Some(0), None);
        let lost = (lane == Lane::Express).then_some(Duty::QueueAgain);
        assert_eq!(judge(&row, &empty), lost);
    }
}

#[test]
fn nothing_is_queued_again_while_nothing_can_be_published() {
    let row = Watched {
        queued_at: ago(600),
        ..row(Phase::Queued)
    };
    let away = Context {
        publishing: false,
        ..with_queue(row.queue, Some(0), None)
    };
    assert_eq!(judge(&row, &away), None);
}

#[test]
fn before_its_call_a_message_expires_by_its_own_validity() {
    for phase in [Phase::Queued, Phase::Waiting] {
        let row = |valid_until| Watched {
            valid_until,
            ..row(phase)
        };
        assert_eq!(judge(&row(ago(0)), &context()), Some(Duty::Expire));
        assert_eq!(judge(&row(ago(-1)), &context()), None);
    }
}

#[test]
fn after_its_call_a_message_expires_by_the_carriers_deadline() {
    let hours = |kind, hours: i64| Watched {
        kind,
        claimed_at: Some(ago(hours * 3_600)),
        valid_until: ago(hours * 3_600 - 60),
        ..row(Phase::Unknown)
    };
    assert_eq!(judge(&hours(MessageType::Sms, 24), &context()), None);
    let sms = judge(&hours(MessageType::Sms, 25), &context());
    assert_eq!(sms, Some(Duty::Expire));
    assert_eq!(judge(&hours(MessageType::Rcs, 79), &context()), None);
    let rcs = judge(&hours(MessageType::Rcs, 80), &context());
    assert_eq!(rcs, Some(Duty::Expire));
    assert_eq!(judge(&hours(MessageType::Email, 23), &context()), None);
    let email = judge(&hours(MessageType::Email, 24), &context());
    assert_eq!(email, Some(Duty::Expire));
}

#[test]
fn a_recorded_answer_is_reported_again_past_the_margin() {
    let row = |seconds| Watched {
        answered_at: Some(ago(seconds)),
        ..row(Phase::Answered)
    };
    let empty = with_queue(QueueName::Report, Some(0), None);
    assert_eq!(judge(&row(120), &empty), None);
    assert_eq!(judge(&row(121), &empty), Some(Duty::ReportAgain));
    let full = with_queue(QueueName::Report, Some(1), None);
    assert_eq!(judge(&row(121), &full), None);
    assert_eq!(judge(&row(1_201), &full), Some(Duty::ReportAgain));
}

#[test]
fn a_waiting_message_is_looked_at_past_the_margin_of_its_last_move() {
    let row = |queued, claimed| Watched {
        queued_at: ago(queued),
        claimed_at: Some(ago(claimed)),
        ..row(Phase::Waiting)
    };
    assert_eq!(judge(&row(600, 120), &context()), None);
    let duty = judge(&row(600, 121), &context());
    assert_eq!(duty, Some(Duty::DelayAgain));
}

fn phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(Phase::ALL.to_vec())
}

fn queue() -> impl Strategy<Value = QueueName> {
    proptest::sample::select(QueueName::all().collect::<Vec<_>>())
}

/// From a hundred hours ago to a hundred hours ahead, often near now.
fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![-200_i64..200, -360_000_i64..360_000].prop_map(ago)
}

fn some<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

fn owner() -> impl Strategy<Value = InstanceId> {
    (1_u64..4).prop_map(InstanceId::from_number)
}

prop_compose! {
    fn watched()(
        phase in phase(),
        kind in proptest::sample::select(MessageType::ALL.to_vec()),
        queue in queue(),
        queued_at in moment(),
        owner in some(owner()),
        submission in some((1_u64..4).prop_map(SubmissionId::from_number)),
        claimed_at in some(moment()),
        answered_at in some(moment()),
        valid_until in moment(),
    ) -> Watched {
        Watched {
            id: MessageId::from_number(5),
            kind,
            phase,
            attempt: 0,
            queue,
            queued_at,
            owner,
            submission,
            account: None,
            claimed_at,
            answered_at,
            valid_until,
        }
    }
}

prop_compose! {
    fn any_context()(
        unbroken: bool,
        publishing: bool,
        lapsed in proptest::collection::btree_set(owner(), 0..3),
        queues in proptest::collection::btree_map(
            queue(),
            (some(0_u64..3), some(moment())).prop_map(|(ready, taken)| QueueState { ready, taken }),
            0..15,
        ),
    ) -> Context {
        Context { unbroken, publishing, lapsed, queues, ..context() }
    }
}

proptest! {
    #[test]
    fn only_a_call_that_lost_its_owner_is_taken_over(row in watched(), context in any_context()) {
        if let Some(Duty::TakeOver(call, _)) = judge(&row, &context) {
            prop_assert_eq!(row.phase, Phase::Submitting);
            prop_assert_eq!(row.submission, Some(call));
            prop_assert!(context.unbroken);
            let owner = row.owner.unwrap();
            prop_assert_ne!(owner, ME);
            let age = context.now.since(row.claimed_at.unwrap_or(context.now));
            prop_assert!(context.lapsed.contains(&owner) || age > Duration::from_secs(120));
        }
    }

    #[test]
    fn a_call_in_flight_is_never_ended_or_sent_again(mut row in watched(), context in any_context()) {
        row.phase = Phase::Submitting;
        prop_assert!(matches!(judge(&row, &context), None | Some(Duty::TakeOver(..))));
    }

    #[test]
    fn what_may_have_been_taken_is_never_queued_again(row in watched(), context in any_context()) {
        if judge(&row, &context) == Some(Duty::QueueAgain) {
            prop_assert_eq!(row.phase, Phase::Queued);
            prop_assert!(context.publishing);
            prop_assert!(row.valid_until > context.now);
        }
    }

    #[test]
    fn nothing_expires_before_its_time(row in watched(), context in any_context()) {
        if judge(&row, &context) == Some(Duty::Expire) {
            let from = row.claimed_at.unwrap_or(row.queued_at);
            let due = match row.phase {
                Phase::Queued | Phase::Waiting => row.valid_until,
                Phase::Unknown | Phase::Answered => from.plus(row.kind.carrier_deadline()),
                Phase::Submitting | Phase::Done => panic!("never ended by time"),
            };
            prop_assert!(due <= context.now);
        }
    }

    #[test]
    fn what_moved_within_the_margin_and_has_time_left_is_left_alone(
        mut row in watched(),
        context in any_context(),
        moved in 0_i64..15,
    ) {
        row.queued_at = ago(moved);
        row.claimed_at = Some(ago(moved));
        row.answered_at = row.answered_at.and(Some(ago(moved)));
        row.valid_until = ago(-1);
        let context = Context { lapsed: BTreeSet::new(), ..context };
        prop_assert_eq!(judge(&row, &context), None);
    }

    #[test]
    fn what_has_ended_needs_nothing(mut row in watched(), context in any_context()) {
        row.phase = Phase::Done;
        prop_assert_eq!(judge(&row, &context), None);
    }

    #[test]
    fn whatever_a_judgement_may_turn_on_is_doubted_first(row in watched(), context in any_context()) {
        let found = doubts(std::slice::from_ref(&row), context.now, context.margins);
        match judge(&row, &context) {
            Some(Duty::TakeOver(..)) => prop_assert!(found.owners.contains(&row.owner.unwrap())),
            Some(Duty::QueueAgain) => prop_assert!(found.queues.contains(&row.queue)),
            Some(Duty::ReportAgain) => prop_assert!(found.queues.contains(&QueueName::Report)),
            Some(Duty::Ask | Duty::Expire | Duty::DelayAgain) | None => {}
        }
    }
}

#[test]
fn a_message_whose_vendor_can_be_asked_is_asked_before_it_ends() {
    let account = VendorAccount::new("kakao", "main");
    let context = Context {
        askable: BTreeSet::from([account.clone()]),
        ..context()
    };
    let deadline = Overdue::default().after(MessageType::Sms).as_secs();
    let overdue_by = |seconds: u64, answered_at| Watched {
        kind: MessageType::Sms,
        account: Some(account.clone()),
        claimed_at: Some(context.now.minus(Duration::from_secs(deadline + seconds))),
        answered_at,
        ..row(Phase::Answered)
    };
    let recorded = Some(context.now);
    assert_eq!(judge(&overdue_by(1, None), &context), Some(Duty::Ask));
    assert_eq!(judge(&overdue_by(5, None), &context), Some(Duty::Expire));
    assert_eq!(
        judge(&overdue_by(1, recorded), &context),
        Some(Duty::Expire)
    );
}

#[test]
fn what_cannot_be_published_now_is_in_the_outbox_and_not_lost() {
    // A queue that takes no frames is not among those that are known.
    let queued = Watched {
        queued_at: ago(86_400),
        valid_until: ago(-86_400),
        ..row(Phase::Queued)
    };
    assert_eq!(judge(&queued, &context()), None);
    let answered = Watched {
        answered_at: Some(ago(20_000)),
        ..row(Phase::Answered)
    };
    assert_eq!(judge(&answered, &context()), None);
    let known = with_queue(QueueName::Report, Some(1), None);
    assert_eq!(judge(&answered, &known), Some(Duty::ReportAgain));
}
