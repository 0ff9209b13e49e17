//! Many connections that are open and send nothing more.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::Outbox;
use super::letter::Letter;
use super::line::{Line, Target};
use super::worker::Worker;

/// How many are opened at once: fewer than wait to be accepted without one being turned away.
const AT_ONCE: usize = 64;

/// The connections.
pub(in crate::command::bench) struct Crowd {
    lines: Vec<Line>,
}

impl Crowd {
    /// Opens `size` connections; over each the letter is sent once.
    pub(in crate::command::bench) async fn gather(
        targets: &[Target],
        letter: Letter,
        size: usize,
    ) -> anyhow::Result<(Self, Outbox)> {
        let letter = Arc::new(letter);
        let begun = Instant::now();
        let mut openers = JoinSet::new();
        for first in 0..AT_ONCE.min(size) {
            let share: Vec<(u64, Target)> = (0..)
                .zip(targets.iter().cycle().take(size))
                .skip(first)
                .step_by(AT_ONCE)
                .map(|(number, target)| (number, target.clone()))
                .collect();
            openers.spawn(open(share, Arc::clone(&letter), begun));
        }
        let (mut lines, mut all) = (Vec::with_capacity(size), Outbox::new());
        while let Some(opened) = openers.join_next().await {
            let (opened, sent) = opened?;
            lines.extend(opened);
            all.add(sent);
        }
        Ok((Self { lines }, all))
    }

    /// How many are still as they were opened.
    pub(in crate::command::bench) fn still_open(&mut self) -> usize {
        let open = self.lines.iter_mut().map(Line::is_open);
        open.filter(|open| *open).count()
    }
}

async fn open(
    share: Vec<(u64, Target)>,
    letter: Arc<Letter>,
    begun: Instant,
) -> (Vec<Line>, Outbox) {
    let (mut lines, mut all) = (Vec::with_capacity(share.len()), Outbox::new());
    for (number, target) in share {
        let mut worker = Worker::new(Line::new(target));
        let goes_on = worker.send(&letter, number, Instant::now()).await;
        let (line, sent) = worker.part(begun);
        lines.push(line);
        all.add(sent);
        if !goes_on {
            break;
        }
    }
    (lines, all)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_the_other_side_closed_does_not_count_as_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let target = Target::new(&base, "token").await.unwrap();
        let mut lines = vec![Line::new(target.clone()), Line::new(target.clone())];
        let mut accepted = Vec::new();
        for line in &mut lines {
            line.connect().await.unwrap();
            accepted.push(listener.accept().await.unwrap().0);
        }
        lines.push(Line::new(target));
        let mut crowd = Crowd { lines };
        assert_eq!(crowd.still_open(), 2, "the third was never connected");
        accepted.pop();
        while crowd.still_open() == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(crowd.still_open(), 1);
    }
}
