//! Where polling stands: windows of update time that follow one another without a gap.
//!
//! Only windows that lie wholly in the past are looked at. No result enters such a window any
//! more; one that is updated again leaves it for a later one and moves those behind it forward by
//! one place. That is why the pages of a window are read from the last to the first: what moves,
//! moves to a page that is still to be read.

use std::fmt;
use std::str::FromStr;

use pabal_common::clock::Timestamp;

use super::kst::Grain;

/// The most results on a page (NHN's limit).
pub(super) const PAGE: u64 = 1000;
/// The longest window in seconds: SMS allows a day.
const LONGEST: i64 = 24 * 3600;
/// The first poll of all begins so many seconds ago.
const FIRST: i64 = LONGEST;
/// So many seconds ago, every result of that time can surely be seen, even if our clock is a little
/// ahead of NHN's.
const SETTLED: i64 = 15;

/// What is kept between two polls, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Everything before this has been read.
    from: i64,
    /// A window with pages still to be read.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    until: i64,
    page: u64,
}

/// `from`, or `from/until/page`.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        match self.open {
            Some(Open { until, page }) => write!(f, "/{until}/{page}"),
            None => Ok(()),
        }
    }
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let mut parts = text.split('/');
        let mut number = || parts.next().map(str::parse::<i64>).transpose();
        let (from, until, page) = (number(), number(), number());
        let (Ok(Some(from)), Ok(until), Ok(page)) = (from, until, page) else {
            return Err(NotACursor);
        };
        let open = match (until, page.and_then(|page| u64::try_from(page).ok())) {
            (None, None) => None,
            (Some(until), Some(page)) if until > from && page > 0 => Some(Open { until, page }),
            _ => return Err(NotACursor),
        };
        Ok(Self { from, open })
    }
}

/// What to read next: a page of the window from `from` until just before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) page: u64,
    /// Whether the window has just been opened, so that its size is not yet known.
    is_first: bool,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Then {
    /// Whether the page's results count; those of a first look come again unless they are all.
    pub(super) counts: bool,
    /// Where to go on.
    pub(super) cursor: Cursor,
}

/// The first page has fewer results than it should: NHN makes smaller pages than we asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page is shorter than the results it should hold")]
pub(super) struct ShortPage;

impl Look {
    /// After `cursor`, or from the start; `None` while the next window is not yet past.
    pub(super) fn next(cursor: Option<Cursor>, now: Timestamp, grain: Grain) -> Option<Self> {
        let now = now.unix_seconds();
        let Cursor { from, open } = cursor.unwrap_or_else(|| Cursor {
            from: floor(now - FIRST, grain),
            open: None,
        });
        let (until, page, is_first) = match open {
            Some(Open { until, page }) => (until, page, false),
            None => (
                last_end(now, grain).min(from.saturating_add(LONGEST)),
                1,
                true,
            ),
        };
        (until > from).then_some(Self {
            from,
            until,
            page,
            is_first,
        })
    }

    /// Whether a result that was updated then belongs to this window. Whether NHN counts the end
    /// of a query in is not documented; the next window begins there.
    pub(super) fn holds(&self, updated_at: i64) -> bool {
        updated_at < self.until
    }

    /// After the page has been read; `length` is how many results stood on it, `total` how many the
    /// query has over all pages.
    ///
    /// # Errors
    /// [`ShortPage`]: going on would pass over what is missing.
    pub(super) fn then(self, length: u64, total: u64) -> Result<Then, ShortPage> {
        if self.is_first && length < total.min(PAGE) {
            return Err(ShortPage);
        }
        let Self {
            from, until, page, ..
        } = self;
        let pages = total.div_ceil(PAGE);
        let (counts, next) = match self.is_first {
            true if pages > 1 => (false, Some(pages)),
            true => (true, None),
            false => (true, (page > 1).then(|| page - 1)),
        };
        let cursor = match next {
            Some(page) => Cursor {
                from,
                open: Some(Open { until, page }),
            },
            None => Cursor {
                from: until,
                open: None,
            },
        };
        Ok(Then { counts, cursor })
    }
}

/// The latest end of a window. Should NHN count the end in, then with all of its second or minute,
/// and no result may enter that any more either.
fn last_end(now: i64, grain: Grain) -> i64 {
    floor(now - SETTLED - (grain.seconds() - 1), grain)
}

fn floor(seconds: i64, grain: Grain) -> i64 {
    seconds - seconds.rem_euclid(grain.seconds())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_795_000_000;

    /// A vendor that gives what a look asks for.
    #[derive(Debug)]
    struct Vendor {
        /// When each result was last updated.
        updated: Vec<i64>,
        grain: Grain,
        newest_first: bool,
        counts_the_end_in: bool,
        tells_times: bool,
    }

    impl Vendor {
        /// The ids and times of a page, and how many results the window has.
        fn page(&self, look: Look) -> (Vec<(usize, i64)>, u64) {
            let end = match self.counts_the_end_in {
                true => look.until + self.grain.seconds() - 1,
                false => look.until - 1,
            };
            let all = self.updated.iter().copied().enumerate();
            let mut all: Vec<_> = all
                .filter(|(_, at)| (look.from..=end).contains(at))
                .collect();
            all.sort_unstable_by_key(|(id, at)| (*at, *id));
            if self.newest_first {
                all.reverse();
            }
            let total = all.len() as u64;
            let before = usize::try_from((look.page - 1) * PAGE).unwrap();
            let page = all.into_iter().skip(before).take(PAGE as usize);
            (page.collect(), total)
        }

        /// One poll: what is reported, and the cursor after it, as it is stored.
        fn poll(
            &self,
            cursor: &mut Option<String>,
            now: i64,
            seen: &mut HashSet<(usize, i64)>,
        ) -> bool {
            let at = cursor.as_deref().map(|text| text.parse().unwrap());
            let now = Timestamp::from_millis(now * 1000);
            let Some(look) = Look::next(at, now, self.grain) else {
                return false;
            };
            let (page, total) = self.page(look);
            let then = look.then(page.len() as u64, total).unwrap();
            let held = |at: i64| then.counts && (!self.tells_times || look.holds(at));
            seen.extend(page.into_iter().filter(|(_, at)| held(*at)));
            *cursor = Some(then.cursor.to_string());
            true
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// So many seconds pass.
        Passes(i64),
        /// So many results appear, so many seconds late.
        Appear(usize, i64),
        /// One is updated again.
        Updated(prop::sample::Index),
        /// We poll.
        Poll,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (0_i64..100).prop_map(Event::Passes),
            1 => (0_i64..200_000).prop_map(Event::Passes),
            4 => (1_usize..40, 0..SETTLED).prop_map(|(n, late)| Event::Appear(n, late)),
            1 => (900_usize..2200, 0..SETTLED).prop_map(|(n, late)| Event::Appear(n, late)),
            3 => any::<prop::sample::Index>().prop_map(Event::Updated),
            6 => Just(Event::Poll),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_result_is_lost_whatever_the_paging(
            events in prop::collection::vec(event(), 1..30),
            to_the_second: bool,
            newest_first: bool,
            counts_the_end_in: bool,
        ) {
            let mut vendor = Vendor {
                updated: Vec::new(),
                grain: if to_the_second { Grain::Second } else { Grain::Minute },
                newest_first,
                counts_the_end_in,
                tells_times: to_the_second,
            };
            let (mut now, mut cursor, mut seen) = (START, None, HashSet::new());
            vendor.poll(&mut cursor, now, &mut seen);
            for event in events {
                match event {
                    Event::Passes(seconds) => now += seconds,
                    Event::Appear(results, late) => {
                        let all = vendor.updated.len() + results;
                        vendor.updated.resize(all, now - late);
                    }
                    Event::Updated(_) if vendor.updated.is_empty() => {}
                    Event::Updated(which) => {
                        let which = which.index(vendor.updated.len());
                        vendor.updated[which] = now;
                    }
                    Event::Poll => {
                        vendor.poll(&mut cursor, now, &mut seen);
                    }
                }
            }
            now += SETTLED + 3 * vendor.grain.seconds();
            while vendor.poll(&mut cursor, now, &mut seen) {}
            for (id, at) in vendor.updated.into_iter().enumerate() {
                prop_assert!(seen.contains(&(id, at)), "{id} of {at} was never reported");
            }
        }

        #[test]
        fn what_is_stored_is_read_again_and_no_text_makes_it_panic(
            from: i64, length in 1..LONGEST, page in 1_u64..1000, text in "[0-9/-]{0,40}",
        ) {
            let until = from.saturating_add(length);
            prop_assume!(until > from);
            for open in [None, Some(Open { until, page })] {
                let cursor = Cursor { from, open };
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
            if let Ok(cursor) = text.parse::<Cursor>() {
                let _ = Look::next(Some(cursor), Timestamp::default(), Grain::Second);
            }
        }
    }

    #[test]
    fn a_page_that_is_shorter_than_it_should_be_stops_the_poll() {
        let look = Look::next(None, Timestamp::from_millis(START * 1000), Grain::Second).unwrap();
        assert_eq!(look.then(100, 2000), Err(ShortPage));
        assert!(look.then(PAGE, 2000).is_ok());
        assert!(look.then(0, 0).is_ok());
    }

    #[test]
    fn a_window_that_is_not_yet_past_is_not_looked_at() {
        let moment = |seconds| Timestamp::from_millis((START + seconds) * 1000);
        let first = Look::next(None, moment(0), Grain::Second).unwrap();
        assert_eq!(first.until, START - SETTLED);
        let cursor = first.then(0, 0).unwrap().cursor;
        assert_eq!(Look::next(Some(cursor), moment(0), Grain::Second), None);
        let next = Look::next(Some(cursor), moment(1), Grain::Second).unwrap();
        assert_eq!((next.from, next.until), (first.until, first.until + 1));
    }
}
