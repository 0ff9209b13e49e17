//! How long something took, many times: a histogram, and what a person wants to know of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::iterators::IterationValue;

use crate::command::bench::witness::Mark;

/// The longest time that is told from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;
/// Significant digits that are kept.
const DIGITS: u8 = 3;
/// So many points of a curve lie between each two of 0 %, 50 %, 75 %, 87.5 % and so on.
const STEPS: u32 = 8;

/// How long one thing took, in microseconds, over all times.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Timing {
    /// What took so long.
    pub(in crate::command::bench) name: &'static str,
    histogram: Histogram<u64>,
}

/// The percentiles that are shown, and their names; the last is the longest.
pub(in crate::command::bench) const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

impl Timing {
    /// Of these durations.
    pub(in crate::command::bench) fn of(
        name: &'static str,
        times: impl IntoIterator<Item = Duration>,
    ) -> Self {
        // The bounds and digits are the crate's own allowed ones.
        let mut histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS)
            .unwrap_or_else(|_| unreachable!("1 to an hour with three digits is a histogram"));
        for time in times {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            histogram.saturating_record(micros.max(1));
        }
        Self { name, histogram }
    }

    /// From one mark of a message to another: each message once, by its first marks. What came the
    /// other way round took no time.
    pub(in crate::command::bench) fn between(
        name: &'static str,
        from: &[Mark],
        to: &[Mark],
    ) -> Self {
        let (from, to) = (first_marks(from), first_marks(to));
        let mut later = to.iter().peekable();
        let pairs = from.iter().filter_map(|begin| {
            while later.next_if(|end| end.id < begin.id).is_some() {}
            let end = later.next_if(|end| end.id == begin.id)?;
            Some(end.at.saturating_duration_since(begin.at))
        });
        Self::of(name, pairs)
    }

    /// Of several runs, all together.
    pub(in crate::command::bench) fn pooled<'a>(
        name: &'static str,
        runs: impl IntoIterator<Item = &'a Self>,
    ) -> Self {
        let mut all = Self::of(name, []);
        for run in runs {
            // Every histogram here has the same bounds.
            let _ = all.histogram.add(&run.histogram);
        }
        all
    }

    /// Percentiles and their values in milliseconds, closer and closer to the longest.
    pub(in crate::command::bench) fn curve(&self) -> Vec<(f64, f64)> {
        let steps = self.histogram.iter_quantiles(STEPS);
        let point = |step: IterationValue<u64>| {
            let millis = step.value_iterated_to() as f64 / 1000.0;
            (step.quantile_iterated_to() * 100.0, millis)
        };
        steps.map(point).collect()
    }

    /// How many were measured.
    pub(in crate::command::bench) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value at a percentile, in milliseconds.
    pub(in crate::command::bench) fn millis(&self, percentile: f64) -> f64 {
        let micros = match percentile >= 100.0 {
            true => self.histogram.max(),
            false => self.histogram.value_at_percentile(percentile),
        };
        micros as f64 / 1000.0
    }
}

fn first_marks(marks: &[Mark]) -> Vec<Mark> {
    let mut marks = marks.to_vec();
    marks.sort_unstable_by_key(|mark| (mark.id, mark.at));
    marks.dedup_by_key(|mark| mark.id);
    marks
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_data() {
        let times = (1..=1000).map(Duration::from_millis);
        let timing = Timing::of("x", times);
        assert_eq!(timing.count(), 1000);
        for (percentile, expected) in [
            (50.0, 500.0),
            (90.0, 900.0),
            (99.0, 990.0),
            (99.9, 999.0),
            (100.0, 1000.0),
        ] {
            let found = timing.millis(percentile);
            // Three significant digits.
            let error = (found - expected).abs() / expected;
            assert!(error < 0.002, "p{percentile} is {found}, not {expected}");
        }
    }

    #[test]
    fn a_curve_over_several_runs_rises_to_the_longest_of_all() {
        let run = |millis| Timing::of("x", (1..=millis).map(Duration::from_millis));
        let both = Timing::pooled("x", &[run(100), run(1_000)]);
        assert_eq!(both.count(), 1_100);
        let curve = both.curve();
        let rises = |pair: &[(f64, f64)]| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(curve.windows(2).all(rises), "{curve:?}");
        let last = curve.last().unwrap();
        assert!((last.1 - both.millis(100.0)).abs() < 1.0, "{last:?}");
    }

    #[test]
    fn one_slow_one_shows_in_the_longest_and_not_in_the_middle() {
        let fast = std::iter::repeat_n(Duration::from_micros(100), 9_999);
        let timing = Timing::of("x", fast.chain([Duration::from_secs(9)]));
        assert!(timing.millis(99.0) < 0.11);
        assert!(timing.millis(100.0) > 8_990.0);
    }

    #[test]
    fn marks_are_joined_by_message_whatever_their_order() {
        let begin = Instant::now();
        let mark = |id, millis| Mark {
            id,
            at: begin + Duration::from_millis(millis),
        };
        let from = [mark(3, 10), mark(1, 0), mark(2, 50), mark(7, 0)];
        let to = [
            mark(1, 5),
            mark(2, 40),
            mark(3, 30),
            mark(3, 90),
            mark(9, 1),
        ];
        let timing = Timing::between("x", &from, &to);
        assert_eq!(timing.count(), 3);
        assert!(
            (timing.millis(100.0) - 20.0).abs() < 0.1,
            "the first mark counts"
        );
        assert!(timing.millis(1.0) < 0.01, "2 went the other way round");
    }
}
