//! Whose turn it is at a route, ordinary or bulk: ordinary calls go first, and one call in five is
//! bulk's if any waits.

use pabal_common::domain::kind::Lane;

/// After so many ordinary calls the next is bulk's.
const BEFORE_BULK: u8 = 4;

/// The calls of one route, counted. Express calls are nobody's turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Ordinary calls since the last bulk call; no more are counted than matter.
    ordinary: u8,
}

impl Turn {
    /// Whether a bulk call goes before an ordinary one.
    pub(super) const fn is_for_bulk(self) -> bool {
        self.ordinary >= BEFORE_BULK
    }

    /// Counts a call of a lane.
    pub(super) fn count(&mut self, lane: Lane) {
        match lane {
            Lane::Express => {}
            Lane::Ordinary => self.ordinary = (self.ordinary + 1).min(BEFORE_BULK),
            Lane::Bulk => self.ordinary = 0,
        }
    }
}
