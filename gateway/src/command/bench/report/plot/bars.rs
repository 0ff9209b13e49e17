//! Numbers beside each other, as bars to the right; the name of each stands above it.

use super::scale::Scale;
use super::svg::{Anchor, Drawing, WIDTH};
use crate::command::bench::report::result::Spread;
use crate::command::bench::report::table::number;

const LEFT: f64 = 16.0;
/// Where the longest bar ends; its number stands beyond.
const RIGHT: f64 = WIDTH - 90.0;
const TOP: f64 = 52.0;
/// From one bar to the next, and how thick each is.
const STEP: f64 = 48.0;
const THICK: f64 = 20.0;
/// Beneath the bars: the axis and its title.
const BOTTOM: f64 = 56.0;

/// A number with its name.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) spread: Spread,
}

/// Several of them, of one unit.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) bars: Vec<Bar>,
}

impl Bars {
    /// The whole plot.
    pub(super) fn draw(&self) -> String {
        let scale = Scale::from_zero(self.bars.iter().map(|bar| bar.spread.max));
        let x = |value: f64| LEFT + scale.place(value) * (RIGHT - LEFT);
        let end = TOP + STEP * self.bars.len() as f64;
        let mut drawing = Drawing::new(&self.title, end + BOTTOM);
        for (value, name) in scale.ticks() {
            drawing.line((x(value), TOP), (x(value), end), "grid");
            drawing.text((x(value), end + 18.0), Anchor::Middle, &name);
        }
        for (place, bar) in self.bars.iter().enumerate() {
            let Spread { median, min, max } = bar.spread;
            let top = TOP + STEP * place as f64;
            let title = format!("{}: {median} ({min} to {max})", bar.name);
            drawing.text((LEFT, top + 14.0), Anchor::Left, &bar.name);
            let size = (x(median) - LEFT, THICK);
            drawing.bar((LEFT, top + 20.0), size, place, &title);
            let middle = top + 20.0 + THICK / 2.0;
            drawing.line((x(min), middle), (x(max), middle), "spread");
            let beside = (x(max) + 8.0, middle + 5.0);
            drawing.text(beside, Anchor::Left, &number(median));
        }
        drawing.line((LEFT, TOP), (LEFT, end), "axis");
        drawing.text((LEFT, end + 40.0), Anchor::Left, self.unit);
        drawing.finish()
    }
}
