//! The witness outside the program: by message, when a vendor took it, when the vendor reported it, and
//! when the partner was told.
//!
//! It runs beside what is measured, so that it keeps a number and a moment for each and nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pabal_common::domain::id::MessageId;
use pabal_simulator::Observer;

/// How many different complaints are remembered; the rest are counted.
const COMPLAINTS: usize = 20;

/// Something that happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The message.
    pub(super) id: u64,
    /// When.
    pub(super) at: Instant,
}

/// What happened to messages, in the order in which it did.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<Mark>>);

impl Marks {
    /// Notes that it happened to these messages now.
    pub(super) fn note(&self, ids: impl Iterator<Item = u64>) {
        let at = Instant::now();
        lock(&self.0).extend(ids.map(|id| Mark { id, at }));
    }

    /// How often it has happened.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Everything so far.
    pub(super) fn so_far(&self) -> Vec<Mark> {
        lock(&self.0).clone()
    }

    fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// What is seen from outside during one run.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Vendors took messages.
    pub(super) taken: Marks,
    /// Vendors reported what became of messages.
    pub(super) reported: Marks,
    /// The partner was told what became of messages.
    pub(super) told: Marks,
    complaints: Mutex<Complaints>,
}

#[derive(Debug, Default)]
struct Complaints {
    some: Vec<String>,
    count: usize,
}

impl Witness {
    /// Forgets everything: another run begins.
    pub(super) fn begin(&self) {
        self.taken.clear();
        self.reported.clear();
        self.told.clear();
        *lock(&self.complaints) = Complaints::default();
    }

    /// Something that must not be.
    pub(super) fn complain(&self, what: String) {
        let mut complaints = lock(&self.complaints);
        complaints.count += 1;
        if complaints.some.len() < COMPLAINTS && !complaints.some.contains(&what) {
            complaints.some.push(what);
        }
    }

    /// What must not be, and was.
    pub(super) fn complaints(&self) -> Vec<String> {
        let complaints = lock(&self.complaints);
        let mut all = complaints.some.clone();
        if complaints.count > all.len() {
            all.push(format!("{} complaints altogether", complaints.count));
        }
        all
    }
}

impl Observer for Witness {
    fn took(&self, messages: &mut dyn Iterator<Item = MessageId>) {
        self.taken.note(messages.map(MessageId::number));
    }

    fn reports(&self, messages: &mut dyn Iterator<Item = MessageId>) {
        self.reported.note(messages.map(MessageId::number));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
