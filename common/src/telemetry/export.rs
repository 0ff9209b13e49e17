//! Spans leave by OTLP over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Uri;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::{Builder, Runtime};

use super::TelemetryError;

/// A provider that sends batches from a thread of its own.
pub(super) fn tracer_provider(
    endpoint: &str,
    service: &str,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_address(endpoint)?)
        .with_timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| TelemetryError::Export(error.to_string()))?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| TelemetryError::Export(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(OwnRuntime {
            exporter,
            runtime,
            failing: AtomicBool::new(false),
        })
        .with_resource(resource)
        .build())
}

fn traces_address(endpoint: &str) -> Result<String, TelemetryError> {
    let unusable =
        || TelemetryError::Export(format!("{endpoint:?} is not an http or https address"));
    let uri: Uri = endpoint.parse().map_err(|_| unusable())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(unusable());
    }
    Ok(match uri.path() {
        "" | "/" => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    })
}

/// The HTTP client needs a Tokio runtime, and the thread that exports has none; sharing the
/// process's would make the last export depend on a runtime that is being shut down.
#[derive(Debug)]
struct OwnRuntime {
    exporter: opentelemetry_otlp::SpanExporter,
    runtime: Runtime,
    failing: AtomicBool,
}

impl OwnRuntime {
    /// One line when exporting begins to fail and one when it works again.
    fn note(&self, result: &OTelSdkResult) {
        let failed = result.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        match result {
            Ok(()) => tracing::info!("spans are exported again"),
            Err(error) => tracing::warn!(%error, "spans cannot be exported and are dropped"),
        }
    }
}

impl SpanExporter for OwnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.runtime.block_on(self.exporter.export(batch));
        self.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_gets_the_path_for_traces_and_a_full_one_stays() {
        for (given, used) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/x/traces", "https://a/x/traces"),
        ] {
            assert_eq!(traces_address(given).unwrap(), used);
        }
        for bad in ["a:4318", "", "ftp://a", "/v1/traces"] {
            assert!(traces_address(bad).is_err(), "{bad}");
        }
    }
}
