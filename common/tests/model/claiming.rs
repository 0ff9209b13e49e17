//! What a sender does before and beside its calls: claims, and what becomes of them.

use pabal_common::domain::id::SubmissionId;
use pabal_common::domain::phase::{Event, Phase, Settled};

use super::actions::Commit;
use super::state::{Member, Task, World, account, instance};

/// The claim's transaction: each member that still allows it.
pub(crate) fn claim(world: &mut World, place: usize, commit: Commit) {
    let Task::Took(frame) = world.senders[place].task.clone() else {
        return;
    };
    world.calls += 1;
    let call = SubmissionId::from_number(world.calls);
    let owner = instance(place, world.senders[place].incarnation);
    if commit != Commit::LostUndone {
        for (message, attempt) in &frame {
            let event = Event::Claim {
                owner,
                submission: call,
                account: account(place),
                attempt: *attempt,
            };
            world.move_row(*message, &event);
        }
    }
    world.senders[place].task = Task::Unsure { frame, call };
    if commit == Commit::Known {
        learn(world, place);
    }
}

/// The commit's answer was lost and the claim is read again. Of what it did not get no byte has
/// left, whatever became of the claim: that is settled so, and the frame comes again.
pub(crate) fn reread(world: &mut World, place: usize) {
    let Task::Unsure { frame, call } = world.senders[place].task.clone() else {
        return;
    };
    let mut missed = false;
    for (message, _) in &frame {
        if !is_held(world, *message, call) {
            missed = true;
            let settled = Settled::NotTaken { charged: false };
            world.move_row(
                *message,
                &Event::Settle {
                    submission: call,
                    settled,
                },
            );
        }
    }
    if missed {
        world.put_frame(frame);
    }
    learn(world, place);
}

fn is_held(world: &World, message: usize, call: SubmissionId) -> bool {
    let row = &world.messages[message].row;
    row.phase == Phase::Submitting && row.submission == Some(call)
}

/// What the claim really got. A frame of which it got nothing is acknowledged.
fn learn(world: &mut World, place: usize) {
    let Task::Unsure { frame, call } = world.senders[place].task.clone() else {
        return;
    };
    let members: Vec<Member> = frame
        .iter()
        .filter(|member| is_held(world, member.0, call))
        .copied()
        .collect();
    if members.is_empty() {
        world.senders[place].task = Task::Idle;
        // The name of a call that nobody knows of is free again: fewer worlds to tell apart.
        if world.calls == call.number()
            && world
                .messages
                .iter()
                .all(|one| one.row.submission != Some(call))
        {
            world.calls -= 1;
        }
    } else {
        world.senders[place].task = Task::Claimed {
            frame,
            call,
            members,
        };
    }
}

/// No usable route: each member that is still QUEUED waits.
pub(crate) fn hold(world: &mut World, place: usize) {
    if let Task::Took(frame) = world.senders[place].task.clone() {
        for (message, attempt) in frame {
            let faulty = false;
            world.move_row(message, &Event::Hold { attempt, faulty });
        }
        world.senders[place].task = Task::Idle;
    }
}

/// The frame goes back to its queue and the task is forgotten.
pub(crate) fn give_frame_back(world: &mut World, place: usize) {
    let task = std::mem::replace(&mut world.senders[place].task, Task::Idle);
    if let Some(frame) = task.frame() {
        world.put_frame(frame.clone());
    }
}

/// The process dies, the broker delivers its frame again, and a new instance starts.
pub(crate) fn kill(world: &mut World, place: usize) {
    give_frame_back(world, place);
    let sender = &mut world.senders[place];
    sender.incarnation += 1;
    sender.frozen = false;
    sender.lapsed = false;
}
