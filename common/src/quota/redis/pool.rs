//! One partner's limit in this process: what is leased from Redis, who waits for more, and what is
//! given out while Redis is away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::Room;
use super::super::bucket::{Bucket, Share};
use super::link::Link;
use super::script::{Answer, Question};
use crate::telemetry::metric;

/// How many demands go along in one call.
const DEMANDS: usize = 256;
/// For how long Redis is told of what was given out without it.
const UNASKED: Duration = Duration::from_secs(1);

/// How much of a limit is leased at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// A lease is at most this part of a second's worth …
    chunks_per_second: u32,
    /// … and nobody may use it after this time.
    valid: Duration,
}

impl Terms {
    /// For a limit that refuses: what one process holds, it holds from the others, so that is
    /// little, and not for long.
    pub(super) const CLOSE: Self = Self {
        chunks_per_second: 50,
        valid: Duration::from_millis(100),
    };
    /// For a limit that only says who goes first: being a little wrong refuses nobody, and a partner
    /// of a few messages a second asks once for all of them.
    pub(super) const LOOSE: Self = Self {
        chunks_per_second: 10,
        valid: Duration::from_secs(1),
    };
}

/// One limit. Demands that no lease meets wait for a call, of which one at a time is under way.
#[derive(Debug)]
pub(super) struct Pool {
    key: String,
    terms: Terms,
    state: Mutex<State>,
}

/// What one caller wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) share: Share,
    pub(super) items: u32,
}

/// How a demand is met.
#[derive(Debug)]
pub(super) enum Reply {
    /// At once.
    Now(Room),
    /// By the call under way or the next one; no answer if it fails.
    Later(oneshot::Receiver<Room>),
}

#[derive(Debug)]
struct State {
    /// What this process may give out by itself. It counts too what Redis grants, so that a limit
    /// does not begin anew when Redis goes away.
    bucket: Bucket,
    lease: Lease,
    usage: Usage,
    unasked: Unasked,
    horizon: Option<Horizon>,
    waiting: VecDeque<Waiting>,
    /// The task that asks for those who wait.
    asking: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Waiting {
    demand: Demand,
    answer: oneshot::Sender<Room>,
}

/// One call, and for whom it is made.
struct Round {
    question: Question,
    waiting: Vec<Waiting>,
    asked_at: Instant,
}

impl Pool {
    pub(super) fn new(key: String, terms: Terms) -> Self {
        let now = Instant::now();
        let state = State {
            bucket: Bucket::full(now),
            lease: Lease {
                items: 0,
                until: now,
            },
            usage: Usage {
                items: 0,
                since: now,
            },
            unasked: Unasked {
                items: 0,
                since: now,
            },
            horizon: None,
            waiting: VecDeque::new(),
            asking: None,
        };
        Self {
            key,
            terms,
            state: Mutex::new(state),
        }
    }

    /// Meets a demand from what is leased, or through a call.
    pub(super) fn take(self: &Arc<Self>, link: &Arc<Link>, demand: Demand) -> Reply {
        let now = Instant::now();
        let mut state = self.lock();
        if state.lease.take(now, demand.items) {
            state.granted(now, demand);
            return Reply::Now(Room::Granted);
        }
        if let Some(wait) = state.horizon.and_then(|horizon| horizon.wait(now, demand)) {
            return Reply::Now(Room::Wait(wait));
        }
        let (answer, reply) = oneshot::channel();
        state.waiting.push_back(Waiting { demand, answer });
        let is_asked = state
            .asking
            .as_ref()
            .is_some_and(|task| !task.is_finished());
        if !is_asked {
            let asking = ask(Arc::clone(self), Arc::clone(link));
            state.asking = Some(tokio::spawn(asking));
        }
        Reply::Later(reply)
    }

    /// Meets a demand from this process's share of the limit.
    pub(super) fn take_alone(&self, demand: Demand) -> Room {
        let now = Instant::now();
        let mut state = self.lock();
        match state.bucket.take(now, demand.share, demand.items) {
            Ok(()) => {
                state.unasked.add(now, demand.items);
                metric::quota_unasked(demand.items);
                Room::Granted
            }
            Err(wait) => Room::Wait(wait),
        }
    }

    /// The next call to make; `None` ends the asking.
    fn next_round(&self) -> Option<Round> {
        let now = Instant::now();
        let mut state = self.lock();
        state.serve_from_lease(now);
        let count = state.waiting.len().min(DEMANDS);
        let waiting: Vec<_> = state.waiting.drain(..count).collect();
        let Some(last) = waiting.last() else {
            state.asking = None;
            return None;
        };
        let per_second = last.demand.share.per_second.get();
        let useful = state.usage.expected(now, self.terms.valid);
        let chunk = useful.min(per_second / self.terms.chunks_per_second);
        let question = Question {
            per_second,
            unasked: state.unasked.told(now),
            welcome: chunk.saturating_sub(state.lease.left(now)),
            demands: waiting.iter().map(|waiting| waiting.demand.items).collect(),
        };
        Some(Round {
            question,
            waiting,
            asked_at: now,
        })
    }

    fn answered(&self, round: Round, answer: &Answer) {
        let now = Instant::now();
        let mut state = self.lock();
        let horizon = Horizon {
            asked_at: round.asked_at,
            micros: answer.room_in,
        };
        state.horizon = Some(horizon);
        let mut leased = answer.beyond;
        for (waiting, &is_met) in round.waiting.into_iter().zip(&answer.met) {
            let Waiting { demand, answer } = waiting;
            let wait = || horizon.wait(now, demand).unwrap_or(SHORTEST);
            let room = if is_met {
                Room::Granted
            } else {
                Room::Wait(wait())
            };
            match (is_met, answer.send(room)) {
                (true, Ok(())) => state.granted(now, demand),
                // The caller has gone; it is for another.
                (true, Err(_)) => leased = leased.saturating_add(demand.items),
                (false, _) => {}
            }
        }
        let until = round.asked_at + self.terms.valid;
        state.lease.add(now, until, leased);
    }

    /// Those who wait hear nothing.
    fn failed(&self, round: &Round) {
        let mut state = self.lock();
        let unasked = &mut state.unasked.items;
        *unasked = unasked.saturating_add(round.question.unasked);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks Redis until nobody waits. It is a task of its own, so that a caller that goes away leaves
/// nobody else without an answer.
async fn ask(pool: Arc<Pool>, link: Arc<Link>) {
    while let Some(round) = pool.next_round() {
        let put = |connection| round.question.put(&pool.key, connection);
        match link.call(put).await {
            Some(answer) => pool.answered(round, &answer),
            None => pool.failed(&round),
        }
    }
}

impl State {
    /// Meets what it can of those who came too late for the last call; who has gone is forgotten.
    fn serve_from_lease(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.answer.is_closed() {
                continue;
            }
            let demand = waiting.demand;
            if !self.lease.take(now, demand.items) {
                self.waiting.push_back(waiting);
            } else if waiting.answer.send(Room::Granted).is_ok() {
                self.granted(now, demand);
            }
        }
    }

    fn granted(&mut self, now: Instant, demand: Demand) {
        self.bucket.charge(now, demand.share, demand.items);
        self.usage.items = self.usage.items.saturating_add(demand.items);
    }
}

/// Items taken from the limit and not given out yet.
#[derive(Debug)]
struct Lease {
    items: u32,
    until: Instant,
}

impl Lease {
    fn take(&mut self, now: Instant, items: u32) -> bool {
        let is_enough = items <= self.left(now);
        if is_enough {
            self.items -= items;
        }
        is_enough
    }

    fn add(&mut self, now: Instant, until: Instant, items: u32) {
        if items > 0 {
            self.items = self.left(now).saturating_add(items);
            self.until = until;
        }
    }

    fn left(&self, now: Instant) -> u32 {
        if now < self.until { self.items } else { 0 }
    }
}

/// What was granted since the last call: no more is leased than is going to be used, so that one
/// process does not hold what another could give out.
#[derive(Debug)]
struct Usage {
    items: u32,
    since: Instant,
}

impl Usage {
    /// What will be granted while a lease is `valid`, if it goes on as since the last call.
    fn expected(&mut self, now: Instant, valid: Duration) -> u32 {
        let micros = now.saturating_duration_since(self.since).as_micros().max(1);
        let expected = u128::from(self.items) * valid.as_micros() / micros;
        *self = Self {
            items: 0,
            since: now,
        };
        u32::try_from(expected).unwrap_or(u32::MAX)
    }
}

/// What was given out lately while Redis was away. Redis is told of it, so that a short absence
/// does not add to the limit.
#[derive(Debug)]
struct Unasked {
    items: u32,
    since: Instant,
}

impl Unasked {
    fn add(&mut self, now: Instant, items: u32) {
        if now > self.since + UNASKED {
            *self = Self {
                items: 0,
                since: now,
            };
        }
        self.items = self.items.saturating_add(items);
    }

    fn told(&mut self, now: Instant) -> u32 {
        let items = std::mem::take(&mut self.items);
        if now > self.since + 2 * UNASKED {
            0
        } else {
            items
        }
    }
}

/// When room begins to grow, as Redis last said. It can only become later, so a demand that does
/// not keep to it is refused without asking.
#[derive(Clone, Copy, Debug)]
struct Horizon {
    asked_at: Instant,
    micros: i64,
}

/// What a caller waits at least that was refused.
const SHORTEST: Duration = Duration::from_millis(1);

impl Horizon {
    /// How long a demand has to wait; `None` if there may be room.
    fn wait(self, now: Instant, demand: Demand) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.asked_at).as_micros();
        let grows = i128::from(1_000_000 * u64::from(demand.items))
            / i128::from(demand.share.per_second.get());
        let micros = i128::from(self.micros) + grows - i128::try_from(passed).unwrap_or(i128::MAX);
        let micros = u64::try_from(micros).ok().filter(|&micros| micros > 0)?;
        Some(Duration::from_micros(micros).max(SHORTEST))
    }
}
