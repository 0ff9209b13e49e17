//! Which of a type's routes carry each message of a frame, where they differ in what they carry.
//!
//! That depends on partner, recipient and length, which no frame tells. So such messages are looked at
//! before a permit is asked for: the permit is then one of a route that carries them, and nothing is
//! claimed for a route that does not.

use std::collections::BTreeMap;
use std::time::Duration;

use pabal_common::broker::{Member, SendFrame};
use pabal_common::clock::Timestamp;
use pabal_common::deadline::in_time;
use pabal_common::domain::message::Content;
use pabal_common::domain::text;
use pabal_common::ledger::{LedgerError, Looked};
use pabal_provider::route::{Fit, Traits};

use crate::desk::Desk;

/// How long the ledger may take to answer.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

/// Members of a frame that the same routes carry.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) fit: Fit,
    pub(crate) members: Vec<Member>,
    /// When the youngest of them was accepted, where they were looked at.
    pub(crate) accepted_at: Option<Timestamp>,
}

/// The parts of a frame; one, and at no cost, where every route of the type carries everything.
///
/// # Errors
/// [`LedgerError`].
pub(crate) async fn parts(desk: &Desk, frame: &SendFrame) -> Result<Vec<Part>, LedgerError> {
    if !desk.routes.is_selective(frame.kind) {
        return Ok(vec![Part {
            fit: Fit::any(),
            members: frame.members.clone(),
            accepted_at: None,
        }]);
    }
    let ids: Vec<_> = frame.members.iter().map(|member| member.id).collect();
    let looked = in_time(LEDGER_LIMIT, desk.node.ledger.look(&ids)).await?;
    let looked: BTreeMap<_, _> = looked.into_iter().map(|one| (one.id, one)).collect();
    let mut parts: BTreeMap<Fit, Part> = BTreeMap::new();
    for member in &frame.members {
        let message = looked.get(&member.id);
        let fit = message.and_then(|message| fit(desk, frame, message));
        // One that is gone is not claimed by any route, and one that cannot be read is not sent.
        let fit = fit.unwrap_or_else(|| desk.routes.fit_all());
        let part = parts.entry(fit.clone()).or_insert_with(|| Part {
            fit,
            members: Vec::new(),
            accepted_at: None,
        });
        part.members.push(*member);
        let accepted_at = message.map(|message| message.accepted_at);
        part.accepted_at = part.accepted_at.max(accepted_at);
    }
    Ok(parts.into_values().collect())
}

fn fit(desk: &Desk, frame: &SendFrame, message: &Looked) -> Option<Fit> {
    let plain = desk.sealer.open(message.id, &message.sealed).ok()?;
    let content: Content = serde_json::from_slice(&plain).ok()?;
    Some(desk.routes.fit(&Traits {
        kind: frame.kind,
        partner: &message.partner,
        recipient: &content.to,
        length: text::length(frame.kind, &content.text),
    }))
}
