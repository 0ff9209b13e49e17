//! What runs came to, and how it is told.

pub(super) mod document;
pub(super) mod plot;
pub(super) mod progress;
pub(super) mod result;
pub(super) mod table;
mod versus;
