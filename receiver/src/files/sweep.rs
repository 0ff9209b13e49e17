//! Files whose time has passed go: their bytes first, so that none are without a row that ends them.

use std::time::Duration;

use pabal_common::deadline::in_time;
use pabal_common::domain::id::FileId;
use pabal_common::ledger::LedgerError;
use pabal_common::node::Node;
use pabal_common::rounds::Rounds;
use tokio_util::sync::CancellationToken;

use crate::receiver::LEDGER_LIMIT;

const EVERY: Duration = Duration::from_secs(600);
/// Files in one transaction.
const CHUNK: u32 = 100;
/// How much longer a file is there than it may be attached: receivers' clocks differ.
const GRACE: Duration = Duration::from_secs(3600);

/// Removes expired files until `shutdown`. Every receiver does; what two find is removed once.
pub(crate) async fn run(node: Node, shutdown: CancellationToken) {
    let mut rounds = Rounds::every(EVERY, shutdown);
    while rounds.next().await {
        let round = async {
            match round(&node).await {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "expired files were removed"),
                Err(error) => tracing::warn!(%error, "expired files were not removed"),
            }
        };
        rounds.carry_out(round).await;
    }
}

/// Removes until nothing expired is left; returns how many files went.
pub(crate) async fn round(node: &Node) -> Result<u64, LedgerError> {
    let mut gone = 0;
    while node.instance.alive() {
        let before = node.clock.now().minus(GRACE);
        let expired = node.ledger.expired_files(before, CHUNK);
        let expired = in_time(LEDGER_LIMIT, expired).await?;
        let removed = remove(node, &expired).await;
        let forgotten = node.ledger.forget_files(&removed, before);
        gone += u64::from(in_time(LEDGER_LIMIT, forgotten).await?);
        // What the store did not remove is found again by the next round.
        if expired.len() < CHUNK as usize || removed.len() < expired.len() {
            break;
        }
    }
    Ok(gone)
}

/// Those whose bytes are gone.
async fn remove(node: &Node, files: &[FileId]) -> Vec<FileId> {
    let mut removed = Vec::with_capacity(files.len());
    for &file in files {
        match node.files.remove(file).await {
            Ok(()) => removed.push(file),
            Err(error) => {
                tracing::warn!(file_id = %file, %error, "a file was not removed");
                break;
            }
        }
    }
    removed
}
