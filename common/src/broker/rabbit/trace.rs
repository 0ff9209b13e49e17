//! The trace a frame belongs to, carried in its `traceparent` header (W3C Trace Context).

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

const TRACEPARENT: &str = "traceparent";

pub(super) fn write(properties: BasicProperties, traceparent: Option<&str>) -> BasicProperties {
    let Some(traceparent) = traceparent else {
        return properties;
    };
    let mut headers = FieldTable::default();
    headers.insert(
        TRACEPARENT.into(),
        AMQPValue::LongString(traceparent.into()),
    );
    properties.with_headers(headers)
}

pub(super) fn read(properties: &BasicProperties) -> Option<String> {
    text(properties, TRACEPARENT)
}

/// A header that holds text.
pub(super) fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
