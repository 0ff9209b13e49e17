//! What was accepted, what vendors took and what the partner was told must be the same messages. A run
//! of which that is not true is no result, however fast it was.

/// What the comparison says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    /// Messages the partner was promised.
    pub(super) accepted: usize,
    /// Messages a vendor took.
    pub(super) taken: usize,
    /// Messages whose end the partner was told.
    pub(super) told: usize,
    /// Accepted, and no vendor took it.
    pub(super) lost: usize,
    /// Taken more than once.
    pub(super) doubled: usize,
    /// Accepted, and the partner was not told its end.
    pub(super) open: usize,
    /// Taken or told, and never accepted.
    pub(super) foreign: usize,
    /// Told more than once. Webhooks come at least once, so that is allowed.
    pub(super) told_again: usize,
    /// What else must not be.
    pub(super) complaints: Vec<String>,
}

impl Books {
    /// Compares the ids; of each, one entry for each time.
    pub(super) fn compare(accepted: &[u64], taken: &[u64], told: &[u64]) -> Self {
        let accepted = Column::of(accepted);
        let taken = Column::of(taken);
        let told = Column::of(told);
        let mut complaints = Vec::new();
        if accepted.repeats > 0 {
            let what = "of the ids given at acceptance were given before";
            complaints.push(format!("{} {what}", accepted.repeats));
        }
        Self {
            accepted: accepted.ids.len(),
            taken: taken.ids.len(),
            told: told.ids.len(),
            lost: accepted.missing_in(&taken),
            doubled: taken.repeats,
            open: accepted.missing_in(&told),
            foreign: taken.missing_in(&accepted) + told.missing_in(&accepted),
            told_again: told.repeats,
            complaints,
        }
    }

    /// The books of an installation whose far end cannot be seen: what it promised, once each.
    pub(super) fn of_promises(accepted: &[u64]) -> Self {
        Self {
            lost: 0,
            open: 0,
            ..Self::compare(accepted, &[], &[])
        }
    }

    /// Whether the run is a result.
    pub(super) fn are_clean(&self) -> bool {
        self.wrong().is_empty()
    }

    /// What is wrong, in words.
    pub(super) fn wrong(&self) -> Vec<String> {
        let counted = [
            (self.lost, "lost: accepted, and no vendor took it"),
            (self.doubled, "doubled: taken by a vendor more than once"),
            (self.open, "open: accepted, and the partner was not told"),
            (self.foreign, "foreign: taken or told, and never accepted"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let counted = counted.map(|(count, what)| format!("{count} {what}"));
        counted.chain(self.complaints.iter().cloned()).collect()
    }
}

/// How many of the accepted have been told, each counted once.
pub(super) fn told_of(accepted: &[u64], told: &[u64]) -> usize {
    let accepted = Column::of(accepted);
    accepted.ids.len() - accepted.missing_in(&Column::of(told))
}

/// Ids in order, each once.
struct Column {
    ids: Vec<u64>,
    /// How many entries were there besides.
    repeats: usize,
}

impl Column {
    fn of(entries: &[u64]) -> Self {
        let mut ids = entries.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let repeats = entries.len() - ids.len();
        Self { ids, repeats }
    }

    /// How many of these the other does not have.
    fn missing_in(&self, other: &Self) -> usize {
        let mut others = other.ids.iter().peekable();
        let is_missing = |id: &&u64| {
            while others.next_if(|other| other < id).is_some() {}
            others.peek() != Some(id)
        };
        self.ids.iter().filter(is_missing).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ids_in_any_order_balance() {
        let books = Books::compare(&[3, 1, 2], &[2, 3, 1], &[1, 2, 3]);
        assert!(books.are_clean(), "{books:?}");
        assert_eq!((books.accepted, books.taken, books.told), (3, 3, 3));
    }

    #[test]
    fn what_is_lost_doubled_open_or_foreign_is_counted_and_named() {
        let books = Books::compare(&[1, 2, 3, 4], &[1, 1, 1, 3, 4, 9], &[3, 4, 4, 8]);
        let counted = (books.lost, books.doubled, books.open, books.foreign);
        assert_eq!(counted, (1, 2, 2, 2));
        assert_eq!(books.told_again, 1);
        assert_eq!(books.wrong().len(), 4);
        assert!(!books.are_clean());
    }

    #[test]
    fn being_told_twice_is_allowed_and_one_id_for_two_messages_is_not() {
        assert!(Books::compare(&[1], &[1], &[1, 1]).are_clean());
        assert!(!Books::compare(&[1, 1], &[1], &[1]).are_clean());
    }

    #[test]
    fn promises_alone_balance_if_each_id_was_given_once() {
        assert!(Books::of_promises(&[2, 1]).are_clean());
        assert!(!Books::of_promises(&[1, 1]).are_clean());
    }

    #[test]
    fn only_accepted_messages_count_as_told() {
        assert_eq!(told_of(&[1, 2, 3], &[3, 3, 1, 7]), 2);
    }
}
