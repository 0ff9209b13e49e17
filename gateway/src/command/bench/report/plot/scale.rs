//! Where on an axis a value is, and where its ticks are.

use super::super::table::number;

/// About so many ticks are on an even scale.
const TICKS: f64 = 5.0;

/// From the beginning of an axis to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Even, from nothing.
    Even { most: f64, step: f64 },
    /// Each power of ten as far from the next, in decimal logarithms.
    Decades { least: f64, most: f64 },
    /// Percentiles: each nine as far from the next, so many nines.
    Nines { most: f64 },
}

impl Scale {
    /// From nothing to a round number that none of these is beyond.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let rough = most / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].map(|by| by * power);
        let step = round.into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        Self::Even {
            most: (most / step).ceil() * step,
            step,
        }
    }

    /// From the power of ten below all of these to the one above.
    pub(super) fn decades(values: impl Iterator<Item = f64>) -> Self {
        let logarithms = values.filter(|value| *value > 0.0).map(f64::log10);
        let ends = |(least, most): (f64, f64), one: f64| (least.min(one), most.max(one));
        let (least, most) = logarithms.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        let (least, most) = match least.is_finite() {
            true => (least.floor(), most.ceil()),
            false => (0.0, 1.0),
        };
        Self::Decades {
            least,
            most: most.max(least + 1.0),
        }
    }

    /// From 0 % to this percentile.
    pub(super) fn percentile(rarest: f64) -> Self {
        Self::Nines {
            most: nines(rarest),
        }
    }

    /// How far along the axis, from 0 to 1.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Even { most, .. } => value / most,
            Self::Decades { least, most } => (value.log10() - least) / (most - least),
            Self::Nines { most } => nines(value) / most,
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that are marked, and how they are written.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Even { most, step } => {
                let count = (most / step).round() as u32;
                let values = (0..=count).map(|tick| f64::from(tick) * step);
                values.map(|value| (value, number(value))).collect()
            }
            Self::Decades { least, most } => {
                let powers = (least as i32)..=(most as i32);
                let values = powers.map(|power| 10_f64.powi(power));
                values.map(|value| (value, plain(value))).collect()
            }
            Self::Nines { most } => {
                let values = [
                    (0.0, "0"),
                    (50.0, "50"),
                    (90.0, "90"),
                    (99.0, "99"),
                    (99.9, "99.9"),
                    (99.99, "99.99"),
                    (99.999, "99.999"),
                ];
                let shown = values.iter().filter(|(at, _)| nines(*at) <= most);
                shown.map(|(at, name)| (*at, format!("{name} %"))).collect()
            }
        }
    }
}

/// A power of ten without superfluous digits.
fn plain(value: f64) -> String {
    match value >= 1.0 {
        true => number(value.round())
            .trim_end_matches(".00")
            .trim_end_matches(".0")
            .to_owned(),
        false => format!("{value}"),
    }
}

/// How many nines a percentile begins with, and how much of the next.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile.min(99.999_99) / 100.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, name)| name).collect()
    }

    fn is_at(scale: Scale, value: f64, place: f64) -> bool {
        (scale.place(value) - place).abs() < 1e-6
    }

    #[test]
    fn an_even_scale_has_round_ticks_up_to_one_beyond_the_most() {
        let scale = Scale::from_zero([3.0, 870.0].into_iter());
        assert_eq!(names(scale), ["0", "200", "400", "600", "800", "1,000"]);
        assert!(is_at(scale, 500.0, 0.5));
    }

    #[test]
    fn powers_of_ten_are_as_far_from_each_other() {
        let scale = Scale::decades([0.2, 30.0].into_iter());
        assert_eq!(names(scale), ["0.1", "1", "10", "100"]);
        assert!(is_at(scale, 10.0, 2.0 / 3.0));
    }

    #[test]
    fn nines_are_as_far_from_each_other() {
        let scale = Scale::percentile(99.9);
        assert_eq!(names(scale), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        assert!(is_at(scale, 90.0, 1.0 / 3.0));
        assert!(is_at(scale, 100.0, 1.0), "nothing is beyond the axis");
    }

    #[test]
    fn nothing_and_one_value_alone_have_an_axis_too() {
        for scale in [
            Scale::from_zero(std::iter::empty()),
            Scale::decades(std::iter::empty()),
            Scale::decades([1.0].into_iter()),
        ] {
            assert!(scale.ticks().len() > 1, "{scale:?}");
            assert!(scale.place(1.0).is_finite(), "{scale:?}");
        }
    }
}
