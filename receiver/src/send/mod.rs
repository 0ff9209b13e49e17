//! `/v1/messages`: from a request to an answer.

pub(crate) mod batch;
mod gate;
pub(crate) mod single;

pub(crate) use gate::take_room;
