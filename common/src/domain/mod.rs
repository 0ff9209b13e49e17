//! The pure part of Pabal: what a message is, what may happen to it, and how the outside world
//! names it. Nothing here does input or output.

pub mod code;
pub mod event;
pub mod file;
pub mod id;
pub mod kind;
pub mod mail;
pub mod message;
pub mod phase;
pub mod phone;
pub mod reason;
pub mod report;
pub mod retry;
pub mod sender;
pub mod status;
pub mod template;
pub mod text;
