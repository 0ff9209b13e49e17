//! What a collector of traces sees of a message that goes from process to process.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use prost::Message;
use tokio::net::TcpListener;

use crate::partner::{accept, sms};
use crate::wait::until;
use crate::world::{Tempo, World};

/// The part of OTLP that is looked at.
#[derive(Clone, PartialEq, Message)]
struct Exported {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, tag = "2")]
    value: Option<Text>,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

impl Span {
    fn is_of(&self, queue: &str) -> bool {
        let is_it = |text: &Text| text.text == queue;
        let queues = self.attributes.iter().filter(|one| one.key == "queue");
        queues.filter_map(|one| one.value.as_ref()).any(is_it)
    }

    fn goes_on_from(&self, before: &Self) -> bool {
        self.parent == before.id && self.trace == before.trace
    }
}

/// Takes spans over HTTP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Listens; where.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::clone(&self.0);
        let take = async move |body: Bytes| {
            let exported = Exported::decode(body).unwrap();
            let scopes = exported.resources.into_iter().flat_map(|one| one.scopes);
            spans
                .lock()
                .unwrap()
                .extend(scopes.flat_map(|one| one.spans));
        };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        let named = spans.iter().filter(|span| span.name == name);
        named.cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_from_a_request_to_whoever_takes_its_frame() {
    let world = World::new(Tempo::Quick).await;
    let collector = Collector::default();
    let exported = [format!(
        "telemetry.otlp_endpoint={}",
        collector.listen().await
    )];
    let roles = ["receiver", "sender", "webhook-receiver", "reporter"];
    let mut services = roles.map(|role| world.start_with(role, 0, &exported));
    for service in &mut services {
        service.ready().await;
    }
    let partner = world.partner().await;
    accept(&world, &partner, &services[0].base, &[sms("order-1", 0)]).await;
    until("the partner was told", async || {
        (partner.endpoint.taken() == 1).then_some(())
    })
    .await;
    for service in &mut services {
        service.stop().await;
    }
    // The partner's request made the one, the vendor's callback the other. Each may come twice.
    let (requests, frames) = (collector.named("request"), collector.named("frame"));
    for queue in ["send.sms.queue", "report.queue"] {
        let mut of_queue = frames.iter().filter(|frame| frame.is_of(queue));
        let goes_on = |frame: &Span| requests.iter().any(|request| frame.goes_on_from(request));
        assert!(of_queue.any(goes_on), "{queue}: {frames:?} {requests:?}");
    }
}
