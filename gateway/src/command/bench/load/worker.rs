//! What a connection does with one request: sends it until it is accepted.

use std::time::{Duration, Instant};

use super::Outbox;
use super::answer::Verdict;
use super::letter::Letter;
use super::line::Line;
use crate::command::bench::witness::Mark;

/// The first pause before a request is made again; it doubles.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);
/// A request that is not accepted by then is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, and what it has sent.
pub(super) struct Worker {
    line: Line,
    outbox: Outbox,
    ids: Vec<u64>,
}

impl Worker {
    pub(super) fn new(line: Line) -> Self {
        Self {
            line,
            outbox: Outbox::new(),
            ids: Vec::new(),
        }
    }

    /// Sends the messages from this number on until they are accepted, as a partner would: the same
    /// request again, under the same ids. The answer is measured from `since`; false if they were
    /// given up.
    pub(super) async fn send(&mut self, letter: &Letter, first: u64, since: Instant) -> bool {
        let begun = Instant::now();
        let mut pause = AGAIN_AFTER;
        loop {
            let answer = self.line.send(letter.request(first)).await;
            let verdict = match &answer {
                Ok(answer) => letter.read(first, answer.status, &answer.body, &mut self.ids),
                Err(_) => Verdict::Again,
            };
            match verdict {
                Verdict::Accepted => {
                    self.note(since);
                    return true;
                }
                Verdict::Again if begun.elapsed() < PATIENCE => self.outbox.repeated += 1,
                Verdict::Again => {
                    let what = answer.map_or_else(
                        |error| format!("{error:#}"),
                        |answer| format!("HTTP {}", answer.status),
                    );
                    self.fault(format!("not accepted within {PATIENCE:?}: {what}"));
                    return false;
                }
                Verdict::Wrong(what) => {
                    self.fault(what);
                    return false;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Notes how long after it was due a request is sent.
    pub(super) fn is_late(&mut self, by: Duration) {
        self.outbox.lateness.push(by);
    }

    /// Its connection, and what it has sent since `begun`.
    pub(super) fn part(self, begun: Instant) -> (Line, Outbox) {
        let Self { line, outbox, .. } = self;
        (line, Outbox { begun, ..outbox })
    }

    /// What it has sent since `begun`.
    pub(super) fn close(self, begun: Instant) -> Outbox {
        self.part(begun).1
    }

    fn note(&mut self, since: Instant) {
        let at = Instant::now();
        self.outbox.answers.push(at.duration_since(since));
        self.outbox.ended = at;
        let marks = self.ids.drain(..).map(|id| Mark { id, at });
        self.outbox.accepted.extend(marks);
    }

    fn fault(&mut self, what: String) {
        self.outbox.faults.push(what);
    }
}
