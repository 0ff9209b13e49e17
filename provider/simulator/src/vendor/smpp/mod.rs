//! SMS and LMS over SMPP 3.4: a message centre that transceivers bind to, several to one account.
//!
//! It is strict where real ones differ: a bind comes first and with the right name and password,
//! requests are numbered upwards, no more than the window is unanswered (`ESME_RTHROTTLED` beyond),
//! and a text fits one message of the network, or comes as a payload or in parts. SMPP carries no id
//! of the caller's, so each `submit_sm` must bear it in a parameter of our own
//! ([`REFERENCE`]); without it, `ESME_RMISSINGOPTPARAM`. Of a message in parts, the last one is the
//! message.
//!
//! Ids are lower-case hexadecimal numbers; receipts write them in upper case with leading zeros when
//! they use another notation, and no text of a receipt holds more than appendix B names.

mod receipt;
mod session;
mod submission;

use std::sync::Arc;

use rusmpp::CommandStatus;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Vendor;
use crate::door::DoorState;

/// The password of a local account: SMPP takes eight characters.
pub(crate) const PASSWORD: &str = "simulate";
/// What an account needs; its adapter also `reference_tag = 0x1401`. A `window` may be set here.
pub(crate) const SETTINGS: &[(&str, &str)] = &[(SYSTEM_ID, "pabal")];
const SYSTEM_ID: &str = "system_id";
const WINDOW: &str = "window";
const DEFAULT_WINDOW: usize = 10;
/// The parameter that bears the caller's id.
const REFERENCE: u16 = 0x1401;

/// Serves one connection until it ends, or soon after the door shuts.
pub(crate) async fn serve(
    vendor: Arc<Vendor>,
    stream: TcpStream,
    state: watch::Receiver<DoorState>,
) {
    session::Session::new(&vendor, stream, state).serve().await;
}

/// `ESME_RMISSINGOPTPARAM`, which version 5 calls otherwise.
const MISSING_PARAMETER: CommandStatus = CommandStatus::EsmeRmissingtlv;
