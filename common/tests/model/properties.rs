//! What must hold in every world.

use pabal_common::domain::phase::{Phase, Row, Settled};
use pabal_common::domain::status::Status;
use stateright::{Model, Property};

use super::actions::Action;
use super::protocol::Protocol;
use super::state::{Task, World};

pub(crate) const TAKEN_ONCE: &str = "the vendor takes a message at most once";
pub(crate) const WRITTEN_ONCE: &str = "what may have been taken is not written again";
pub(crate) const ENDS_ONCE: &str = "the end is told and counted once, with the end itself";
pub(crate) const FORWARD: &str = "a status never goes back and nothing follows the end";
/// No row waits for ever for want of its delay row.
pub(crate) const DELAYED: &str = "what waits has a delay";
pub(crate) const COMES_TO_REST_DONE: &str = "nothing comes to rest before every message ended";

/// What must never be broken.
pub(crate) const RULES: [&str; 6] = [
    TAKEN_ONCE,
    WRITTEN_ONCE,
    ENDS_ONCE,
    FORWARD,
    DELAYED,
    COMES_TO_REST_DONE,
];

pub(crate) const LATE_BYTE: &str = "a first byte leaves after its claim was taken over";
pub(crate) const LATE_RETURN: &str = "a claim that was taken over is given back unsent";
pub(crate) const REPORT_FIRST: &str = "a report ends a message before its answer is recorded";
pub(crate) const EXPIRED_TAKEN: &str = "a message expires although the vendor took it";
pub(crate) const BOTH_HAVE_IT: &str = "both senders have a frame of one message in hand";

/// That the hard cases are among the worlds at all. These are met with one fault of any kind.
pub(crate) const HARD_CASES: [&str; 5] = [
    LATE_BYTE,
    LATE_RETURN,
    REPORT_FIRST,
    EXPIRED_TAKEN,
    BOTH_HAVE_IT,
];

/// Each rule is an invariant. The last is liveness told as one: where only faults and a vendor's free
/// will could go on, everything has ended. Together with the absence of cycles, which
/// [`super::paths`] shows, every path ends with every message ended, whatever the vendor reports.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(TAKEN_ONCE, |_, world: &World| {
            world.vendor.iter().all(|one| one.taken <= 1)
        }),
        Property::always(WRITTEN_ONCE, |_, world: &World| {
            world.vendor.iter().all(|one| !one.written_again)
        }),
        Property::always(ENDS_ONCE, |_, world: &World| {
            world.messages.iter().all(|one| {
                let ended = u8::from(one.row.phase == Phase::Done);
                one.told == ended && one.counted == ended
            })
        }),
        Property::always(FORWARD, |_, world: &World| {
            world.messages.iter().all(|one| !one.went_back)
        }),
        Property::always(DELAYED, |_, world: &World| {
            world
                .messages
                .iter()
                .all(|one| one.row.phase != Phase::Waiting || one.delay == Some(one.row.attempt))
        }),
        Property::always(COMES_TO_REST_DONE, |protocol: &Protocol, world: &World| {
            world.all_done() || goes_on(protocol, world)
        }),
        Property::sometimes(LATE_BYTE, |_, world: &World| {
            world.senders.iter().any(|sender| {
                matches!(&sender.task, Task::Cleared { .. }) && is_unknown(world, &sender.task)
            })
        }),
        Property::sometimes(LATE_RETURN, |_, world: &World| {
            world.senders.iter().any(|sender| match &sender.task {
                Task::Ended { settled, .. } => {
                    let back =
                        |(_, one): &(usize, Settled)| *one == Settled::NotTaken { charged: false };
                    settled.iter().all(back) && is_unknown(world, &sender.task)
                }
                _ => false,
            })
        }),
        Property::sometimes(REPORT_FIRST, |protocol: &Protocol, world: &World| {
            let delivered = world.messages[0].row.status == Status::Delivered;
            let unrecorded = |settled: &[(usize, Settled)]| {
                settled
                    .iter()
                    .any(|(_, one)| matches!(one, Settled::Taken(_)))
            };
            delivered
                // Nothing went wrong, so what is still to be settled was not settled before.
                && world.faults == protocol.faults
                && world.senders.iter().any(
                    |one| matches!(&one.task, Task::Ended { settled, .. } if unrecorded(settled)),
                )
        }),
        Property::sometimes(EXPIRED_TAKEN, |_, world: &World| {
            world.messages[0].row.status == Status::Expired && world.vendor[0].taken == 1
        }),
        Property::sometimes(BOTH_HAVE_IT, |_, world: &World| {
            world
                .senders
                .iter()
                .all(|one| matches!(one.task, Task::Took(_)))
        }),
    ]
}

/// Whether the call in hand is an unknown outcome in the ledger.
fn is_unknown(world: &World, task: &Task) -> bool {
    let unknown = |row: &Row| row.phase == Phase::Unknown && row.submission == task.call();
    world.messages.iter().any(|one| unknown(&one.row))
}

/// Whether something is bound to happen that changes the world.
fn goes_on(protocol: &Protocol, world: &World) -> bool {
    let mut actions = Vec::new();
    protocol.actions(world, &mut actions);
    actions
        .into_iter()
        .filter(Action::is_bound_to_happen)
        .any(|action| protocol.next_state(world, action).is_some())
}
