//! The generator: what it sends is rendered once, it goes over connections that stay, and of an answer
//! it reads the status and the ids.
//!
//! - [`closed`]: each connection sends its next request when the last one is answered. For throughput.
//! - [`open`]: requests are due by a schedule, whatever the answers do, and are measured from when they
//!   were due. For latency.
//! - [`crowd`]: many connections that are open and send nothing more.
//! - [`question`]: what became of a message, asked again and again.

use std::time::{Duration, Instant};

use super::witness::Mark;

pub(super) mod answer;
pub(super) mod closed;
pub(super) mod crowd;
pub(super) mod letter;
pub(super) mod line;
pub(super) mod open;
pub(super) mod question;
pub(super) mod schedule;
mod worker;

/// What a load sent and was promised.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Messages it was promised, and when it knew.
    pub(super) accepted: Vec<Mark>,
    /// How long each request took until its answer: from when it was sent or, in an open loop, due.
    pub(super) answers: Vec<Duration>,
    /// How long after it was due each request was sent; nothing in a closed loop.
    pub(super) lateness: Vec<Duration>,
    /// Requests that were sent again, under the same ids: refused for now, or their answer was lost.
    pub(super) repeated: usize,
    /// What must not happen.
    pub(super) faults: Vec<String>,
    /// When the first request was sent or due.
    pub(super) begun: Instant,
    /// When the last answer had come.
    pub(super) ended: Instant,
}

impl Outbox {
    /// The ids it was given, one for each time.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.accepted.iter().map(|mark| mark.id).collect()
    }

    /// How long it sent.
    pub(super) fn lasted(&self) -> Duration {
        self.ended.duration_since(self.begun)
    }

    fn new() -> Self {
        let now = Instant::now();
        Self {
            accepted: Vec::new(),
            answers: Vec::new(),
            lateness: Vec::new(),
            repeated: 0,
            faults: Vec::new(),
            begun: now,
            ended: now,
        }
    }

    /// Adds what another connection sent.
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.answers.extend(other.answers);
        self.lateness.extend(other.lateness);
        self.repeated += other.repeated;
        self.faults.extend(other.faults);
        self.begun = self.begun.min(other.begun);
        self.ended = self.ended.max(other.ended);
    }
}
