//! A message as a mail: headers and MIME parts by `mail-builder`.

use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::{BodyPart, MimePart};
use pabal_common::domain::mail::{
    LIST_UNSUBSCRIBE, MailAddress, Mailbox, NotAnAddress, check_header, unsubscribes_by_one_click,
};

use super::data::{Data, Unfit};
use super::dkim::{Signers, Unsigned};
use crate::provider::{Attachment, Outgoing};

/// What an attachment is called if nobody named it.
const NAMELESS: &str = "attachment";

/// A mail, ready to be sent.
pub(super) struct Mail {
    pub(super) from: MailAddress,
    pub(super) to: MailAddress,
    pub(super) data: Data,
}

/// The message cannot be written as a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    /// It has no sender, or an address is none.
    #[error("sender or recipient: {0}")]
    Address(#[from] NotAnAddress),
    /// A header that nobody may set.
    #[error("a header that may not be set")]
    Header,
    /// What came out is not what a server takes.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// It could not be signed.
    #[error("{0}")]
    Unsigned(#[from] Unsigned),
}

/// Writes `outgoing`, signed by the keys of its sender's domain.
pub(super) fn compose(outgoing: &Outgoing, signers: &Signers) -> Result<Mail, Unwritable> {
    let content = &outgoing.content;
    let from: Mailbox = content.from.as_deref().unwrap_or_default().parse()?;
    let to: MailAddress = content.to.parse()?;
    let reply_to = content.reply_to.as_deref().map(str::parse::<Mailbox>);
    let reply_to = reply_to.transpose()?;
    let domain = from.address.domain();
    let mut mail = MessageBuilder::new()
        .from(address(&from))
        .to(Address::new_address(None::<&str>, to.expose()))
        .subject(content.subject.as_deref().unwrap_or_default())
        .date(Date::new(outgoing.id.made_at().millis() / 1000))
        .message_id(format!("{}@{domain}", outgoing.id));
    if let Some(reply_to) = &reply_to {
        mail = mail.reply_to(address(reply_to));
    }
    for (name, value) in &content.headers {
        check_header(name, value).map_err(|_| Unwritable::Header)?;
        mail = mail.header(name.as_str(), header(value));
        if name.eq_ignore_ascii_case(LIST_UNSUBSCRIBE) && unsubscribes_by_one_click(value) {
            // RFC 8058 §3.1.
            let one_click = Raw::new("List-Unsubscribe=One-Click");
            mail = mail.header("List-Unsubscribe-Post", one_click);
        }
    }
    let mail = mail.body(body(outgoing)).write_to_vec();
    // Writing to memory does not fail.
    let mail = signers.sign(domain, mail.unwrap_or_default())?;
    Ok(Mail {
        data: Data::new(&mail)?,
        from: from.address,
        to,
    })
}

fn address(mailbox: &Mailbox) -> Address<'_> {
    Address::new_address(mailbox.name.as_deref(), mailbox.address.expose())
}

/// Addresses and lists stand as they are written; what ASCII cannot say is encoded.
fn header(value: &str) -> HeaderType<'_> {
    match value.is_ascii() {
        true => Raw::new(value).into(),
        false => Text::new(value).into(),
    }
}

/// Text, HTML, or both as alternatives; with files, these after them.
fn body(outgoing: &Outgoing) -> MimePart<'_> {
    let content = &outgoing.content;
    let text = (!content.text.is_empty()).then(|| lines("text/plain", &content.text));
    let html = content.html.as_deref().map(|html| lines("text/html", html));
    let readable = match (text, html) {
        (Some(text), Some(html)) => MimePart::new("multipart/alternative", vec![text, html]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => lines("text/plain", ""),
    };
    if outgoing.attachments.is_empty() {
        return readable;
    }
    let files = outgoing.attachments.iter().map(file);
    MimePart::new(
        "multipart/mixed",
        [readable].into_iter().chain(files).collect::<Vec<_>>(),
    )
}

/// Every line ended by CRLF, so that what is signed is what is sent.
fn lines(media_type: &'static str, text: &str) -> MimePart<'static> {
    let mut whole = text.replace("\r\n", "\n").replace(['\r', '\n'], "\r\n");
    if !whole.ends_with("\r\n") {
        whole.push_str("\r\n");
    }
    MimePart::new(media_type, whole)
}

/// In base64 whatever it is, so that the same bytes arrive.
fn file(attachment: &Attachment) -> MimePart<'_> {
    let media_type = match is_file_type(&attachment.media_type) {
        true => attachment.media_type.as_str(),
        false => "application/octet-stream",
    };
    let name = attachment.name.as_deref().unwrap_or(NAMELESS);
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    // Not as a content type: a text would then be written line by line.
    MimePart {
        headers: vec![("Content-Type".into(), Raw::new(media_type).into())],
        contents: BodyPart::Binary(attachment.bytes.as_ref().into()),
    }
    .attachment(name)
}

/// A media type of two tokens, and none that has parts of its own: those are never in base64 (RFC 2046
/// §5).
fn is_file_type(media_type: &str) -> bool {
    let is_token = |part: &str| {
        let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(in_token)
    };
    media_type.split_once('/').is_some_and(|(kind, subtype)| {
        is_token(kind) && is_token(subtype) && !matches!(kind, "multipart" | "message")
    })
}

#[cfg(test)]
mod tests;
