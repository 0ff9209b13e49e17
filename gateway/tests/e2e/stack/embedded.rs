//! The embedded stack: ledger, queues and limits are in the process and its data folder.

/// What the ledger is called among the things a run leaves behind.
pub(crate) const LEDGER: &str = "/pabal.db";

/// Nothing outside of the data folder.
pub(crate) struct Stack;

impl Stack {
    pub(crate) async fn open() -> Self {
        Self
    }

    /// The same: nothing is said to anybody.
    pub(crate) async fn overheard() -> Self {
        Self
    }

    /// What leads a gateway to it.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What was said to servers: the server and the bytes.
    pub(crate) fn said(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}
