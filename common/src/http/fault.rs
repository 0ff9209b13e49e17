//! What is wrong with a field, as data: the error type of our own deserializers.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, Unexpected,
};

use super::error::{ApiError, Detail};
use crate::domain::code::ErrorReason;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    path: String,
    rule: Rule,
}

/// What it breaks; what a rule asks for is told where it is known.
#[derive(Debug)]
pub(super) enum Rule {
    Required,
    Unknown(&'static [&'static str]),
    Duplicate,
    Type(Option<&'static str>),
    Range(Option<String>),
    OneOf(&'static [&'static str]),
    Value,
}

impl Fault {
    /// The longest path that is repeated to the caller, in characters.
    pub(super) const MAX_PATH: usize = 128;

    pub(super) const fn here(rule: Rule) -> Self {
        Self {
            path: String::new(),
            rule,
        }
    }

    fn at(field: &str, rule: Rule) -> Self {
        Self {
            path: field.to_owned(),
            rule,
        }
    }

    pub(super) fn under(self, parent: &str) -> Self {
        let path = if self.path.is_empty() || self.path.starts_with('[') {
            format!("{parent}{}", self.path)
        } else {
            format!("{parent}.{}", self.path)
        };
        Self { path, ..self }
    }

    /// Adds what this place asks for, where the visitor could not say it in the API's words.
    pub(super) fn expecting(
        mut self,
        kind: &'static str,
        range: impl FnOnce() -> Option<String>,
    ) -> Self {
        if self.path.is_empty() {
            match &mut self.rule {
                Rule::Type(expected @ None) => *expected = Some(kind),
                Rule::Range(expected @ None) => *expected = range(),
                _ => {}
            }
        }
        self
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let field: String = if fault.path.is_empty() {
            "body".to_owned()
        } else {
            fault.path.chars().take(Fault::MAX_PATH).collect()
        };
        let (reason, detail) = match fault.rule {
            Rule::Required => (ErrorReason::MissingField, Detail::new(field, "required")),
            Rule::Unknown(known) => (
                ErrorReason::UnknownField,
                Detail::new(field, "unknown").expected(known.join(", ")),
            ),
            Rule::Duplicate => (
                ErrorReason::InvalidValue,
                Detail::new(field, "duplicateField"),
            ),
            Rule::Type(expected) => {
                let detail = Detail::new(field, "type");
                let detail = match expected {
                    Some(expected) => detail.expected(expected),
                    None => detail,
                };
                (ErrorReason::InvalidValue, detail)
            }
            Rule::Range(expected) => {
                let detail = Detail::new(field, "range");
                let detail = match expected {
                    Some(expected) => detail.expected(expected),
                    None => detail,
                };
                (ErrorReason::InvalidValue, detail)
            }
            Rule::OneOf(words) => (
                ErrorReason::InvalidValue,
                Detail::new(field, "oneOf").expected(words.join(", ")),
            ),
            Rule::Value => (ErrorReason::InvalidValue, Detail::new(field, "value")),
        };
        Self::new(reason).detail(detail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.path, self.rule)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    /// The text may repeat the value, so it is not kept.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::here(Rule::Value)
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::here(Rule::Type(None))
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::here(Rule::Range(None))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::here(Rule::OneOf(expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::at(field, Rule::Unknown(expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(field, Rule::Required)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::at(field, Rule::Duplicate)
    }
}

/// Named values in order, each of which can be read with [`Fault`]s.
pub(super) struct Fields<I, V> {
    rest: I,
    current: Option<(String, V)>,
}

impl<V, I: Iterator<Item = (String, V)>> Fields<I, V> {
    pub(super) const fn new(rest: I) -> Self {
        Self {
            rest,
            current: None,
        }
    }
}

impl<'de, V, I> MapAccess<'de> for Fields<I, V>
where
    I: Iterator<Item = (String, V)>,
    V: Deserializer<'de, Error = Fault>,
{
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let Some((name, _)) = &self.current else {
            return Ok(None);
        };
        seed.deserialize(name.clone().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.current.take() {
            Some((name, value)) => seed.deserialize(value).map_err(|fault| fault.under(&name)),
            None => Err(Fault::here(Rule::Value)),
        }
    }
}
