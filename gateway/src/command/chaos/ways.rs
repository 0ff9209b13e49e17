//! The ways from the services to the private back-ends: proxies that can be disturbed.

use std::net::SocketAddr;

use pabal_gateway::trial::proxy::Proxy;

use crate::command::ground::parts::{Part, Parts};

/// The three ways.
pub(super) struct Ways {
    /// The way to the ledger.
    pub(super) mysql: Proxy,
    /// The way to the queues.
    pub(super) rabbit: Proxy,
    /// The way to the limits.
    pub(super) redis: Proxy,
}

impl Ways {
    /// Opens a way to each part.
    pub(super) async fn to(parts: &Parts) -> anyhow::Result<Self> {
        Ok(Self {
            mysql: way(parts, Part::Mysql).await?,
            rabbit: way(parts, Part::Rabbit).await?,
            redis: way(parts, Part::Redis).await?,
        })
    }
}

async fn way(parts: &Parts, part: Part) -> anyhow::Result<Proxy> {
    let target: SocketAddr = parts.place(part)?.parse()?;
    Ok(Proxy::to(target).await?)
}

/// A part's URL, but through the proxy.
pub(super) fn through(proxy: &Proxy, parts: &Parts, part: Part) -> anyhow::Result<String> {
    let through = proxy.address().to_string();
    Ok(parts.url(part).replacen(parts.place(part)?, &through, 1))
}
