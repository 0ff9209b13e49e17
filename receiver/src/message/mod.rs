//! From what a partner wrote to a message that can be kept. Everything here is pure: no clock, no
//! ledger, no network.

mod button;
mod check;
mod draft;
mod fields;
mod limits;
mod request;

#[cfg(test)]
mod tests;

pub use button::{ButtonKind, ButtonRules, Link, button_rules};
pub(crate) use check::check;
pub(crate) use draft::Draft;
pub(crate) use fields::SEND_DESCRIPTION;
pub use fields::{FIELD_TABLE, Field, Presence, presence};
pub use limits::{FIELD_LIMITS, FieldLimit};
pub use request::{
    AttachmentRequest, ButtonRequest, ChannelRequest, MessageRequest, TemplateRequest,
};
