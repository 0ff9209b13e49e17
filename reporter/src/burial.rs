//! Dead letters of reports and frames.

use pabal_common::broker::{Delivery, ReportFrame};
use pabal_common::domain::id::Ids;
use pabal_common::domain::report::Report;
use pabal_common::instance::Instance;
use pabal_common::ledger::{DeadLetterKind, NewDeadLetter};
use pabal_common::node::Node;
use pabal_common::telemetry::metric;

use crate::answer::in_time;

/// The dead letter of a report; sending it again puts the report into its queue.
pub(crate) fn report(
    instance: &Instance,
    report: &Report,
    why: &str,
    attempts: u32,
) -> NewDeadLetter {
    let about = match (&report.vendor_id, report.message) {
        (Some(vendor_id), _) => vendor_id.to_string(),
        (None, Some(message)) => message.to_string(),
        (None, None) => "without an id".to_owned(),
    };
    let frame = ReportFrame {
        reports: vec![report.clone()],
    };
    NewDeadLetter {
        id: instance.ids().dead_letter(),
        kind: DeadLetterKind::Report,
        partner: None,
        subject: format!("{} {about}", report.account),
        reason: why.to_owned(),
        attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
        payload: frame.encode(instance.frame_version()).to_vec(),
    }
}

/// The dead letter of a frame nobody could read; sending it again puts it into its queue.
pub(crate) fn frame(ids: &Ids, frame: &dyn Delivery, why: &str) -> NewDeadLetter {
    NewDeadLetter {
        id: ids.dead_letter(),
        kind: DeadLetterKind::Frame,
        partner: None,
        subject: frame.queue().name().to_owned(),
        reason: why.to_owned(),
        attempts: 0,
        payload: frame.body().to_vec(),
    }
}

/// Keeps dead letters; `None` if the ledger did not.
pub(crate) async fn bury(node: &Node, letters: &[NewDeadLetter]) -> Option<()> {
    if letters.is_empty() {
        return Some(());
    }
    let buried = node.ledger.bury(letters, node.clock.now());
    if let Err(error) = in_time(buried).await {
        tracing::warn!(%error, letters = letters.len(), "dead letters were not kept");
        return None;
    }
    for letter in letters {
        metric::dead_letter(letter.kind);
        tracing::error!(
            id = %letter.id,
            kind = letter.kind.name(),
            subject = letter.subject,
            reason = letter.reason,
            "a dead letter"
        );
    }
    Some(())
}
