//! One run: its random choices, and what is told of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The choices of one test, repeatable by their seed.
pub(crate) struct Trial {
    pub(crate) seed: u64,
    name: &'static str,
    random: fastrand::Rng,
    happened: BTreeMap<&'static str, usize>,
}

impl Trial {
    /// A run with a seed of its own, or that of `PABAL_CRASH_SEED`.
    pub(crate) fn new(name: &'static str) -> Self {
        let seed = number("PABAL_CRASH_SEED").unwrap_or_else(|| fastrand::u64(1..1_000_000_000));
        println!("{name}: seed {seed}");
        let random = fastrand::Rng::with_seed(seed);
        Self {
            seed,
            name,
            random,
            happened: BTreeMap::new(),
        }
    }

    /// How often to do it: `usual`, or `PABAL_CRASH_ROUNDS`.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        number("PABAL_CRASH_ROUNDS")
            .and_then(|rounds| usize::try_from(rounds).ok())
            .unwrap_or(usual)
    }

    /// A source of choices that does not depend on how often this one is asked.
    pub(crate) fn fork(&mut self) -> fastrand::Rng {
        self.random.fork()
    }

    pub(crate) fn between(&mut self, range: Range<usize>) -> usize {
        self.random.usize(range)
    }

    /// Lets a random time pass, in milliseconds: the moment is what is being tried.
    pub(crate) async fn pause(&mut self, millis: Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(millis))).await;
    }

    /// Counts something that was done to the program.
    pub(crate) fn happened(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// One line that sums the run up.
    pub(crate) fn tell(&self, rest: &str) {
        let happened: Vec<_> = self
            .happened
            .iter()
            .map(|(what, times)| format!("{what} {times}"))
            .collect();
        println!(
            "{}: seed {}, {}, {rest}",
            self.name,
            self.seed,
            happened.join(", ")
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a whole number, not {text:?}")),
    )
}
