//! What the configuration says of a route.

use std::ops::RangeInclusive;

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::limit;
use serde::Deserialize;

use super::fit::{Carries, Misfit, Traits};

/// The longest name of a route, in characters.
const NAME_MAX: usize = 64;
const WEIGHTS: RangeInclusive<u32> = 1..=1_000;
const TPS: RangeInclusive<u32> = 1..=100_000;
const CONCURRENCY: RangeInclusive<u32> = 1..=10_000;
/// The most partners or prefixes of a route.
const MOST_NAMED: usize = 1_000;
/// The longest prefix: a whole number.
const PREFIX_MAX: usize = 11;

/// A route as it is written in the configuration, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Its name, unique among the routes: 1..=64 of `a-z A-Z 0-9 . _ -`.
    pub name: String,
    /// The types it carries; at least one, none twice.
    pub kinds: Vec<MessageType>,
    /// Its part of the traffic among routes of the same priority, 1..=1000.
    pub weight: u32,
    /// Lower goes first; a route is used only while no usable route has a lower number.
    pub priority: u32,
    /// Messages a second over all senders, 1..=100000.
    pub tps: u32,
    /// Calls in flight at a time in this process, 1..=10000.
    pub concurrency: u32,
    /// Which messages of its types it carries.
    #[serde(default)]
    pub carries: Carries,
}

/// A route's settings, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RouteSettings")]
pub struct RouteSpec(RouteSettings);

/// A setting of a route that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route:?}: {field} is {value}; allowed: {allowed}")]
pub struct SpecError {
    /// The route's name as it was given.
    pub route: String,
    /// The setting.
    pub field: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl RouteSpec {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SpecError`] for the first setting that is outside its range.
    pub fn new(settings: RouteSettings) -> Result<Self, SpecError> {
        let refuse = |field, value: String, allowed: String| SpecError {
            route: settings.name.clone(),
            field,
            value,
            allowed,
        };
        if !is_name(&settings.name) {
            return Err(refuse(
                "name",
                format!("{:?}", settings.name),
                format!("1..={NAME_MAX} of a-z A-Z 0-9 . _ -"),
            ));
        }
        if settings.kinds.is_empty() || has_twins(&settings.kinds) {
            return Err(refuse(
                "kinds",
                format!("{:?}", settings.kinds),
                "at least one message type, none twice".to_owned(),
            ));
        }
        for (field, value, allowed) in [
            ("weight", settings.weight, WEIGHTS),
            ("tps", settings.tps, TPS),
            ("concurrency", settings.concurrency, CONCURRENCY),
        ] {
            if !allowed.contains(&value) {
                return Err(refuse(field, value.to_string(), format!("{allowed:?}")));
            }
        }
        if let Some((field, value, allowed)) = wrong_choice(&settings) {
            return Err(refuse(field, value, allowed));
        }
        Ok(Self(settings))
    }

    /// The route's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The types it carries.
    pub fn kinds(&self) -> &[MessageType] {
        &self.0.kinds
    }

    /// Its part of the traffic among routes of the same priority.
    pub fn weight(&self) -> u32 {
        self.0.weight
    }

    /// Lower goes first.
    pub fn priority(&self) -> u32 {
        self.0.priority
    }

    /// Messages a second over all senders.
    pub fn tps(&self) -> u32 {
        self.0.tps
    }

    /// Calls in flight at a time in this process.
    pub fn concurrency(&self) -> u32 {
        self.0.concurrency
    }

    /// Which messages of its types it carries.
    pub fn carries(&self) -> &Carries {
        &self.0.carries
    }

    /// Whether it carries a message.
    ///
    /// # Errors
    /// [`Misfit`] says why it does not.
    pub fn check(&self, message: &Traits<'_>) -> Result<(), Misfit> {
        if !self.0.kinds.contains(&message.kind) {
            return Err(Misfit::Kind(message.kind));
        }
        self.0.carries.check(message)
    }
}

impl TryFrom<RouteSettings> for RouteSpec {
    type Error = SpecError;

    fn try_from(settings: RouteSettings) -> Result<Self, SpecError> {
        Self::new(settings)
    }
}

/// What of a route's [`Carries`] cannot be: the setting, what it is, and what it may be.
fn wrong_choice(settings: &RouteSettings) -> Option<(&'static str, String, String)> {
    let Carries {
        partners,
        prefixes,
        limits,
    } = &settings.carries;
    for (field, named) in [("partners", partners.len()), ("prefixes", prefixes.len())] {
        if named > MOST_NAMED {
            let value = format!("a list of {named}");
            return Some((field, value, format!("at most {MOST_NAMED}")));
        }
    }
    if let Some(wrong) = prefixes.iter().find(|prefix| !is_prefix(prefix)) {
        let allowed = "digits in national notation, such as \"010\"";
        return Some(("prefixes", format!("{wrong:?}"), allowed.to_owned()));
    }
    let talk = MessageType::NaverTalk;
    if !prefixes.is_empty() && settings.kinds.contains(&talk) {
        let allowed = format!("none where {talk} is carried: its recipients have no number");
        return Some(("prefixes", format!("{prefixes:?}"), allowed));
    }
    limits.iter().find_map(|(kind, most)| {
        let own = limit(*kind);
        let allowed = match settings.kinds.contains(kind) {
            true if (1..=own.max).contains(most) => return None,
            true => format!("1..={} {}", own.max, own.unit),
            false => format!("types it carries, and {kind} is none"),
        };
        Some(("limits", format!("{kind} = {most}"), allowed))
    })
}

fn is_prefix(text: &str) -> bool {
    (1..=PREFIX_MAX).contains(&text.len())
        && text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn has_twins(kinds: &[MessageType]) -> bool {
    kinds
        .iter()
        .enumerate()
        .any(|(at, kind)| kinds[..at].contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RouteSettings {
        RouteSettings {
            name: "sms-a".to_owned(),
            kinds: vec![MessageType::Sms],
            weight: 1,
            priority: 0,
            tps: 100,
            concurrency: 10,
            carries: Carries::default(),
        }
    }

    #[test]
    fn what_a_route_cannot_carry_anyway_is_refused_by_name() {
        let with = |kinds: &[MessageType], change: fn(&mut Carries)| {
            let mut settings = RouteSettings {
                kinds: kinds.to_vec(),
                ..settings()
            };
            change(&mut settings.carries);
            RouteSpec::new(settings).map_err(|error| error.to_string())
        };
        let sms = &[MessageType::Sms];
        assert!(with(sms, |it| it.prefixes = ["010".into()].into()).is_ok());
        assert!(with(sms, |it| it.limits = [(MessageType::Sms, 80)].into()).is_ok());
        let foreign = with(sms, |it| it.prefixes = ["8210".into()].into()).unwrap_err();
        assert!(foreign.contains("prefixes is \"8210\""), "{foreign}");
        let talk = &[MessageType::NaverTalk];
        assert!(with(talk, |it| it.prefixes = ["010".into()].into()).is_err());
        for (kind, most) in [(MessageType::Sms, 91), (MessageType::Sms, 0)] {
            let mut settings = settings();
            settings.carries.limits.insert(kind, most);
            let error = RouteSpec::new(settings).unwrap_err();
            assert_eq!(
                (error.field, error.allowed.as_str()),
                ("limits", "1..=90 BYTE")
            );
        }
        assert!(with(sms, |it| it.limits = [(MessageType::Lms, 80)].into()).is_err());
    }

    #[test]
    fn a_setting_at_the_end_of_its_range_is_taken_and_one_beyond_is_named() {
        let with = |change: fn(&mut RouteSettings, u32), value| {
            let mut settings = settings();
            change(&mut settings, value);
            RouteSpec::new(settings)
        };
        type Change = fn(&mut RouteSettings, u32);
        let cases: [(&str, Change, u32); 3] = [
            ("weight", |s, v| s.weight = v, 1_000),
            ("tps", |s, v| s.tps = v, 100_000),
            ("concurrency", |s, v| s.concurrency = v, 10_000),
        ];
        for (field, change, most) in cases {
            assert!(with(change, 1).is_ok());
            assert!(with(change, most).is_ok());
            for wrong in [0, most + 1] {
                let error = with(change, wrong).unwrap_err();
                assert_eq!(error.field, field);
                assert_eq!(
                    error.to_string(),
                    format!("route \"sms-a\": {field} is {wrong}; allowed: 1..={most}")
                );
            }
        }
    }

    #[test]
    fn a_route_needs_a_plain_name_and_each_type_once() {
        for name in ["", "with space", "경로", &"a".repeat(65)] {
            let error = RouteSpec::new(RouteSettings {
                name: name.to_owned(),
                ..settings()
            });
            assert_eq!(error.unwrap_err().field, "name");
        }
        for kinds in [vec![], vec![MessageType::Sms, MessageType::Sms]] {
            let error = RouteSpec::new(RouteSettings {
                kinds,
                ..settings()
            });
            assert_eq!(error.unwrap_err().field, "kinds");
        }
    }

    #[test]
    fn a_written_route_is_checked_while_it_is_read() {
        let written = |tps: u32| {
            serde_json::json!({
                "name": "sms-a", "kinds": ["SMS"], "weight": 1, "priority": 0,
                "tps": tps, "concurrency": 1,
            })
        };
        assert!(serde_json::from_value::<RouteSpec>(written(5)).is_ok());
        let error = serde_json::from_value::<RouteSpec>(written(0)).unwrap_err();
        assert!(error.to_string().contains("tps is 0"));
    }
}
