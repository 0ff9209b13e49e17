//! Says which field of a request is wrong, and why.
//!
//! A good body is read by `serde_json` at full speed. Only a refused one comes here: it is read
//! again as a tree, through a deserializer whose error keeps the path and the broken rule as data,
//! so that no error text has to be taken apart and no value of the caller is ever repeated.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, SeqAccess, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{ApiError, Detail};
use super::fault::{Fault, Fields, Rule};
use super::nesting::{MAX_JSON_DEPTH, json_depth};
use crate::domain::code::ErrorReason;

/// Which numbers are read.
const NUMBERS: &str = "a number that a 64-bit floating-point value can hold";

/// Why `bytes`, which `serde_json` refused with `refusal`, are not a `T`.
pub(super) fn explain<T: DeserializeOwned>(bytes: &[u8], refusal: &serde_json::Error) -> ApiError {
    let tree: Value = match serde_json::from_slice(bytes) {
        Ok(tree) => tree,
        Err(error) => return unreadable(bytes, offset(bytes, &error)),
    };
    match T::deserialize(Node(tree)) {
        Err(fault) => fault.into(),
        // A tree cannot hold a name twice: only a repeated field reads well here and not there.
        Ok(_) => {
            let detail = Detail::new("body", "duplicateField");
            invalid_json(detail.position(offset(bytes, refusal)))
        }
    }
}

/// Why reading stopped at `position`: it is no JSON, or more than is read of JSON (RFC 8259, 9).
fn unreadable(bytes: &[u8], position: u64) -> ApiError {
    let read = usize::try_from(position).map_or(bytes.len(), |at| bytes.len().min(at + 1));
    let detail = if json_depth(&bytes[..read]) > MAX_JSON_DEPTH {
        Detail::new("body", "maxDepth")
            .limit(MAX_JSON_DEPTH as u64)
            .unit("LEVEL")
    } else if serde_json::from_slice::<&RawValue>(bytes).is_ok() {
        // Numbers are all that is not looked into there.
        Detail::new("body", "range").expected(NUMBERS)
    } else {
        Detail::new("body", "json")
    };
    invalid_json(detail.position(position))
}

fn invalid_json(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::InvalidJson).detail(detail)
}

/// The byte at which reading stopped. `serde_json` counts lines and columns from 1.
fn offset(bytes: &[u8], error: &serde_json::Error) -> u64 {
    if error.is_eof() {
        return bytes.len() as u64;
    }
    let line: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (line + error.column().saturating_sub(1)).min(bytes.len()) as u64
}

/// A JSON value that is read with [`Fault`]s.
struct Node(Value);

macro_rules! integers {
    ($($method:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor).map_err(|fault| {
                fault.expecting("integer", || {
                    Some(format!("{}..{}", $type::MIN, $type::MAX))
                })
            })
        }
    )*};
}

macro_rules! only {
    ($($method:ident $kind:literal $pattern:pat)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0 {
                $pattern => self
                    .deserialize_any(visitor)
                    .map_err(|fault| fault.expecting($kind, || None)),
                _ => Err(Fault::here(Rule::Type(Some($kind)))),
            }
        }
    )*};
}

impl Node {
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Number(_) => self.deserialize_any(visitor),
            _ => Err(Fault::here(Rule::Type(None))),
        }
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => {
                if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(Fields::new(
                fields.into_iter().map(|(name, value)| (name, Self(value))),
            )),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // serde_json's raw values come by a name of its own, which only it can answer.
        if name.starts_with("$serde_json::") {
            return self
                .0
                .deserialize_newtype_struct(name, visitor)
                .map_err(|_| Fault::here(Rule::Value));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.into_deserializer()),
            _ => Err(Fault::here(Rule::Type(Some("string")))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
            .map_err(|fault| fault.expecting("number", || None))
    }

    integers! {
        deserialize_i8 i8 deserialize_i16 i16 deserialize_i32 i32 deserialize_i64 i64
        deserialize_u8 u8 deserialize_u16 u16 deserialize_u32 u32 deserialize_u64 u64
    }

    only! {
        deserialize_bool "boolean" Value::Bool(_)
        deserialize_str "string" Value::String(_)
        deserialize_string "string" Value::String(_)
        deserialize_char "string" Value::String(_)
        deserialize_identifier "string" Value::String(_)
        deserialize_bytes "string" Value::String(_)
        deserialize_byte_buf "string" Value::String(_)
        deserialize_seq "array" Value::Array(_)
        deserialize_map "object" Value::Object(_)
        deserialize_unit "null" Value::Null
    }
}

struct Items(std::iter::Enumerate<std::vec::IntoIter<Value>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Node(item))
            .map(Some)
            .map_err(|fault| fault.under(&format!("[{index}]")))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::body::parse_json;
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        client_id: String,
        count: Option<u8>,
        colour: Option<Colour>,
        #[serde(default)]
        lines: Vec<Line>,
        extra: Option<Box<RawValue>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Line {
        name: String,
        urgent: bool,
    }

    fn refused(body: &str) -> (ErrorReason, Detail) {
        let error = parse_json::<Order>(body.as_bytes()).unwrap_err();
        (error.reason(), error.details()[0].clone())
    }

    #[test]
    fn a_good_body_is_read() {
        let body = br#"{"clientId":"a","count":3,"colour":"red","extra":{"x":[1]},
            "lines":[{"name":"n","urgent":true}]}"#;
        let order = parse_json::<Order>(body).unwrap();
        assert_eq!(order.extra.unwrap().get(), r#"{"x":[1]}"#);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let (reason, detail) = refused(r#"{"clientId":"a","colr":"red"}"#);
        assert_eq!(reason, ErrorReason::UnknownField);
        assert_eq!(detail.field, "colr");
        assert!(detail.expected.unwrap().contains("colour"));
        let (_, detail) =
            refused(r#"{"clientId":"a","lines":[{"name":"n","urgent":true},{"nam":"n"}]}"#);
        assert_eq!(detail.field, "lines[1].nam");
    }

    #[test]
    fn a_missing_field_is_named_with_its_path() {
        let (reason, detail) = refused("{}");
        assert_eq!(
            (reason, &*detail.field),
            (ErrorReason::MissingField, "clientId")
        );
        let (reason, detail) = refused(r#"{"clientId":"a","lines":[{"name":"n"}]}"#);
        assert_eq!(reason, ErrorReason::MissingField);
        assert_eq!(detail.field, "lines[0].urgent");
    }

    #[test]
    fn a_wrong_type_says_what_is_expected_and_repeats_no_value() {
        for (body, field, expected) in [
            (r#"{"clientId":7}"#, "clientId", "string"),
            (r#"{"clientId":"a","count":"x"}"#, "count", "integer"),
            (r#"{"clientId":"a","count":1.5}"#, "count", "integer"),
            (r#"{"clientId":"a","lines":{}}"#, "lines", "array"),
            (r#"{"clientId":"a","lines":["x"]}"#, "lines[0]", "object"),
            (r#"{"clientId":"a","colour":1}"#, "colour", "string"),
            (
                r#"{"clientId":"a","lines":[{"name":"n","urgent":"yes"}]}"#,
                "lines[0].urgent",
                "boolean",
            ),
            (r#""secret""#, "body", "object"),
        ] {
            let (reason, detail) = refused(body);
            assert_eq!(reason, ErrorReason::InvalidValue, "{body}");
            let wanted = Detail::new(field, "type").expected(expected);
            assert_eq!(detail, wanted, "{body}");
        }
    }

    #[test]
    fn a_number_out_of_range_and_a_word_out_of_the_list_say_what_is_allowed() {
        let (_, detail) = refused(r#"{"clientId":"a","count":256}"#);
        assert_eq!(detail, Detail::new("count", "range").expected("0..255"));
        let (_, detail) = refused(r#"{"clientId":"a","colour":"pink"}"#);
        assert_eq!(detail, Detail::new("colour", "oneOf").expected("red, blue"));
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        let (reason, detail) = refused(r#"{"clientId":"a","clientId":"b"}"#);
        assert_eq!(reason, ErrorReason::InvalidJson);
        assert_eq!(detail.rule, "duplicateField");
    }

    #[test]
    fn a_fault_beside_a_raw_value_is_the_one_that_is_named() {
        let (_, detail) = refused(r#"{"extra":{"a":1},"clientId":null}"#);
        assert_eq!(detail.field, "clientId");
    }

    #[test]
    fn broken_json_is_located() {
        for (body, position) in [
            ("", 0),
            ("{\"clientId\":", 12),
            ("{\"clientId\" \"a\"}", 12),
            ("{\n  oops\n}", 4),
            ("{}x", 2),
        ] {
            let (reason, detail) = refused(body);
            assert_eq!(reason, ErrorReason::InvalidJson, "{body}");
            assert_eq!(detail.position, Some(position), "{body}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let body = format!(r#"{{"clientId":{}"#, "[".repeat(100_000));
        let (reason, detail) = refused(&body);
        assert_eq!(reason, ErrorReason::InvalidJson);
        assert_eq!((&*detail.rule, detail.limit), ("maxDepth", Some(127)));
        assert_eq!(detail.position, Some(12 + 126));
    }

    #[test]
    fn a_number_that_cannot_be_held_is_not_told_as_broken_json() {
        let (reason, detail) = refused(r#"{"clientId":"a","count":1e999}"#);
        assert_eq!((reason, &*detail.rule), (ErrorReason::InvalidJson, "range"));
        assert_eq!(detail.expected.as_deref(), Some(NUMBERS));
        assert!((24..30).contains(&detail.position.unwrap()), "{detail:?}");
    }

    #[test]
    fn a_field_name_without_end_is_not_repeated_in_full() {
        let (_, detail) = refused(&format!(r#"{{"{}":1}}"#, "x".repeat(10_000)));
        assert_eq!(detail.field.len(), Fault::MAX_PATH);
    }
}
