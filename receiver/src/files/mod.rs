//! Files: uploading them, and removing them when their time has passed.

mod jpeg;
pub(crate) mod sweep;
mod turns;
pub(crate) mod upload;

pub(crate) use turns::Turns;
