//! `command_status` and the states of receipts, and what they mean.

use pabal_common::domain::reason::Reason;

use crate::adapter::code::{Codes, Meaning};
use crate::provider::Closed;

/// `ESME_ROK`
pub(super) const OK: u32 = 0x00;
/// `ESME_RINVCMDID`
pub(super) const UNKNOWN_COMMAND: u32 = 0x03;
/// `ESME_RINVBNDSTS`
pub(super) const NOT_BOUND: u32 = 0x04;
/// `ESME_RX_T_APPN`: we cannot take it now; send it again.
pub(super) const TRY_AGAIN: u32 = 0x64;
/// `ESME_RX_P_APPN`: we can never take it.
pub(super) const UNREADABLE: u32 = 0x65;
/// `ESME_RX_R_APPN`: we do not take such messages.
pub(super) const REJECTED: u32 = 0x66;

/// The message is neither an SMS nor an LMS.
pub(super) const BAD_TYPE: &str = "BAD_TYPE";
/// The text has a character that the account's encoding does not.
pub(super) const UNENCODABLE: &str = "UNENCODABLE";
/// The text takes more parts than a message can have.
pub(super) const TOO_LONG: &str = "TOO_LONG";
/// The recipient or the sender is no address of the protocol.
pub(super) const BAD_RECIPIENT: &str = "BAD_RECIPIENT";
pub(super) const BAD_SENDER: &str = "BAD_SENDER";

/// What codes mean: `command_status` of answers (SMPP 3.4 §5.1.3), the states of receipts (§5.2.28,
/// appendix B), and our own refusals before a byte is sent.
///
/// A status that is not here, as those above 0x400 that each vendor defines for itself, is an
/// unknown outcome: so are `ESME_RSYSERR` and `ESME_RUNKNOWNERR`, which do not say whether the
/// message was kept.
pub(in crate::adapter) const CODES: Codes = Codes(&[
    ("0x00", Meaning::Taken),
    // ESME_RINVMSGLEN, RINVCMDLEN, RINVCMDID
    ("0x01", Meaning::Definitive(Reason::ContentRejected)),
    ("0x02", Meaning::Definitive(Reason::ProviderError)),
    ("0x03", Meaning::Definitive(Reason::ProviderError)),
    // ESME_RINVBNDSTS: not taken, and no message is at fault. The connection is bound anew.
    ("0x04", Meaning::Throttled),
    // ESME_RINVPRTFLG, RINVREGDLVFLG, RSYSERR
    ("0x06", Meaning::Definitive(Reason::ProviderError)),
    ("0x07", Meaning::Definitive(Reason::ProviderError)),
    ("0x08", Meaning::Ambiguous),
    // ESME_RINVSRCADR, RINVDSTADR
    ("0x0A", Meaning::Definitive(Reason::SenderRejected)),
    ("0x0B", Meaning::Definitive(Reason::InvalidRecipient)),
    // ESME_RINVPASWD, RINVSYSID
    ("0x0E", Meaning::Closes(Closed::Credentials)),
    ("0x0F", Meaning::Closes(Closed::Credentials)),
    // ESME_RMSGQFUL, RINVSERTYP
    ("0x14", Meaning::Throttled),
    ("0x15", Meaning::Definitive(Reason::ProviderError)),
    // ESME_RINVSUBREP, RINVESMCLASS, RSUBMITFAIL
    ("0x42", Meaning::Definitive(Reason::ProviderError)),
    ("0x43", Meaning::Definitive(Reason::ProviderError)),
    ("0x45", Meaning::Definitive(Reason::ProviderError)),
    // ESME_RINVSRCTON, RINVSRCNPI, RINVDSTTON, RINVDSTNPI
    ("0x48", Meaning::Definitive(Reason::SenderRejected)),
    ("0x49", Meaning::Definitive(Reason::SenderRejected)),
    ("0x50", Meaning::Definitive(Reason::InvalidRecipient)),
    ("0x51", Meaning::Definitive(Reason::InvalidRecipient)),
    // ESME_RINVREPFLAG, RTHROTTLED
    ("0x54", Meaning::Definitive(Reason::ProviderError)),
    ("0x58", Meaning::Throttled),
    // ESME_RINVSCHED, RINVEXPIRY, RINVDFTMSGID
    ("0x61", Meaning::Definitive(Reason::ProviderError)),
    ("0x62", Meaning::Definitive(Reason::ProviderError)),
    ("0x63", Meaning::Definitive(Reason::ProviderError)),
    // ESME_RINVOPTPARSTREAM, ROPTPARNOTALLWD, RINVPARLEN, RMISSINGOPTPARAM, RINVOPTPARAMVAL
    ("0xC0", Meaning::Definitive(Reason::ProviderError)),
    ("0xC1", Meaning::Definitive(Reason::ProviderError)),
    ("0xC2", Meaning::Definitive(Reason::ProviderError)),
    ("0xC3", Meaning::Definitive(Reason::ProviderError)),
    ("0xC4", Meaning::Definitive(Reason::ProviderError)),
    // ESME_RDELIVERYFAILURE, RUNKNOWNERR
    ("0xFE", Meaning::Ambiguous),
    ("0xFF", Meaning::Ambiguous),
    // States; those on the way, and the one that says nothing, end nothing.
    ("ENROUTE", Meaning::Taken),
    ("DELIVRD", Meaning::Delivered),
    ("EXPIRED", Meaning::Definitive(Reason::RecipientUnavailable)),
    ("DELETED", Meaning::Definitive(Reason::ProviderError)),
    ("UNDELIV", Meaning::Definitive(Reason::Unspecified)),
    ("ACCEPTD", Meaning::Taken),
    ("UNKNOWN", Meaning::Ambiguous),
    ("REJECTD", Meaning::Definitive(Reason::ContentRejected)),
    // Ours.
    (BAD_TYPE, Meaning::Definitive(Reason::ContentRejected)),
    (UNENCODABLE, Meaning::Definitive(Reason::ContentRejected)),
    (TOO_LONG, Meaning::Definitive(Reason::ContentRejected)),
    (BAD_RECIPIENT, Meaning::Definitive(Reason::InvalidRecipient)),
    (BAD_SENDER, Meaning::Definitive(Reason::SenderRejected)),
]);
pub(super) const DEFINITIVE: [(&str, Reason); CODES.count_definitive()] = CODES.definitive();

/// A status as the table writes it.
pub(super) fn code(status: u32) -> String {
    format!("{status:#04X}")
}

/// Whether a bind was refused because of who we say we are.
pub(super) fn is_about_credentials(status: u32) -> bool {
    CODES.meaning(&code(status)) == Some(Meaning::Closes(Closed::Credentials))
}
