//! Which of several routes carries the next call: smooth weighted round robin, by messages.

/// The routes of one message type, in the book's order.
#[derive(Debug, Default)]
pub(super) struct Choice {
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    route: usize,
    weight: i64,
    /// What the route is owed, in messages times weight.
    credit: i64,
}

impl Choice {
    /// Adds a route.
    pub(super) fn add(&mut self, route: usize, weight: u32) {
        self.candidates.push(Candidate {
            route,
            weight: weight.into(),
            credit: 0,
        });
    }

    /// Every route of the type.
    pub(super) fn routes(&self) -> impl Iterator<Item = usize> + '_ {
        self.candidates.iter().map(|candidate| candidate.route)
    }

    /// The route whose turn it is among `ready`; `None` if none of them is a candidate.
    pub(super) fn next(&self, ready: &[usize]) -> Option<usize> {
        self.candidates
            .iter()
            .filter(|candidate| ready.contains(&candidate.route))
            // Of equals the first in the configuration goes first.
            .rev()
            .max_by_key(|candidate| candidate.credit + candidate.weight)
            .map(|candidate| candidate.route)
    }

    /// Books `messages` on `taken`, which was chosen among `ready`. Routes that had no room are
    /// neither owed nor charged anything.
    pub(super) fn book(&mut self, taken: usize, ready: &[usize], messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        let mut total = 0_i64;
        for candidate in &mut self.candidates {
            if ready.contains(&candidate.route) {
                let due = candidate.weight.saturating_mul(messages);
                candidate.credit = candidate.credit.saturating_add(due);
                total = total.saturating_add(due);
            }
        }
        for candidate in &mut self.candidates {
            if candidate.route == taken {
                candidate.credit = candidate.credit.saturating_sub(total);
            }
        }
    }
}
