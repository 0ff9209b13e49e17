//! The trace a frame belongs to, carried in its `traceparent` header (W3C Trace Context).

use std::sync::Arc;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::propagation::{Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

/// That of the span this is called in, if it is traced.
pub(super) fn current() -> Option<Arc<str>> {
    #[derive(Default)]
    struct Header(Option<Arc<str>>);

    impl Injector for Header {
        fn set(&mut self, key: &str, value: String) {
            if key == TRACEPARENT {
                self.0 = Some(value.into());
            }
        }
    }

    let mut header = Header::default();
    let context = tracing::Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut header);
    header.0
}

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
