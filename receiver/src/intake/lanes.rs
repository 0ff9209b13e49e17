//! Which lane each message takes.

use pabal_common::domain::kind::{Lane, Purpose};
use pabal_common::ledger::Partner;
use pabal_common::quota::{Meter, Quota, Room};

use crate::message::Draft;

/// AUTH takes the express lane as far as the partner's share of it goes. All the others take the
/// ordinary lane if they fit into the partner's fair share together, and else the bulk lane: they
/// are asked for at once, since a batch must not cost a question for each of its messages.
pub(super) async fn choose(
    quota: &dyn Quota,
    partner: &Partner,
    fair_per_second: u32,
    drafts: &[Draft],
) -> Vec<Lane> {
    let mut express = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let per_second = partner.express_per_second;
        let is_express = draft.purpose == Purpose::Auth
            && quota.take(&partner.id, Meter::Express, per_second, 1).await == Room::Granted;
        express.push(is_express);
    }
    let others = express.iter().filter(|is_express| !**is_express).count();
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    let fair = quota.take(&partner.id, Meter::Fair, fair_per_second, others);
    let lane = match fair.await {
        Room::Granted => Lane::Ordinary,
        Room::Wait(_) | Room::TooMany => Lane::Bulk,
    };
    let lanes = express.into_iter();
    lanes
        .map(|is_express| if is_express { Lane::Express } else { lane })
        .collect()
}
