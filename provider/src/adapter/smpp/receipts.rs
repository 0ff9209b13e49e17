//! Receipts and late answers on their way to the desk. A receipt is acknowledged once it is kept.

use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use tokio::sync::mpsc;

use super::notation;
use super::reader::delivered_response;
use super::receipt::Receipt;
use super::session::Ended;
use super::status::{self, CODES};
use super::ticket::{About, Reply, Share};
use super::writer::Control;
use crate::provider::{Answer, ReportDesk};

/// The most that are kept at once.
const BATCH: usize = 100;

/// Something to report.
#[derive(Debug)]
pub(super) enum Notice {
    /// A receipt, to be acknowledged under this number.
    Receipt { sequence: u32, receipt: Receipt },
    /// An answer nobody waited for any more.
    Late { about: About, reply: Reply },
}

pub(super) struct Clerk<'a> {
    pub(super) desk: &'a dyn ReportDesk,
    pub(super) account: &'a VendorAccount,
    pub(super) noticed: mpsc::Receiver<Notice>,
    pub(super) control: mpsc::Sender<Control>,
}

impl Clerk<'_> {
    pub(super) async fn run(mut self) -> Ended {
        let mut notices = Vec::with_capacity(BATCH);
        while self.noticed.recv_many(&mut notices, BATCH).await > 0 {
            let status = self.keep(&notices).await;
            for notice in notices.drain(..) {
                if let Notice::Receipt { sequence, .. } = notice {
                    let response = delivered_response(sequence, status);
                    let _ = self.control.send(Control::Pdu(response)).await;
                }
            }
        }
        Ended::Stopped
    }

    async fn keep(&self, notices: &[Notice]) -> u32 {
        let now = SystemClock.now();
        let reports: Vec<_> = notices
            .iter()
            .filter_map(|notice| self.report(notice, now))
            .collect();
        if reports.is_empty() {
            return status::OK;
        }
        let count = reports.len();
        match self.desk.keep(self.account, reports).await {
            Ok(()) => status::OK,
            Err(error) => {
                tracing::warn!(account = %self.account, reports = count, %error, "reports were not kept");
                status::TRY_AGAIN
            }
        }
    }

    fn report(&self, notice: &Notice, now: Timestamp) -> Option<Report> {
        match notice {
            Notice::Receipt { receipt, .. } => Some(Report {
                account: self.account.clone(),
                vendor_id: receipt.vendor_id.clone(),
                message: receipt.message,
                submission: None,
                verdict: receipt.verdict,
                vendor_code: receipt.code.clone(),
                occurred_at: now,
            }),
            Notice::Late { about, reply } => self.late(about, reply, now),
        }
    }

    /// What a late answer still says: that the message was taken, or that it surely was not.
    fn late(&self, about: &About, reply: &Reply, now: Timestamp) -> Option<Report> {
        let (vendor_id, verdict) = match (answer(reply), about.share) {
            (Answer::Taken { vendor_id }, Share::Whole | Share::Last) => {
                (vendor_id, Verdict::Taken)
            }
            (Answer::Refused { reason, .. }, Share::Whole) => (None, Verdict::Failed(reason)),
            _ => return None,
        };
        Some(Report {
            account: self.account.clone(),
            vendor_id,
            message: Some(about.message),
            submission: Some(about.submission),
            verdict,
            vendor_code: Some(status::code(reply.status)),
            occurred_at: now,
        })
    }
}

/// What a `submit_sm_resp` says.
pub(super) fn answer(reply: &Reply) -> Answer {
    let id = reply.id.as_deref().and_then(notation::answered);
    CODES.answer(&status::code(reply.status), id)
}
