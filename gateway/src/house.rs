//! The running house: what lives in it, and in which order everything stops.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pabal_common::config::Values;
use pabal_common::http;
use pabal_common::node::Node;
use pabal_simulator::Simulator;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Parts, Stopped};
use crate::settings;
use crate::storage::Storage;

/// How long each floor may drain: with the departure ten seconds in all.
const INTAKE_DRAIN: Duration = Duration::from_millis(5_500);
const REPORTS_DRAIN: Duration = Duration::from_millis(2_500);
const LAST_DRAIN: Duration = Duration::from_millis(1_000);
/// How long leaving the ledger and closing the storage may take after the last floor.
const DEPARTURE: Duration = Duration::from_millis(1_000);

/// Everything that runs, and the order in which it stops.
pub(crate) struct House {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) parts: Parts,
    pub(crate) storage: Storage,
    pub(crate) simulator: Option<Arc<Simulator>>,
    pub(crate) vendors_stop: CancellationToken,
    pub(crate) values: Values,
    pub(crate) node: Node,
}

/// A running service and what stops it.
struct Tenant {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Tenant {
    fn start<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        Self { name, stop, task }
    }
}

impl House {
    /// Runs until `stop`, the lease is lost, or a service ends by itself; then stops everything in
    /// the order of the flow, so that each part can hand on what it has.
    pub(crate) async fn keep(self, stop: CancellationToken) -> Result<(), Stopped> {
        let Self {
            listener,
            router,
            parts,
            storage,
            simulator,
            vendors_stop,
            values,
            node,
        } = self;
        let limits = settings::server_limits(&values);
        let http = Tenant::start("http", |token| http::serve(listener, router, limits, token));
        let relay = Tenant::start("relay", |token| Arc::clone(&node.relay).run(token));
        let (lease_stop, keeper) = (CancellationToken::new(), Arc::clone(&node.instance));
        let mut lease = tokio::spawn(keeper.keep(lease_stop.clone()));

        let webhook_vendors = parts.webhook_vendors();
        let receiver = parts.receiver.map(|receiver| {
            Tenant::start("receiver", |token| async move { receiver.run(token).await })
        });
        let pollers = parts.webhook_receiver.map(|config| {
            let node = node.clone();
            Tenant::start("webhook-receiver", |token| {
                pabal_webhook_receiver::run(node, webhook_vendors, config, token)
            })
        });
        let sender = parts.sender.map(|config| {
            let (node, vendors) = (node.clone(), parts.vendors);
            Tenant::start("sender", |token| {
                pabal_sender::run(node, vendors.routes, vendors.adapters, config, token)
            })
        });
        let reporter = parts.reporter.map(|reporter| {
            Tenant::start("reporter", |token| async move { reporter.run(token).await })
        });
        let watch = Tenant::start("watch", |token| crate::watch::run(node.clone(), token));
        // In the order of the flow, so that each part can still hand on what it has: first what
        // lets work in, then what carries it to an end, then the ways out.
        let floors = [
            (INTAKE_DRAIN, [Some(http), sender, pollers]),
            (REPORTS_DRAIN, [receiver, reporter, None]),
            (LAST_DRAIN, [Some(relay), Some(watch), None]),
        ]
        .map(|(limit, tenants)| (limit, tenants.into_iter().flatten().collect::<Vec<_>>()));
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            lost = &mut lease => Err(match lost {
                Ok(Err(lost)) => Stopped::Lease(lost),
                _ => Stopped::Service("the lease keeper"),
            }),
            name = first_ended(floors.iter().flat_map(|(_, tenants)| tenants)) => {
                Err(Stopped::Service(name))
            }
        };
        stop.cancel();
        for (limit, tenants) in floors {
            stop_together(tenants, limit).await;
        }
        lease_stop.cancel();
        vendors_stop.cancel();
        let depart = async {
            if ended.is_ok() {
                let _ = (&mut lease).await;
                node.instance.leave().await;
            }
            storage.close().await;
            if let Some(simulator) = simulator {
                simulator.stopped().await;
            }
        };
        if !done_within(DEPARTURE, depart).await {
            lease.abort();
        }
        ended
    }
}

/// Whether the last steps were done in time. What is not done is what a killed process leaves
/// undone too: the lease lapses, and the next start goes on from the ledger.
async fn done_within(limit: Duration, depart: impl Future<Output = ()>) -> bool {
    let done = tokio::time::timeout(limit, depart).await.is_ok();
    if !done {
        tracing::warn!("the ledger was not left and closed in time; the next start sees to it");
    }
    done
}

/// Stops services of one floor side by side. What is not done within `limit` is given up: it is in
/// the ledger, and the next start goes on from there.
async fn stop_together(tenants: Vec<Tenant>, limit: Duration) {
    for tenant in &tenants {
        tenant.stop.cancel();
    }
    let until = tokio::time::Instant::now() + limit;
    for Tenant { name, mut task, .. } in tenants {
        match tokio::time::timeout_at(until, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(service = name, %error, "a service failed"),
            Err(_) => {
                tracing::warn!(service = name, "a service did not drain in time");
                task.abort();
            }
        }
    }
}

/// The first service that ends by itself.
async fn first_ended<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> &'static str {
    let tenants: Vec<&Tenant> = tenants.collect();
    loop {
        if let Some(ended) = tenants.iter().find(|tenant| tenant.task.is_finished()) {
            return ended.name;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_departure_that_hangs_is_given_up() {
        let hangs = done_within(Duration::from_millis(1), std::future::pending());
        assert!(!hangs.await);
        assert!(done_within(DEPARTURE, std::future::ready(())).await);
    }

    #[test]
    fn a_stop_takes_ten_seconds_at_most() {
        let whole = INTAKE_DRAIN + REPORTS_DRAIN + LAST_DRAIN + DEPARTURE;
        assert!(whole <= Duration::from_secs(10));
    }
}
