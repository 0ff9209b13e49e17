//! Lines between two axes, and beneath them what each line is.

use super::scale::Scale;
use super::svg::{Anchor, Drawing, WIDTH};

const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 36.0;
const TOP: f64 = 72.0;
const FLOOR: f64 = 400.0;
/// Where what the lines are begins, and from one to the next.
const LEGEND: f64 = FLOOR + 72.0;
const STEP: f64 = 22.0;

/// One direction.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
}

/// A line, and what is said of it.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) note: String,
    /// Along the axis and up.
    pub(super) points: Vec<(f64, f64)>,
}

impl Line {
    /// How high its points are.
    pub(super) fn heights(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|point| point.1)
    }
}

/// Lines between two axes.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// The whole plot.
    pub(super) fn draw(&self) -> String {
        let height = LEGEND + STEP * self.lines.len() as f64;
        let mut drawing = Drawing::new(&self.title, height);
        self.draw_axes(&mut drawing);
        for (number, line) in self.lines.iter().enumerate() {
            let title = format!("{}: {}", line.name, line.note);
            let points = line.points.iter();
            let points: Vec<_> = points.map(|&(x, y)| (self.x(x), self.y(y))).collect();
            drawing.path(&points, number, &title);
            let beneath = LEGEND + STEP * number as f64;
            drawing.bar((LEFT, beneath - 9.0), (22.0, 6.0), number, &title);
            drawing.text((LEFT + 32.0, beneath), Anchor::Left, &title);
        }
        drawing.finish()
    }

    fn draw_axes(&self, drawing: &mut Drawing) {
        for (value, name) in self.x.scale.ticks() {
            let x = self.x(value);
            drawing.line((x, TOP), (x, FLOOR), "grid");
            drawing.text((x, FLOOR + 18.0), Anchor::Middle, &name);
        }
        for (value, name) in self.y.scale.ticks() {
            let y = self.y(value);
            drawing.line((LEFT, y), (RIGHT, y), "grid");
            drawing.text((LEFT - 8.0, y + 4.0), Anchor::Right, &name);
        }
        drawing.line((LEFT, FLOOR), (RIGHT, FLOOR), "axis");
        drawing.line((LEFT, TOP), (LEFT, FLOOR), "axis");
        drawing.text((RIGHT, FLOOR + 38.0), Anchor::Right, self.x.title);
        drawing.text((16.0, TOP - 18.0), Anchor::Left, self.y.title);
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        FLOOR - self.y.scale.place(value) * (FLOOR - TOP)
    }
}
