//! Pabal beside a peer: the ratio of two medians, and both of them.

use serde_json::{Value, json};

use super::result::{self, Run};

/// How one figure of Pabal compares with the same of a peer, each the median of its runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    figure: &'static str,
    pub(super) pabal: f64,
    pub(super) peer: f64,
}

impl Ratio {
    /// Nothing unless both have the figure.
    pub(super) fn of(figure: &'static str, pabal: &[Run], peer: &[Run]) -> Option<Self> {
        let median = |runs: &[Run]| {
            let lines = result::figures(runs);
            let found = lines.into_iter().find(|(name, _)| name == figure);
            found.map(|(_, spread)| spread.median)
        };
        Some(Self {
            figure,
            pabal: median(pabal)?,
            peer: median(peer)?,
        })
    }

    /// How many times the peer's is Pabal's; nothing of a peer that did nothing.
    pub(super) fn value(&self) -> Option<f64> {
        (self.peer > 0.0).then(|| self.pabal / self.peer)
    }

    /// For the JSON.
    pub(super) fn json(&self) -> Value {
        json!({
            "figure": self.figure,
            "pabal": self.pabal,
            "peer": self.peer,
            "ratio": self.value(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::report::result::Figure;

    fn runs(values: &[f64]) -> Vec<Run> {
        let run = |value: &f64| Run {
            figures: vec![Figure::new("a second", *value)],
            ..Run::default()
        };
        values.iter().map(run).collect()
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        let (pabal, peer) = (runs(&[900.0, 300.0, 600.0]), runs(&[100.0, 500.0, 200.0]));
        let ratio = Ratio::of("a second", &pabal, &peer).unwrap();
        assert!((ratio.value().unwrap() - 3.0).abs() < 1e-9);
        let told = ratio.json();
        assert_eq!(
            (&told["pabal"], &told["peer"]),
            (&json!(600.0), &json!(200.0))
        );
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        let some = runs(&[1.0]);
        assert_eq!(Ratio::of("a second", &some, &[]), None);
        assert_eq!(Ratio::of("another", &some, &some), None);
        let ratio = Ratio::of("a second", &some, &runs(&[0.0])).unwrap();
        assert_eq!(ratio.value(), None);
        assert_eq!(ratio.json()["ratio"], Value::Null);
    }
}
