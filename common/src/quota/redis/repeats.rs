//! Which client ids were accepted lately. A miss proves nothing, so nobody waits for long and
//! nothing is repeated.

use std::sync::Arc;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::{mpsc, oneshot};

use super::super::local::REMEMBERED;
use super::link::Link;
use super::trouble;
use crate::domain::id::{ClientMsgId, MessageId, PartnerId};

/// How many may wait to be written, and how many to be asked for; more are forgotten, and not asked
/// for.
const WAITING: usize = 8192;
/// How many are written, or asked for, in one call.
const TOGETHER: usize = 256;
/// Bytes of the digest that stands for a client id: it is the partner's text and not for the eyes
/// of those who look into Redis. Two that meet do no harm, since the ledger has the last word.
const DIGEST: usize = 16;

/// Who wants to know what a key stands for.
type Asker = (String, oneshot::Sender<Option<MessageId>>);

/// Accepted client ids, kept in Redis. Under load a call carries what has come since the last one.
#[derive(Debug)]
pub(super) struct Repeats {
    link: Arc<Link>,
    prefix: String,
    writing: mpsc::Sender<(String, MessageId)>,
    asking: mpsc::Sender<Asker>,
}

impl Repeats {
    /// Starts the tasks that write and ask; they end when these are dropped.
    pub(super) fn start(link: Arc<Link>, prefix: String) -> Self {
        let (writing, news) = mpsc::channel(WAITING);
        let (asking, askers) = mpsc::channel(WAITING);
        tokio::spawn(write(Arc::clone(&link), news));
        tokio::spawn(ask(Arc::clone(&link), askers));
        Self {
            link,
            prefix,
            writing,
            asking,
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
        if !self.link.is_there() {
            return None;
        }
        let (tell, told) = oneshot::channel();
        self.asking
            .try_send((self.key(partner, client), tell))
            .ok()?;
        told.await.ok()?
    }

    fn key(&self, partner: &PartnerId, client: &ClientMsgId) -> String {
        let digest = digest(&SHA256, client.as_str().as_bytes());
        let short = digest.as_ref().iter().take(DIGEST).copied();
        let short = hex::encode(short.collect::<Vec<_>>());
        format!("{}accepted:{partner}:{short}", self.prefix)
    }
}

async fn write(link: Arc<Link>, mut waiting: mpsc::Receiver<(String, MessageId)>) {
    let mut news = Vec::with_capacity(TOGETHER);
    while waiting.recv_many(&mut news, TOGETHER).await > 0 {
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

/// Asks for whatever waits, one call at a time. Who is not answered hears nothing.
async fn ask(link: Arc<Link>, mut waiting: mpsc::Receiver<Asker>) {
    let mut askers = Vec::with_capacity(TOGETHER);
    while waiting.recv_many(&mut askers, TOGETHER).await > 0 {
        let (keys, tell): (Vec<_>, Vec<_>) = askers.drain(..).unzip();
        let mut gets = ::redis::pipe();
        gets.ignore_errors();
        for key in keys {
            gets.cmd("GET").arg(key);
        }
        let get = async |mut connection: MultiplexedConnection| {
            let values: Vec<RedisResult<Option<Vec<u8>>>> =
                gets.query_async(&mut connection).await?;
            values.into_iter().map(of_one_key).collect()
        };
        let values: Vec<Option<Vec<u8>>> = link.call(get).await.unwrap_or_default();
        for (tell, value) in tell.into_iter().zip(values) {
            // Who has gone needs no answer.
            let _ = tell.send(value.as_deref().and_then(read));
        }
    }
}

/// A key under which something else stands says nothing, and nothing of the other keys.
fn of_one_key(value: RedisResult<Option<Vec<u8>>>) -> RedisResult<Option<Vec<u8>>> {
    match value {
        Err(error) if trouble::is_of_one_key(&error) => Ok(None),
        value => value,
    }
}

fn read(value: &[u8]) -> Option<MessageId> {
    str::from_utf8(value).ok()?.parse().ok()
}
