//! Writing SVG: as much of it as the plots need. All text is escaped.

use std::fmt::Write as _;

/// How wide every plot is.
pub(super) const WIDTH: f64 = 860.0;
/// How many colours there are; then they begin again.
const COLOURS: usize = 8;

/// Colours that are told apart by most eyes, on white and on black.
const STYLE: &str = "\
svg { color-scheme: light dark; background: var(--ground); \
font: 13px system-ui, sans-serif; --ground: #ffffff; --ink: #1c2024; --faint: #d5d9de; \
--c0: #0b6fb8; --c1: #c9580a; --c2: #12855a; --c3: #a93f93; --c4: #6d5bc4; --c5: #8a6d00; \
--c6: #c2383f; --c7: #3d7f8f } \
@media (prefers-color-scheme: dark) { svg { --ground: #15181c; --ink: #e8eaed; --faint: #3a4048; \
--c0: #58b0f0; --c1: #f59a4f; --c2: #4cc795; --c3: #e58ad0; --c4: #ab9cf5; --c5: #dcbb45; \
--c6: #f5838a; --c7: #83c5d6 } } \
text { fill: var(--ink) } .head { font-size: 16px; font-weight: 600 } .right { text-anchor: end } \
.middle { text-anchor: middle } .axis { stroke: var(--ink) } .grid { stroke: var(--faint) } \
.spread { stroke: var(--ink); stroke-width: 2 } .line { fill: none; stroke-width: 2 } ";

/// A plot that is being drawn.
pub(super) struct Drawing {
    height: f64,
    body: String,
}

/// Where a text is in relation to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

impl Drawing {
    /// An empty one with its title at the top.
    pub(super) fn new(title: &str, height: f64) -> Self {
        let mut drawing = Self {
            height,
            body: String::new(),
        };
        let _ = write!(
            drawing.body,
            "<title>{0}</title>\n<text x=\"16\" y=\"28\" class=\"head\">{0}</text>\n",
            escaped(title)
        );
        drawing
    }

    /// A straight line of a class: `axis`, `grid` or `spread`.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A text whose base line is at this point.
    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, text: &str) {
        let class = match anchor {
            Anchor::Left => "left",
            Anchor::Middle => "middle",
            Anchor::Right => "right",
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"{class}\">{}</text>",
            at.0,
            at.1,
            escaped(text)
        );
    }

    /// A bar from its upper left corner, in a colour, which says `title` when it is pointed at.
    pub(super) fn bar(&mut self, at: (f64, f64), size: (f64, f64), colour: usize, title: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" \
             style=\"fill: var(--c{})\"><title>{}</title></rect>",
            at.0,
            at.1,
            size.0,
            size.1,
            colour % COLOURS,
            escaped(title)
        );
    }

    /// A line through these points, in a colour, which says `title` when it is pointed at.
    pub(super) fn path(&mut self, points: &[(f64, f64)], colour: usize, title: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" class=\"line\" style=\"stroke: var(--c{})\">\
             <title>{}</title></polyline>",
            path.trim_end(),
            colour % COLOURS,
            escaped(title)
        );
    }

    /// The whole document.
    pub(super) fn finish(self) -> String {
        let Self { height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
             <style>{STYLE}</style>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_break_the_document() {
        let mut drawing = Drawing::new("<a> & \"b\"", 10.0);
        drawing.text((1.0, 2.0), Anchor::Left, "x < y");
        drawing.bar((0.0, 0.0), (1.0, 1.0), 9, "1 & 2");
        let drawn = drawing.finish();
        let read = roxmltree::Document::parse(&drawn).unwrap();
        let texts: Vec<_> = read.descendants().filter_map(|node| node.text()).collect();
        for text in ["<a> & \"b\"", "x < y", "1 & 2"] {
            assert!(texts.contains(&text), "{text}: {drawn}");
        }
    }
}
