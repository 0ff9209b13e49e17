//! Traces as they would be exported. Tests of other crates include this file.

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::layer::SubscriberExt as _;

/// Every span that has ended, oldest first. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    /// What sends spans here.
    pub(crate) fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let provider = SdkTracerProvider::builder().with_simple_exporter(self.clone());
        let tracer = provider.build().tracer("test");
        tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer))
    }

    pub(crate) fn named(&self, name: &str) -> Vec<SpanData> {
        let spans = self.0.lock().unwrap();
        let named = spans.iter().filter(|span| span.name == name);
        named.cloned().collect()
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// The `traceparent` that a span goes on from; nothing if it begins a trace.
pub(crate) fn traceparent_before(span: &SpanData) -> Option<String> {
    let (trace, parent) = (span.span_context.trace_id(), span.parent_span_id);
    (parent != SpanId::INVALID).then(|| format!("00-{trace}-{parent}-01"))
}
