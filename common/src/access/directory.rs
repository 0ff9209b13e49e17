//! What is known of partners, for as long as it may be believed without asking again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::deadline::in_time;
use crate::domain::id::PartnerId;
use crate::domain::sender::Sender;
use crate::ledger::{LedgerError, Partner, SharedLedger};

/// A change of a partner is obeyed everywhere within this time.
const BELIEVED_FOR: Duration = Duration::from_secs(2);
const MOST_PARTNERS: u64 = 10_000;
/// How long the ledger may take to tell of a partner.
const LEDGER_LIMIT: Duration = Duration::from_secs(5);

/// A partner and what it may send from.
#[derive(Clone, Debug)]
pub struct Member {
    /// The partner.
    pub partner: Partner,
    senders: HashSet<String>,
}

impl Member {
    /// Whether this sender is registered for the partner.
    pub fn may_send_from(&self, sender: &Sender) -> bool {
        self.senders.contains(sender.entry())
    }
}

/// Partners by id, read from the ledger and kept for two seconds.
pub(super) struct Directory {
    ledger: SharedLedger,
    members: Cache<PartnerId, Option<Arc<Member>>>,
}

impl Directory {
    pub(super) fn new(ledger: SharedLedger) -> Self {
        let members = Cache::builder()
            .max_capacity(MOST_PARTNERS)
            .time_to_live(BELIEVED_FOR)
            .build();
        Self { ledger, members }
    }

    /// A partner; many who ask at once cost one look-up.
    ///
    /// # Errors
    /// [`LedgerError`]; it is not remembered.
    pub(super) async fn member(
        &self,
        id: &PartnerId,
    ) -> Result<Option<Arc<Member>>, Arc<LedgerError>> {
        let read = async {
            let Some(partner) = self.ledger.partner(id).await? else {
                return Ok(None);
            };
            let senders = self.ledger.senders(id).await?.into_iter().collect();
            Ok(Some(Arc::new(Member { partner, senders })))
        };
        let read = in_time(LEDGER_LIMIT, read);
        self.members.try_get_with_by_ref(id, read).await
    }

    /// As [`member`](Self::member), but of now: what is remembered is known to be old.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(super) async fn member_anew(
        &self,
        id: &PartnerId,
    ) -> Result<Option<Arc<Member>>, Arc<LedgerError>> {
        self.members.invalidate(id).await;
        self.member(id).await
    }
}
