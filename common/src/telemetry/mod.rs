//! What the operator sees: logs, metrics and traces.
//!
//! Logs go to standard error, for people on a terminal and as JSON lines otherwise. Metrics are
//! named in [`metric`] and read at `/metrics`. Traces leave by OTLP over HTTP, only where an
//! endpoint is configured.

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

mod export;
pub mod metric;
mod prometheus;
pub(crate) mod trace;

pub use prometheus::prometheus;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The words of the configuration.
    pub const WORDS: &'static [&'static str] = &["auto", "human", "json"];

    /// The format with this word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What to log and where to send traces.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// A level (`info`) or directives (`info,pabal_sender=debug`).
    pub filter: String,
    /// How log lines look.
    pub format: LogFormat,
    /// The base address of an OTLP/HTTP collector, such as `http://localhost:4318`; the path
    /// `/v1/traces` is added where it has none. Without it nothing is traced.
    pub otlp_endpoint: Option<String>,
    /// The name under which this process appears in traces.
    pub service: String,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log filter {filter:?} is not a level or a list of target=level: {cause}")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Traces cannot be sent there.
    #[error("traces cannot be exported: {0}")]
    Export(String),
    /// Only one subscriber fits a process.
    #[error("logging is set up already")]
    SetTwice,
}

/// Keeps telemetry going; dropped at the very end, it sends the spans that are still in hand.
#[derive(Debug)]
#[must_use = "spans in hand are lost without it"]
pub struct TelemetryGuard {
    traces: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        // A collector that is away must not hold the shutdown.
        const PATIENCE: Duration = Duration::from_secs(3);

        if let Some(traces) = self.traces.take()
            && let Err(error) = traces.shutdown_with_timeout(PATIENCE)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Whether a filter can be read, and what is wrong with it if not.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    read_filter(filter).map(|_| ())
}

/// What goes before every filter. The broker's driver calls an error whatever ends a channel or a
/// connection, also what is expected; what matters of it our own lines say. Spans for traces alone
/// are [no matter of logs](trace::TRACES_ALONE). A filter that names either hears it again.
const QUIET: &str = "lapin=off,pabal::trace=off";

fn read_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|cause| TelemetryError::Filter {
            filter: filter.to_owned(),
            cause,
        })
}

/// Sets up logs, metrics and, if asked for, traces for this process. Once.
///
/// # Errors
/// [`TelemetryError`]; nothing is set up then.
pub fn init(config: &TelemetryConfig) -> Result<TelemetryGuard, TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let (subscriber, guard) = subscriber(config, terminal, std::io::stderr)?;
    // What is said by the `log` crate is not taken in: its users ask whether a level is logged, as the
    // database drivers do after each statement, and a filter's answer to a question that no line
    // follows is taken for the next line's or span's, which is lost.
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::SetTwice)?;
    prometheus();
    Ok(guard)
}

fn subscriber<W>(
    config: &TelemetryConfig,
    terminal: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, TelemetryGuard), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = read_filter(&config.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let human = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let logs = if human {
        lines.with_ansi(terminal).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed()
    };

    let traces = config
        .otlp_endpoint
        .as_deref()
        .map(|endpoint| export::tracer_provider(endpoint, &config.service))
        .transpose()?;
    // A list, and not a layer that may be none: beside one that is none, what no filter wants is
    // made all the same.
    let mut layers = vec![logs.with_filter(filter).boxed()];
    layers.extend(traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("pabal"))
            // The exporter's own HTTP client traces too; following it would never end.
            .with_filter(filter_fn(|span| {
                span.target().starts_with("pabal") && *span.level() <= tracing::Level::INFO
            }))
            .boxed()
    }));
    let subscriber = tracing_subscriber::registry().with(layers);
    Ok((subscriber, TelemetryGuard { traces }))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn config(filter: &str) -> TelemetryConfig {
        TelemetryConfig {
            filter: filter.to_owned(),
            format: LogFormat::Auto,
            otlp_endpoint: None,
            service: "test".to_owned(),
        }
    }

    fn logged(config: &TelemetryConfig, terminal: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _guard) = subscriber(config, terminal, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("request", request_id = "r1").in_scope(|| {
                tracing::info!(batch = 3, "kept");
                tracing::debug!("dropped");
            });
        });
        lines.text()
    }

    #[test]
    fn away_from_a_terminal_each_line_is_a_json_object_with_the_span() {
        let text = logged(&config("info"), false);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "kept");
        assert_eq!(line["batch"], 3);
        assert_eq!(line["span"]["request_id"], "r1");
    }

    #[test]
    fn on_a_terminal_lines_are_for_people() {
        let text = logged(&config("info"), true);
        assert!(text.contains("kept") && serde_json::from_str::<serde_json::Value>(&text).is_err());
    }

    #[test]
    fn the_brokers_driver_is_heard_only_if_the_filter_names_it() {
        let logged = |filter: &str| {
            let lines = Lines::default();
            let writer = lines.clone();
            let (subscriber, _guard) =
                subscriber(&config(filter), false, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "lapin::channel", "closed");
            });
            lines.text()
        };
        assert_eq!(logged("info"), "");
        assert!(logged("info,lapin=error").contains("closed"));
    }

    #[test]
    fn spans_for_traces_alone_are_made_only_where_traces_are_exported() {
        let frame = tracing::subscriber::with_default(trace::traced(), || {
            let span = tracing::info_span!(target: trace::TRACES_ALONE, "frame");
            span.metadata().unwrap()
        });
        let is_made = |endpoint: Option<&str>| {
            let config = TelemetryConfig {
                otlp_endpoint: endpoint.map(ToOwned::to_owned),
                ..config("trace")
            };
            let (subscriber, _guard) = subscriber(&config, false, io::sink).unwrap();
            !subscriber.register_callsite(frame).is_never()
        };
        assert!(!is_made(None));
        assert!(is_made(Some("http://127.0.0.1:9")));
    }

    #[test]
    fn a_span_that_is_exported_has_a_trace_that_goes_on() {
        let config = TelemetryConfig {
            otlp_endpoint: Some("http://127.0.0.1:9".to_owned()),
            ..config("info")
        };
        let (subscriber, _guard) = subscriber(&config, false, io::sink).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let made = tracing::info_span!("request").in_scope(trace::traceparent);
            let span = tracing::info_span!(target: trace::TRACES_ALONE, parent: None, "frame");
            trace::go_on(&span, &made.unwrap());
        });
    }

    #[test]
    fn a_wrong_filter_is_refused_by_name() {
        let refused = subscriber(&config("info,=="), false, io::stderr).err();
        assert!(refused.unwrap().to_string().contains("info,=="));
    }

    #[test]
    fn spans_in_hand_are_exported_when_the_guard_is_dropped() {
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", collector.local_addr().unwrap());
        let request = std::thread::spawn(move || {
            let (mut stream, _) = collector.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            (head, body)
        });

        let config = TelemetryConfig {
            otlp_endpoint: Some(endpoint),
            ..config("off")
        };
        let (subscriber, guard) = subscriber(&config, false, io::sink).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!(target: "pabal_test", "carried").in_scope(|| {});
        });
        drop(guard);

        let (head, body) = request.join().unwrap();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(body.windows(7).any(|bytes| bytes == b"carried"));
    }
}
