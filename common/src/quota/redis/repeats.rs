//! Which client ids were accepted lately. A miss proves nothing, so nobody waits for long and
//! nothing is repeated.

use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::mpsc;

use super::super::local::REMEMBERED;
use super::link::Link;
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

/// How many may wait to be written; more are forgotten.
const WAITING: usize = 8192;
/// How many are written at once.
const WRITTEN: usize = 256;
/// Bytes of the digest that stands for a client id: it is the partner's text and not for the eyes
/// of those who look into Redis. Two that meet do no harm, since the ledger has the last word.
const DIGEST: usize = 16;

/// Accepted client ids, kept in Redis.
#[derive(Debug)]
pub(super) struct Repeats {
    link: Arc<Link>,
    prefix: String,
    writing: mpsc::Sender<(String, MessageId)>,
}

impl Repeats {
    /// Starts the task that writes; it ends when these are dropped.
    pub(super) fn start(link: Arc<Link>, prefix: String) -> Self {
        let (writing, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(Arc::clone(&link), waiting));
        Self {
            link,
            prefix,
            writing,
        }
    }

    pub(super) fn remember(&self, partner: &PartnerId, client: &ClientMsgId, message: MessageId) {
        // Full or ended: it is forgotten.
        let _ = self.writing.try_send((self.key(partner, client), message));
    }

    pub(super) async fn recall(
        &self,
        partner: &PartnerId,
        client: &ClientMsgId,
    ) -> Option<MessageId> {
        let key = self.key(partner, client);
        let get = async |mut connection: MultiplexedConnection| {
            ::redis::cmd("GET")
                .arg(key)
                .query_async::<Option<Vec<u8>>>(&mut connection)
                .await
        };
        let value = self.link.call(get).await??;
        str::from_utf8(&value).ok()?.parse().ok()
    }

    fn key(&self, partner: &PartnerId, client: &ClientMsgId) -> String {
        let digest = digest(&SHA256, client.as_str().as_bytes());
        let short = digest.as_ref().iter().take(DIGEST).copied();
        let short = hex::encode(short.collect::<Vec<_>>());
        format!("{}accepted:{partner}:{short}", self.prefix)
    }
}

async fn write(link: Arc<Link>, mut waiting: mpsc::Receiver<(String, MessageId)>) {
    let mut news = Vec::with_capacity(WRITTEN);
    while waiting.recv_many(&mut news, WRITTEN).await > 0 {
        let mut sets = ::redis::pipe();
        for (key, message) in news.drain(..) {
            sets.cmd("SET")
                .arg(key)
                .arg(message.to_string())
                .arg("EX")
                .arg(REMEMBERED.as_secs())
                .ignore();
        }
        let set = async |mut connection: MultiplexedConnection| {
            sets.query_async::<()>(&mut connection).await
        };
        link.call(set).await;
    }
}
