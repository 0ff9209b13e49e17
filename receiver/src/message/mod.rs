//! From what a partner wrote to a message that can be kept. Everything here is pure: no clock, no
//! ledger, no network.

mod attachment;
mod button;
mod check;
mod draft;
mod fields;
mod known;
mod limits;
mod mail;
mod request;
mod template;

#[cfg(test)]
mod tests;

pub use attachment::{AttachmentRules, attachment_rules};
pub use button::{ButtonKind, ButtonRules, Link, button_rules};
pub(crate) use check::{Checked, check};
pub(crate) use draft::Draft;
pub(crate) use fields::SEND_DESCRIPTION;
pub use fields::{FIELD_TABLE, Field, Presence, presence};
pub(crate) use known::{Known, KnownFile, Reference, references};
pub use limits::{FIELD_LIMITS, FieldLimit};
pub use request::{
    AttachmentRequest, ButtonRequest, ChannelRequest, MessageRequest, TemplateRequest,
};
pub use template::check_template_form;
