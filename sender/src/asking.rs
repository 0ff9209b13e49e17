//! Asking vendors what became of messages whose answer was lost. What they know goes the way of
//! every report; "not found" proves nothing and permits nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::domain::report::{Report, VendorAccount};
use pabal_common::ledger::Ask;
use pabal_common::rounds::Rounds;
use pabal_provider::{Asked, Found};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

const ROUND: Duration = Duration::from_secs(1);
const AT_A_TIME: u32 = 200;

pub(crate) async fn run(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut rounds = Rounds::every(ROUND, shutdown);
    while rounds.next().await {
        rounds.carry_out(round(&desk)).await;
    }
}

async fn round(desk: &Desk) {
    let (node, now) = (&desk.node, desk.node.clock.now());
    if !node.instance.alive() {
        return;
    }
    let again = now.plus(desk.config.ask_again);
    let asks = match node.ledger.take_asks(now, again, AT_A_TIME).await {
        Ok(asks) => asks,
        Err(error) => {
            tracing::warn!(%error, "questions to vendors could not be looked up");
            return;
        }
    };
    let mut by_account: HashMap<VendorAccount, Vec<Ask>> = HashMap::new();
    let mut nobody = Vec::new();
    for ask in asks {
        match desk.can_be_asked(&ask.account) {
            true => by_account.entry(ask.account.clone()).or_default().push(ask),
            false => nobody.push(ask.id),
        }
    }
    if !nobody.is_empty()
        && let Err(error) = node.ledger.drop_asks(&nobody).await
    {
        tracing::warn!(%error, "questions nobody can answer could not be removed");
    }
    for (account, asks) in by_account {
        let reports = ask_vendor(desk, &account, &asks).await;
        if reports.is_empty() {
            continue;
        }
        let (me, outbox) = (node.instance.id(), node.instance.ids().outbox());
        match node
            .ledger
            .keep_reports(me, outbox, &reports, None, now)
            .await
        {
            Ok(dispatch) => desk.publisher.publish(dispatch),
            Err(error) => tracing::warn!(%error, "answers of a vendor could not be kept"),
        }
    }
}

async fn ask_vendor(desk: &Desk, account: &VendorAccount, asks: &[Ask]) -> Vec<Report> {
    let Some(vendor) = desk.vendors.get(account) else {
        return Vec::new();
    };
    let mut reports = Vec::new();
    for chunk in asks.chunks(vendor.capabilities().batch.max(1)) {
        let asked: Vec<Asked> = chunk
            .iter()
            .map(|ask| Asked {
                id: ask.id,
                submission: ask.submission,
                vendor_id: ask.vendor_id.clone(),
            })
            .collect();
        let answer = tokio::time::timeout(desk.config.call_limit, vendor.ask(&asked)).await;
        match answer {
            Ok(Ok(found)) => reports.extend(found.into_iter().filter_map(|one| match one {
                Found::Known(report) => Some(report),
                Found::NotFound => None,
            })),
            Ok(Err(error)) => tracing::info!(%account, %error, "asking failed"),
            Err(_) => tracing::info!(%account, "asking timed out"),
        }
    }
    reports
}
