//! The world: ledger, senders, broker and vendor, small enough to hold millions of.

use pabal_common::domain::id::{InstanceId, SubmissionId};
use pabal_common::domain::phase::{Effect, Event, Phase, Row, Settled, step};
use pabal_common::domain::report::{VendorAccount, VendorMessageId, Verdict};
use pabal_common::domain::status::Status;

/// How many senders there are.
pub(crate) const SENDERS: usize = 2;

/// Everything that is remembered anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The ledger.
    pub(crate) messages: Vec<Message>,
    /// The processes that call the vendor.
    pub(crate) senders: [Sender; SENDERS],
    /// Outbox and broker: a bag, sorted. What is in it may be taken in any order.
    pub(crate) frames: Vec<Frame>,
    /// The report queue, and the reports parked because no message is known for them.
    pub(crate) reports: Vec<Note>,
    /// What the vendor knows, a message each.
    pub(crate) vendor: Vec<Vendor>,
    /// How many calls were named so far.
    pub(crate) calls: u64,
    /// What may still go wrong.
    pub(crate) faults: Faults,
}

/// A message in the ledger, and what was done in the transactions that moved it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) row: Row,
    /// Its delay row: the attempt it was written for.
    pub(crate) delay: Option<u16>,
    /// How many final webhooks were written.
    pub(crate) told: u8,
    /// How often the statistics counted it.
    pub(crate) counted: u8,
    /// Its status once went back, or it moved after its end.
    pub(crate) went_back: bool,
}

/// A process. A restart is a new incarnation with a new instance id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    pub(crate) incarnation: u8,
    /// Stopped, without knowing it.
    pub(crate) frozen: bool,
    /// Its lease has run out. A running process sees that earlier than the ledger does, a frozen
    /// one when it wakes, because its clock includes the sleep.
    pub(crate) lapsed: bool,
    pub(crate) task: Task,
}

/// What a sender is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Idle,
    /// A frame in hand; the lease was looked at.
    Took(Frame),
    /// The answer to its claim was lost.
    Unsure {
        frame: Frame,
        call: SubmissionId,
    },
    /// It knows which members it holds.
    Claimed {
        frame: Frame,
        call: SubmissionId,
        members: Vec<Member>,
    },
    /// The lease was looked at again; the first byte is about to leave.
    Cleared {
        frame: Frame,
        call: SubmissionId,
        members: Vec<Member>,
    },
    /// The call is over; its end is not recorded yet, as far as the sender knows.
    Ended {
        frame: Frame,
        call: SubmissionId,
        settled: Vec<(usize, Settled)>,
    },
}

/// A message, by place, and the attempt a frame was made for.
pub(crate) type Member = (usize, u16);
/// The members of a queue message, which become one vendor call.
pub(crate) type Frame = Vec<Member>;

/// A report on its way to the reporter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Note {
    pub(crate) message: usize,
    /// The call it answers, if a sender made it: `SubmissionId` as a number.
    pub(crate) call: Option<u64>,
    pub(crate) said: Said,
}

/// [`Verdict`], with an order for the bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Said {
    Taken,
    Delivered,
    Failed,
    NotConnected,
}

/// What the vendor knows of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vendor {
    /// How often it took it.
    pub(crate) taken: u8,
    /// The account that took it: the one its reports come from.
    pub(crate) account: Option<usize>,
    /// A write reached it that was not surely refused for now.
    pub(crate) reached: bool,
    /// A write began after such a write.
    pub(crate) written_again: bool,
    /// How many reports it may still send.
    pub(crate) reports: u8,
    /// How often it may still push back.
    pub(crate) throttles: u8,
}

/// What may still go wrong, each kind and all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Faults of any kind.
    pub(crate) any: u8,
    /// Processes killed and started again.
    pub(crate) kills: u8,
    /// Processes stopped and perhaps continued.
    pub(crate) freezes: u8,
    /// Leases that lapse because the ledger stalls.
    pub(crate) stalls: u8,
    /// Frames or reports delivered twice.
    pub(crate) doubles: u8,
    /// Frames or reports purged.
    pub(crate) losses: u8,
    /// Commits whose answer is lost.
    pub(crate) commits: u8,
    /// Re-reads that fail too, after which a sender forgets its claim.
    pub(crate) forgets: u8,
    /// Times a sender finds no usable route.
    pub(crate) closures: u8,
}

/// One kind of fault.
pub(crate) type Fault = fn(&mut Faults) -> &mut u8;

impl Faults {
    pub(crate) fn allows(mut self, fault: Fault) -> bool {
        self.any > 0 && *fault(&mut self) > 0
    }

    fn spend(&mut self, fault: Fault) {
        self.any -= 1;
        *fault(self) -= 1;
        // What cannot be spent any more makes no difference between two worlds.
        if self.any == 0 {
            *self = Self::default();
        }
    }
}

impl Said {
    pub(crate) fn verdict(self) -> Verdict {
        use pabal_common::domain::reason::Reason;
        match self {
            Self::Taken => Verdict::Taken,
            Self::Delivered => Verdict::Delivered,
            Self::Failed => Verdict::Failed(Reason::Spam),
            Self::NotConnected => Verdict::Failed(Reason::NotConnected),
        }
    }

    fn of(verdict: Verdict) -> Self {
        [Self::Taken, Self::Delivered, Self::NotConnected]
            .into_iter()
            .find(|said| said.verdict() == verdict)
            .unwrap_or(Self::Failed)
    }
}

/// Each sender has a route of its own, so that a retry may go to another account.
pub(crate) fn account(sender: usize) -> VendorAccount {
    VendorAccount::from_stored(["a/1", "b/1"][sender])
}

/// The vendor's id of a message.
pub(crate) fn vendor_id(message: usize) -> Option<VendorMessageId> {
    VendorMessageId::new(["v0", "v1"][message])
}

/// The instance id of a sender's incarnation.
pub(crate) fn instance(sender: usize, incarnation: u8) -> InstanceId {
    InstanceId::from_number(sender as u64 * 16 + u64::from(incarnation) + 1)
}

impl Task {
    /// The call in hand.
    pub(crate) fn call(&self) -> Option<SubmissionId> {
        match self {
            Self::Idle | Self::Took(_) => None,
            Self::Unsure { call, .. }
            | Self::Claimed { call, .. }
            | Self::Cleared { call, .. }
            | Self::Ended { call, .. } => Some(*call),
        }
    }

    /// The frame that is not acknowledged yet.
    pub(crate) fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Idle => None,
            Self::Took(frame)
            | Self::Unsure { frame, .. }
            | Self::Claimed { frame, .. }
            | Self::Cleared { frame, .. }
            | Self::Ended { frame, .. } => Some(frame),
        }
    }
}

impl World {
    /// Messages just accepted, all in one frame.
    pub(crate) fn accepted(messages: usize, vendor: &Vendor, faults: Faults) -> Self {
        let message = Message {
            row: Row::accepted(),
            delay: None,
            told: 0,
            counted: 0,
            went_back: false,
        };
        let sender = Sender {
            incarnation: 0,
            frozen: false,
            lapsed: false,
            task: Task::Idle,
        };
        Self {
            messages: vec![message; messages],
            senders: [sender.clone(), sender],
            frames: vec![(0..messages).map(|place| (place, 0)).collect()],
            reports: Vec::new(),
            vendor: vec![vendor.clone(); messages],
            calls: 0,
            faults,
        }
    }

    pub(crate) fn spend(&mut self, fault: Fault) {
        self.faults.spend(fault);
    }

    pub(crate) fn phase(&self, message: usize) -> Phase {
        self.messages[message].row.phase
    }

    /// Whether a sender has done anything yet.
    pub(crate) fn begun(&self) -> bool {
        self.calls > 0 || self.senders[0].task != Task::Idle || self.messages[0].delay.is_some()
    }

    pub(crate) fn all_done(&self) -> bool {
        self.messages.iter().all(|one| one.row.phase == Phase::Done)
    }

    /// Whether the ledger holds the owner of this message's claim for dead.
    pub(crate) fn owner_lapsed(&self, message: usize) -> bool {
        let owner = self.messages[message].row.owner;
        !(0..SENDERS).any(|place| {
            let sender = &self.senders[place];
            owner == Some(instance(place, sender.incarnation)) && !sender.lapsed
        })
    }

    /// One move in the ledger, with all its effects, as one transaction.
    pub(crate) fn move_row(&mut self, place: usize, event: &Event) -> bool {
        let message = &mut self.messages[place];
        let Some(next) = step(&message.row, event) else {
            return false;
        };
        let (before, after) = (message.row.status, next.row.status);
        message.went_back |= before != after && !before.may_become(after);
        message.went_back |= message.row.phase == Phase::Done && next.row != message.row;
        message.row = next.row;
        for effect in next.effects {
            self.carry_out(place, effect);
        }
        true
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        let message = &mut self.messages[place];
        match effect {
            Effect::Enqueue => self.put_frame(vec![(place, self.messages[place].row.attempt)]),
            Effect::Delay => message.delay = Some(message.row.attempt),
            Effect::Report => self.report_answer(place),
            Effect::End(status, _) => {
                message.went_back |= status != message.row.status || !Status::is_final(status);
                message.told += 1;
                message.counted += 1;
            }
            // Asking ends in a report of the vendor, like any other; a stray is an event only.
            Effect::Ask | Effect::Stray => {}
        }
    }

    /// The final answer on the row goes to the report queue.
    pub(crate) fn report_answer(&mut self, place: usize) {
        let row = &self.messages[place].row;
        if let (Some(verdict), Some(call)) = (row.verdict, row.submission) {
            self.put_note(Note {
                message: place,
                call: Some(call.number()),
                said: Said::of(verdict),
            });
        }
    }

    pub(crate) fn put_frame(&mut self, frame: Frame) {
        self.frames.push(frame);
        self.frames.sort_unstable();
    }

    pub(crate) fn remove_frame(&mut self, frame: &Frame) {
        if let Some(at) = self.frames.iter().position(|one| one == frame) {
            self.frames.remove(at);
        }
    }

    pub(crate) fn put_note(&mut self, note: Note) {
        self.reports.push(note);
        self.reports.sort_unstable();
    }

    pub(crate) fn remove_note(&mut self, note: &Note) {
        if let Some(at) = self.reports.iter().position(|one| one == note) {
            self.reports.remove(at);
        }
    }
}
