//! Who is next: endpoints take turns, and each holds no more than its own share.
//!
//! Pure: it knows no ledger and no network, and time is given to it. The endpoint waits, not its
//! webhooks: an endpoint that fails is tried with less at once and then less often, so that a
//! hanging one holds one permit, and what waits behind it costs neither a write nor an attempt.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use pabal_common::domain::id::{PartnerId, WebhookId};
use pabal_common::ledger::DueWebhook;
use tokio::time::Instant;

/// The first pause of an endpoint that fails twice in a row; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts at an endpoint that did not ask for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause of an endpoint that takes nothing now; the ledger is not asked for it more often.
const CLOSED_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a whole endpoint that asked for one by Retry-After.
const LONGEST_HINT: Duration = Duration::from_secs(60);

/// How much may go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width {
    /// Attempts in all.
    pub(super) all: usize,
    /// Attempts at one endpoint.
    pub(super) endpoint: usize,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read what is due for an endpoint and tell [`Board::read`].
    Read {
        /// Whose endpoint.
        partner: PartnerId,
        /// What is in hand already.
        in_hand: Vec<WebhookId>,
        /// At most this many.
        limit: u32,
    },
    /// Deliver this and tell [`Board::done`].
    Start(DueWebhook),
}

/// What an attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It answers.
    Well,
    /// It does not, or wants a pause.
    Ill {
        /// For so long.
        hint: Option<Duration>,
    },
    /// It takes nothing now: disabled, or we cannot sign for it.
    Closed,
}

/// Every endpoint with something due or in hand.
#[derive(Debug)]
pub(super) struct Board {
    width: Width,
    running: usize,
    lanes: BTreeMap<PartnerId, Lane>,
    /// Who had the last turn.
    last: Option<PartnerId>,
}

#[derive(Debug)]
struct Lane {
    /// Read and not started.
    waiting: VecDeque<DueWebhook>,
    running: HashSet<WebhookId>,
    /// The ledger may have more.
    more: bool,
    /// How many may run now.
    width: usize,
    /// Failures in a row.
    failures: u32,
    opens: Option<Instant>,
}

impl Board {
    pub(super) fn new(width: Width) -> Self {
        Self {
            width,
            running: 0,
            lanes: BTreeMap::new(),
            last: None,
        }
    }

    /// How many permits are free.
    pub(super) fn free(&self) -> usize {
        self.width.all.saturating_sub(self.running)
    }

    /// How many endpoints are on the board.
    pub(super) fn endpoints(&self) -> usize {
        self.lanes.len()
    }

    /// An endpoint has something due.
    pub(super) fn due(&mut self, partner: &PartnerId) {
        let full = self.width.endpoint;
        let lane = self.lanes.entry(partner.clone());
        lane.or_insert_with(|| Lane::new(full)).more = true;
    }

    /// The next thing to do, if there is a free permit and an endpoint that may use it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        if self.free() == 0 {
            return None;
        }
        let partner = self.turn(now)?;
        let lane = self.lanes.get_mut(&partner)?;
        if let Some(webhook) = lane.waiting.pop_front() {
            lane.running.insert(webhook.id);
            self.running += 1;
            self.last = Some(partner);
            return Some(Next::Start(webhook));
        }
        Some(Next::Read {
            in_hand: lane.running.iter().copied().collect(),
            limit: lane.batch(),
            partner,
        })
    }

    /// What the ledger had for an endpoint, having been asked for `limit`.
    pub(super) fn read(&mut self, partner: &PartnerId, rows: Vec<DueWebhook>, limit: u32) {
        if let Some(lane) = self.lanes.get_mut(partner) {
            lane.more = rows.len() >= limit as usize;
            let running = &lane.running;
            lane.waiting = rows
                .into_iter()
                .filter(|row| !running.contains(&row.id))
                .collect();
            // Nothing new in a full answer would be asked for again at once, for ever.
            lane.more &= !lane.waiting.is_empty();
        }
        self.tidy(partner);
    }

    /// An attempt has ended and is recorded.
    pub(super) fn done(&mut self, partner: &PartnerId, id: WebhookId, said: Said, now: Instant) {
        let full = self.width.endpoint;
        if let Some(lane) = self.lanes.get_mut(partner)
            && lane.running.remove(&id)
        {
            self.running -= 1;
            lane.hear(said, full, now);
        }
        self.tidy(partner);
    }

    /// Forgets what was read and not started: somebody else may deliver it meanwhile.
    pub(super) fn forget_waiting(&mut self) {
        self.lanes.retain(|_, lane| {
            lane.waiting.clear();
            lane.more = false;
            !lane.is_idle()
        });
    }

    /// When the first of the pausing endpoints with work opens again.
    pub(super) fn opens(&self, now: Instant) -> Option<Instant> {
        let pausing = self.lanes.values().filter(|lane| lane.more);
        pausing
            .filter_map(|lane| lane.opens)
            .filter(|at| *at > now)
            .min()
    }

    /// The first endpoint after the last one that could use a permit.
    fn turn(&self, now: Instant) -> Option<PartnerId> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.lanes.range::<PartnerId, _>((after, Bound::Unbounded));
        let round = rest.chain(self.lanes.iter());
        let mut ready = round.filter(|(_, lane)| lane.is_ready(now));
        ready.next().map(|(partner, _)| partner.clone())
    }

    fn tidy(&mut self, partner: &PartnerId) {
        if self.lanes.get(partner).is_some_and(Lane::is_idle) {
            self.lanes.remove(partner);
        }
    }
}

impl Lane {
    fn new(width: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: HashSet::new(),
            more: false,
            width,
            failures: 0,
            opens: None,
        }
    }

    /// Enough to keep the permits busy over one reading.
    fn batch(&self) -> u32 {
        u32::try_from(2 * self.width).unwrap_or(u32::MAX)
    }

    fn is_ready(&self, now: Instant) -> bool {
        let open = self.opens.is_none_or(|at| at <= now);
        open && self.running.len() < self.width && (self.more || !self.waiting.is_empty())
    }

    /// Nothing to do and nothing to remember.
    fn is_idle(&self) -> bool {
        let empty = self.waiting.is_empty() && self.running.is_empty() && !self.more;
        empty && self.failures == 0
    }

    fn hear(&mut self, said: Said, full: usize, now: Instant) {
        match said {
            Said::Well => {
                self.width = (self.width * 2).min(full);
                self.failures = 0;
                self.opens = None;
            }
            Said::Ill { hint } => {
                self.width = (self.width / 2).max(1);
                // What else was on its way when the endpoint was closed says nothing new.
                if self.opens.is_none_or(|at| at <= now) {
                    self.failures = self.failures.saturating_add(1);
                    self.pause(now + pause(self.failures));
                }
                if let Some(hint) = hint {
                    self.pause(now + hint.min(LONGEST_HINT));
                }
            }
            Said::Closed => self.pause(now + CLOSED_PAUSE),
        }
    }

    fn pause(&mut self, until: Instant) {
        self.opens = self.opens.max(Some(until));
        // Read again afterwards: by then it may be somebody else's, or gone.
        self.more |= !self.waiting.is_empty();
        self.waiting.clear();
    }
}

/// The pause after so many failures in a row; one failure may be the webhook's own.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => (FIRST_PAUSE * (1 << doublings.min(6))).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use pabal_common::clock::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const WIDTH: Width = Width {
        all: 16,
        endpoint: 4,
    };
    const ILL: Said = Said::Ill { hint: None };

    fn partner(name: &str) -> PartnerId {
        name.parse().unwrap()
    }

    fn webhook(partner: &PartnerId, number: u64) -> DueWebhook {
        DueWebhook {
            id: WebhookId::from_number(number),
            partner: partner.clone(),
            attempt: 0,
            body: String::new(),
            results: 1,
            created_at: Timestamp::from_millis(0),
        }
    }

    /// Does what the board says until it says nothing more; every endpoint has endless work.
    fn start_all(board: &mut Board, now: Instant, number: &mut u64) -> Vec<DueWebhook> {
        let mut started = Vec::new();
        while let Some(next) = board.next(now) {
            match next {
                Next::Start(webhook) => started.push(webhook),
                Next::Read { partner, limit, .. } => {
                    let rows = (0..limit).map(|_| {
                        *number += 1;
                        webhook(&partner, *number)
                    });
                    let rows = rows.collect();
                    board.read(&partner, rows, limit);
                }
            }
        }
        started
    }

    #[test]
    fn endpoints_take_turns_and_hold_no_more_than_their_share() {
        let mut board = Board::new(WIDTH);
        for name in ["a", "b", "c"] {
            board.due(&partner(name));
        }
        let mut number = 0;
        let started = start_all(&mut board, Instant::now(), &mut number);
        let order: Vec<_> = started.iter().map(|one| one.partner.as_str()).collect();
        assert_eq!(
            order,
            ["a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "b", "c"]
        );
        assert_eq!(board.free(), 4);
    }

    #[test]
    fn a_failing_endpoint_is_tried_with_one_at_a_time_and_after_a_pause() {
        let mut board = Board::new(WIDTH);
        let bad = partner("bad");
        board.due(&bad);
        let (now, mut number) = (Instant::now(), 0);
        for one in start_all(&mut board, now, &mut number) {
            board.done(&bad, one.id, ILL, now);
        }
        assert_eq!(start_all(&mut board, now, &mut number), []);
        let opens = board.opens(now).unwrap();
        assert_eq!(opens - now, FIRST_PAUSE);
        let again = start_all(&mut board, opens, &mut number);
        assert_eq!(again.len(), 1);
        board.done(&bad, again[0].id, ILL, opens);
        assert_eq!(board.opens(opens).unwrap() - opens, FIRST_PAUSE * 2);
    }

    #[test]
    fn a_recovered_endpoint_gets_its_share_back() {
        let mut board = Board::new(WIDTH);
        let bad = partner("bad");
        board.due(&bad);
        let (mut now, mut number) = (Instant::now(), 0);
        for _ in 0..5 {
            for one in start_all(&mut board, now, &mut number) {
                board.done(&bad, one.id, ILL, now);
            }
            now += LONGEST_PAUSE;
        }
        for expected in [1, 2, 4, 4] {
            let started = start_all(&mut board, now, &mut number);
            assert_eq!(started.len(), expected);
            let last = started.len() - 1;
            for (index, one) in started.iter().enumerate() {
                // Each success doubles; only one of them, to see every step.
                let said = if index == last {
                    Said::Well
                } else {
                    Said::Closed
                };
                board.done(&bad, one.id, said, now);
            }
        }
    }

    #[test]
    fn an_endpoint_that_asks_for_a_pause_gets_it_within_reason() {
        let mut board = Board::new(WIDTH);
        let busy = partner("busy");
        board.due(&busy);
        let (now, mut number) = (Instant::now(), 0);
        let started = start_all(&mut board, now, &mut number);
        let hint = Some(Duration::from_secs(7));
        board.done(&busy, started[0].id, Said::Ill { hint }, now);
        assert_eq!(board.opens(now).unwrap() - now, Duration::from_secs(7));
        let hint = Some(Duration::from_secs(86_400));
        board.done(&busy, started[1].id, Said::Ill { hint }, now);
        assert_eq!(board.opens(now).unwrap() - now, LONGEST_HINT);
    }

    #[test]
    fn an_endpoint_with_nothing_left_is_forgotten() {
        let mut board = Board::new(WIDTH);
        let one = partner("one");
        board.due(&one);
        let now = Instant::now();
        assert!(matches!(board.next(now), Some(Next::Read { .. })));
        board.read(&one, vec![webhook(&one, 1)], 8);
        let Some(Next::Start(started)) = board.next(now) else {
            panic!("not started");
        };
        assert_eq!(board.next(now), None);
        board.done(&one, started.id, Said::Well, now);
        assert_eq!((board.endpoints(), board.free()), (0, 16));
    }

    proptest! {
        #[test]
        fn permits_are_never_exceeded_and_never_lost(steps in proptest::collection::vec((0_u8..3, 0_usize..40, 0_u64..8_000), 1..200)) {
            let names = ["a", "b", "c", "d", "e", "f"].map(partner);
            let mut board = Board::new(WIDTH);
            let (mut now, mut number) = (Instant::now(), 0);
            let mut running: Vec<DueWebhook> = Vec::new();
            for (said, which, wait) in steps {
                board.due(&names[which % names.len()]);
                running.extend(start_all(&mut board, now, &mut number));
                prop_assert!(running.len() <= WIDTH.all);
                prop_assert_eq!(board.free(), WIDTH.all - running.len());
                for name in &names {
                    let held = running.iter().filter(|one| one.partner == *name).count();
                    prop_assert!(held <= WIDTH.endpoint);
                }
                if !running.is_empty() {
                    let one = running.swap_remove(which % running.len());
                    let said = [Said::Well, ILL, Said::Closed][usize::from(said)];
                    board.done(&one.partner, one.id, said, now);
                }
                now += Duration::from_millis(wait);
            }
            for one in running.drain(..) {
                board.done(&one.partner, one.id, Said::Well, now);
            }
            prop_assert_eq!(board.free(), WIDTH.all);
        }
    }
}
