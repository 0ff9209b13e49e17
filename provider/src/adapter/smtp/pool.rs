//! Connections that have sent a mail and may send another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::session::Session;

/// How long a connection waits for its next mail: shorter than servers wait, so that it is seldom them
/// who go.
const IDLE: Duration = Duration::from_secs(15);
/// The most idle connections, in all and to one server.
const MOST: usize = 256;
const MOST_TO_ONE: usize = 16;

struct Idle {
    session: Session,
    since: Instant,
}

/// The idle connections of one account, by server.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<String, Vec<Idle>>>);

impl Pool {
    /// One to `server` that was used last, if there is any. It has to be reset first.
    pub(super) fn take(&self, server: &str) -> Option<Session> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget_old(&mut idle);
        let session = idle.get_mut(server)?.pop()?.session;
        Some(session)
    }

    /// Keeps one, if there is room.
    pub(super) fn put(&self, server: &str, session: Session) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget_old(&mut idle);
        let all: usize = idle.values().map(Vec::len).sum();
        let to_this = idle.entry(server.to_owned()).or_default();
        if all < MOST && to_this.len() < MOST_TO_ONE {
            let since = Instant::now();
            to_this.push(Idle { session, since });
        }
    }
}

fn forget_old(idle: &mut HashMap<String, Vec<Idle>>) {
    idle.retain(|_, sessions| {
        sessions.retain(|one| one.since.elapsed() < IDLE);
        !sessions.is_empty()
    });
}
