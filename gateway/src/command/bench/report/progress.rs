//! One line on the terminal that says how far it is. Nothing where nobody watches.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(500);
/// Back to the beginning of the line, and the rest of it away.
const ANEW: &str = "\r\u{1b}[K";

/// The line.
#[derive(Clone, Copy, Debug)]
pub(in crate::command::bench) struct Progress {
    watched: bool,
}

impl Progress {
    /// Written if standard error is a terminal.
    pub(in crate::command::bench) fn of_terminal() -> Self {
        Self {
            watched: stderr().is_terminal(),
        }
    }

    /// Writes the line.
    pub(in crate::command::bench) fn say(self, what: &str) {
        if self.watched {
            let mut terminal = stderr();
            let _ = write!(terminal, "{ANEW}{what}");
            let _ = terminal.flush();
        }
    }

    /// Removes the line.
    pub(in crate::command::bench) fn clear(self) {
        self.say("");
    }

    /// Writes what `line` says again and again until `work` is done.
    pub(in crate::command::bench) async fn during<T>(
        self,
        work: impl Future<Output = T>,
        line: impl Fn() -> String,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut turns = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = turns.tick() => self.say(&line()),
            }
        }
    }
}
