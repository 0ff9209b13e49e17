//! How a trace goes on in another task or another process. Between processes it is a text, its
//! `traceparent` (W3C Trace Context). Where nothing is exported there is no text and no span.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that are made for traces alone: logs never ask for them, so without an
/// exporter they cost nothing.
pub(crate) const TRACES_ALONE: &str = "pabal::trace";

const TRACEPARENT: &str = "traceparent";

/// The trace of the span this is called in, if that is traced.
pub(crate) fn traceparent() -> Option<Arc<str>> {
    #[derive(Default)]
    struct Made(Option<Arc<str>>);

    impl Injector for Made {
        fn set(&mut self, key: &str, value: String) {
            if key == TRACEPARENT {
                self.0 = Some(value.into());
            }
        }
    }

    let mut made = Made::default();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut made);
    made.0
}

/// Makes `span`, which nobody has entered yet, go on with the trace of a `traceparent`. A text that
/// is none begins a trace of its own.
pub(crate) fn go_on(span: &Span, traceparent: &str) {
    struct Read<'a>(&'a str);

    impl Extractor for Read<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            (key == TRACEPARENT).then_some(self.0)
        }

        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT]
        }
    }

    if span.is_disabled() {
        return;
    }
    let nothing = Context::new();
    let parent = TraceContextPropagator::new().extract_with_context(&nothing, &Read(traceparent));
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(%error, "a trace does not go on");
    }
}

/// The span this is called in if that is traced, else none: for what goes on in another task.
pub(crate) fn current() -> Span {
    let span = Span::current();
    let is_traced = span.context().span().span_context().is_valid();
    if is_traced { span } else { Span::none() }
}

/// Traces every span, and exports none.
#[cfg(test)]
pub(crate) fn traced() -> impl tracing::Subscriber + Send + Sync {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    let tracer = SdkTracerProvider::builder().build().tracer("test");
    tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification.
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn trace_of(traceparent: &str) -> String {
        traceparent.split('-').nth(1).unwrap().to_owned()
    }

    fn trace_after(traceparent: &str) -> String {
        let span = tracing::info_span!("work");
        go_on(&span, traceparent);
        trace_of(&span.in_scope(traceparent_here))
    }

    fn traceparent_here() -> Arc<str> {
        traceparent().unwrap()
    }

    #[test]
    fn a_trace_goes_on_with_the_text_that_another_process_made_of_it() {
        tracing::subscriber::with_default(traced(), || {
            assert_eq!(trace_after(TRACE), trace_of(TRACE));
            let made = tracing::info_span!("request").in_scope(traceparent_here);
            assert_eq!(trace_after(&made), trace_of(&made));
        });
    }

    #[test]
    fn a_text_that_is_no_trace_begins_one() {
        tracing::subscriber::with_default(traced(), || {
            for garbled in ["", "00-0-0-00", &TRACE.to_uppercase(), &TRACE[..30]] {
                assert_ne!(trace_after(garbled), trace_of(TRACE), "{garbled}");
            }
        });
    }

    #[test]
    fn a_span_that_only_logs_see_has_no_trace() {
        let logs = tracing_subscriber::fmt().with_writer(std::io::sink);
        tracing::subscriber::with_default(logs.finish(), || {
            tracing::info_span!("request").in_scope(|| {
                assert!(!Span::current().is_none());
                assert!(current().is_none());
                assert_eq!(traceparent(), None);
            });
        });
        tracing::subscriber::with_default(traced(), || {
            assert_eq!(traceparent(), None);
            tracing::info_span!("request").in_scope(|| assert!(!current().is_none()));
        });
    }
}
