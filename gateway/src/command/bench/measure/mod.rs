//! What is measured beside the messages themselves.

pub(super) mod machine;
pub(super) mod meter;
pub(super) mod timing;
pub(super) mod trace;
