//! Forms and queries: `name=value&name=value`, percent-encoded (URL Standard, section 5.1).

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::error::{ApiError, Detail};
use super::fault::{Fault, Fields, Rule};
use crate::domain::code::ErrorReason;

/// Reads a `T` whose fields are the names; faults are told as for a JSON body. `place` is where the
/// text came from.
pub(super) fn parse<T: DeserializeOwned>(place: &'static str, text: &[u8]) -> Result<T, ApiError> {
    let undecodable = || {
        ApiError::new(ErrorReason::InvalidValue)
            .detail(Detail::new(place, "encoding").expected("percent-encoded UTF-8"))
    };
    let mut pairs = Vec::new();
    for pair in text.split(|byte| *byte == b'&').filter(|p| !p.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default()).ok_or_else(undecodable)?;
        let value = decode(halves.next().unwrap_or_default()).ok_or_else(undecodable)?;
        pairs.push((name, FormValue(value)));
    }
    T::deserialize(MapAccessDeserializer::new(Fields::new(pairs.into_iter()))).map_err(Into::into)
}

fn decode(text: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit(), digit());
                u8::try_from(high? * 16 + low?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// A value of a form or a query: text, read as what its place asks for.
struct FormValue(String);

macro_rules! parsed {
    ($($method:ident $visit:ident $kind:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Fault::here(Rule::Type(Some($kind)))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for FormValue {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    parsed! {
        deserialize_bool visit_bool "boolean"
        deserialize_i8 visit_i8 "integer"
        deserialize_i16 visit_i16 "integer"
        deserialize_i32 visit_i32 "integer"
        deserialize_i64 visit_i64 "integer"
        deserialize_u8 visit_u8 "integer"
        deserialize_u16 visit_u16 "integer"
        deserialize_u32 visit_u32 "integer"
        deserialize_u64 visit_u64 "integer"
        deserialize_f32 visit_f32 "number"
        deserialize_f64 visit_f64 "number"
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Search {
        client_msg_id: Option<String>,
        limit: Option<u16>,
        #[serde(rename = "final")]
        only_final: Option<bool>,
    }

    #[test]
    fn names_and_values_are_decoded() {
        let search: Search =
            parse("query", b"clientMsgId=a%2Bb+%EA%B0%80&limit=10&final=true").unwrap();
        assert_eq!(search.client_msg_id.as_deref(), Some("a+b 가"));
        assert_eq!((search.limit, search.only_final), (Some(10), Some(true)));
        assert_eq!(
            parse::<Search>("query", b"").unwrap(),
            Search {
                client_msg_id: None,
                limit: None,
                only_final: None
            }
        );
    }

    #[test]
    fn faults_are_named() {
        for (text, reason, field, rule) in [
            ("limt=1", ErrorReason::UnknownField, "limt", "unknown"),
            ("limit=x", ErrorReason::InvalidValue, "limit", "type"),
            ("limit=70000", ErrorReason::InvalidValue, "limit", "type"),
            (
                "limit=1&limit=2",
                ErrorReason::InvalidValue,
                "limit",
                "duplicateField",
            ),
            ("limit=%zz", ErrorReason::InvalidValue, "query", "encoding"),
            ("limit=%FF", ErrorReason::InvalidValue, "query", "encoding"),
        ] {
            let error = parse::<Search>("query", text.as_bytes()).unwrap_err();
            assert_eq!(error.reason(), reason, "{text}");
            assert_eq!(error.details()[0].field, field, "{text}");
            assert_eq!(error.details()[0].rule, rule, "{text}");
        }
    }
}
