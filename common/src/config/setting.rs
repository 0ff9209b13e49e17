//! What a setting is: key, kind, default and meaning; and how its text is read.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use secrecy::SecretString;

/// One declared setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Dotted, lower case, words joined by `_`: `sender.call_timeout`.
    pub key: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its default, written as in a file.
    pub default: &'static str,
    /// Whether it may be left empty.
    pub optional: bool,
    /// What it means, one sentence.
    pub doc: &'static str,
}

/// What the value of a setting is. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number with a unit: `500ms`, `10s`, `5m`, `24h`, `90d`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A whole number; `_` may group its digits.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number of bytes: `512B`, `256KiB`, `16MiB`, `1GiB`.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A path in the file system.
    Path,
    /// IP address and port to listen on.
    Address,
    /// A URL with a host; a password in it is never shown.
    Url,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value, read.
#[derive(Clone)]
pub(super) enum Parsed {
    Nothing,
    Duration(Duration),
    Count(u64),
    Bytes(u64),
    Flag(bool),
    Text(String),
    Secret(SecretString),
    Path(PathBuf),
    Address(SocketAddr),
    Url(String),
}

impl Setting {
    /// A setting that always has a value.
    pub const fn new(
        key: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            key,
            kind,
            default,
            optional: false,
            doc,
        }
    }

    /// A setting that has no value unless one is given.
    pub const fn optional(key: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            key,
            kind,
            default: "",
            optional: true,
            doc,
        }
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("PABAL_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        let allowed = self.kind.allowed();
        if self.optional {
            format!("{allowed}, or nothing")
        } else {
            allowed
        }
    }

    pub(super) fn parse(&self, text: &str) -> Option<Parsed> {
        if text.is_empty() {
            return self.optional.then_some(Parsed::Nothing);
        }
        self.kind.parse(text)
    }
}

impl Kind {
    /// A duration within bounds.
    pub const fn duration(min: Duration, max: Duration) -> Self {
        Self::Duration { min, max }
    }

    /// A count within bounds.
    pub const fn count(min: u64, max: u64) -> Self {
        Self::Count { min, max }
    }

    fn parse(self, text: &str) -> Option<Parsed> {
        match self {
            Self::Duration { min, max } => parse_duration(text)
                .filter(|value| (min..=max).contains(value))
                .map(Parsed::Duration),
            Self::Count { min, max } => parse_digits(text)
                .filter(|value| (min..=max).contains(value))
                .map(Parsed::Count),
            Self::Bytes { min, max } => parse_bytes(text)
                .filter(|value| (min..=max).contains(value))
                .map(Parsed::Bytes),
            Self::Flag => text.parse().ok().map(Parsed::Flag),
            Self::Text => Some(Parsed::Text(text.to_owned())),
            Self::Secret => Some(Parsed::Secret(text.into())),
            Self::Path => Some(Parsed::Path(text.into())),
            Self::Address => text.parse().ok().map(Parsed::Address),
            Self::Url => is_url(text).then(|| Parsed::Url(text.to_owned())),
            Self::Choice(words) => words.contains(&text).then(|| Parsed::Text(text.to_owned())),
        }
    }

    fn allowed(self) -> String {
        match self {
            Self::Duration { min, max } => format!(
                "a duration such as 500ms, 10s, 5m, 24h, 90d, from {} to {}",
                show_duration(min),
                show_duration(max)
            ),
            Self::Count { min, max: u64::MAX } => format!("a whole number, at least {min}"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => format!(
                "bytes such as 512B, 256KiB, 16MiB, from {} to {}",
                show_bytes(min),
                show_bytes(max)
            ),
            Self::Flag => "true or false".to_owned(),
            Self::Text | Self::Secret => "a text that is not empty".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Address => "IP address and port, such as 127.0.0.1:8080 or [::]:8080".to_owned(),
            Self::Url => "a URL such as https://host:8080/path".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// The text as it may be shown.
    pub(super) fn shown(self, text: &str) -> String {
        match self {
            _ if text.is_empty() => String::new(),
            Self::Secret => MASK.to_owned(),
            Self::Url => mask_url(text),
            _ => text.to_owned(),
        }
    }
}

/// What stands for a secret.
pub const MASK: &str = "****";

/// A URL as it may be shown. Also of one that cannot be read: whatever stands before an @ may be a
/// password.
pub fn mask_url(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let user = url[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}:{MASK}{}", &url[..scheme + 3], &url[at..])
        }
        (None, Some(at)) => format!("{MASK}{}", &url[at..]),
        _ => url.to_owned(),
    }
}

macro_rules! readers {
    ($($name:ident($variant:ident) -> $type:ty = $read:expr;)*) => {
        impl Parsed {
            $(pub(super) fn $name(&self) -> Option<$type> {
                match self {
                    Self::$variant(value) => Some($read(value)),
                    _ => None,
                }
            })*
        }
    };
}

readers! {
    duration(Duration) -> Duration = Duration::clone;
    count(Count) -> u64 = u64::clone;
    bytes(Bytes) -> u64 = u64::clone;
    flag(Flag) -> bool = bool::clone;
    text(Text) -> &str = String::as_str;
    secret(Secret) -> SecretString = SecretString::clone;
    path(Path) -> &Path = PathBuf::as_path;
    address(Address) -> SocketAddr = SocketAddr::clone;
    url(Url) -> &str = String::as_str;
}

const UNITS_OF_TIME: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

const UNITS_OF_SIZE: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn parse_duration(text: &str) -> Option<Duration> {
    parse_with_unit(text, &UNITS_OF_TIME).map(Duration::from_millis)
}

fn parse_bytes(text: &str) -> Option<u64> {
    parse_digits(text).or_else(|| parse_with_unit(text, &UNITS_OF_SIZE))
}

fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '_')?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    parse_digits(digits)?.checked_mul(*factor)
}

fn parse_digits(text: &str) -> Option<u64> {
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let digits = starts_with_digit.then(|| text.replace('_', ""))?;
    digits.parse().ok()
}

fn show_duration(duration: Duration) -> String {
    show_with_unit(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        &UNITS_OF_TIME,
        "s",
    )
}

fn show_bytes(bytes: u64) -> String {
    show_with_unit(bytes, &UNITS_OF_SIZE, "B")
}

/// In the largest unit that leaves no rest.
fn show_with_unit(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    units
        .iter()
        .find(|(_, factor)| value > 0 && value.is_multiple_of(*factor))
        .map_or_else(
            || format!("{value}{zero}"),
            |(unit, factor)| format!("{}{unit}", value / factor),
        )
}

fn is_url(text: &str) -> bool {
    text.parse::<Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()))
}

/// The settings as a Markdown table for the documentation.
pub fn markdown_table(settings: &[&'static [Setting]]) -> String {
    let mut table = String::from(
        "| Key | Environment | Default | Allowed | Meaning |\n|---|---|---|---|---|\n",
    );
    for setting in settings.iter().flat_map(|part| part.iter()) {
        let default = if setting.default.is_empty() {
            "–".to_owned()
        } else {
            format!("`{}`", setting.kind.shown(setting.default))
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| `{}` | `{}` | {default} | {} | {} |",
            setting.key,
            setting.variable(),
            setting.allowed().replace('|', "\\|"),
            setting.doc.replace('|', "\\|"),
        );
    }
    table
}
