//! What partners may ask: one message, daily numbers, and webhooks that were given up.
//!
//! Every answer is about the caller's own messages; what is another's is not there. Requests are
//! checked in this order: token (E002), partner (E007, E008), pace (E003), content (E001, E005).

use std::sync::Arc;

use pabal_common::access::Access;
use pabal_common::crypto::TokenIssuer;
use pabal_common::node::Node;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::webhook::WakeDelivery;

mod caller;
pub mod config;
mod letters;
mod message;
mod pace;
mod period;
mod stats;
mod timeline;

pub use config::QueryConfig;

use pace::Pace;

/// What handlers work with.
struct Shared {
    node: Node,
    config: QueryConfig,
    access: Access,
    queries: Pace,
    replays: Pace,
    webhooks: WakeDelivery,
}

/// The routes with their description; `webhooks` is told when some are to be delivered again.
/// Whoever serves them wraps the whole with [`pabal_common::http::finish`].
pub fn router(node: Node, config: QueryConfig, webhooks: WakeDelivery) -> OpenApiRouter {
    let shared = Shared {
        access: Access::new(TokenIssuer::new(&node.keyring), Arc::clone(&node.ledger)),
        queries: Pace::per_second(config.per_second),
        replays: Pace::per_minute(config.replays_per_minute),
        webhooks,
        config,
        node,
    };
    OpenApiRouter::new()
        .routes(routes!(message::by_id))
        .routes(routes!(message::by_client_id))
        .routes(routes!(stats::daily))
        .routes(routes!(letters::list))
        .routes(routes!(letters::replay))
        .with_state(Arc::new(shared))
}
