#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! The partner HTTP API: tokens, and accepting messages one by one and in batches.
//!
//! A request is judged in this order: token (E002), partner there (E007) and active (E008), queues
//! open (E101), body readable (E001), rate (E003), type (E005), content (E001, E006), sender
//! registered (E001), not accepted before (E004). Only what passes all of it is kept, so a refused
//! request never uses up its `clientMsgId`.
//!
//! 202 means that the message is in the ledger together with an outbox row that will bring it to
//! its queue. Nobody waits for the broker: [`Receiver`] hands a committed batch to it in the
//! background, and what does not get there the outbox has.
//!
//! # Which fields a type has
//!
#![doc = include_str!("message/fields.md")]

mod auth;
mod config;
mod files;
mod intake;
mod lookups;
mod message;
mod receiver;
mod send;
mod templates;

pub use config::{AuthConfig, Config, SETTINGS, TemplatePolicy};
pub use message::{
    AttachmentRequest, AttachmentRules, ButtonKind, ButtonRequest, ButtonRules, ChannelRequest,
    FIELD_LIMITS, FIELD_TABLE, Field, FieldLimit, Link, MessageRequest, Presence, TemplateRequest,
    attachment_rules, button_rules, check_template_form, presence,
};
pub use receiver::Receiver;
