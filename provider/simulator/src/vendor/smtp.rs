//! E-mail over SMTP: a submission server that takes mails for good and reports nothing.
//!
//! It is strict where real ones differ: AUTH PLAIN comes before a mail, lines end by CRLF alone and have
//! at most 998 octets, a reset comes between two mails. A mail bears the caller's id in its Message-ID;
//! what becomes of it stands in the last two digits of the recipient's local part and is told after the
//! mail, not before. Every reply of SMTP says something sure, so where others answer HTTP 500 it cuts the
//! connection.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pabal_common::domain::id::MessageId;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::fault::Fault;
use super::{Fate, Member, Vendor};
use crate::door::DoorState;
use crate::outcome::{Ending, Outcome};

/// What an account needs, as the adapter's settings name it.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("mode", "smarthost"),
    ("ehlo", "pabal.example"),
    ("tls", "none"),
    (USER, "pabal"),
];
const USER: &str = "user";

/// The longest line, with its end (RFC 5321 §4.5.3.1.6).
const LONGEST_LINE: u64 = 1000;
/// The largest mail.
const LARGEST_MAIL: usize = 32 << 20;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// Serves one connection until it ends, or soon after the door shuts.
pub(crate) async fn serve(
    vendor: Arc<Vendor>,
    stream: TcpStream,
    state: watch::Receiver<DoorState>,
) {
    let mut dialogue = Dialogue {
        vendor: &vendor,
        stream: BufReader::new(stream),
        state,
        is_known: false,
        envelope: Envelope::default(),
    };
    let _ = dialogue.converse().await;
}

/// The connection ends.
struct Over;

/// How far a mail has come.
#[derive(Default)]
struct Envelope {
    has_sender: bool,
    recipient: Option<String>,
    is_used: bool,
}

struct Dialogue<'a> {
    vendor: &'a Vendor,
    stream: BufReader<TcpStream>,
    state: watch::Receiver<DoorState>,
    is_known: bool,
    envelope: Envelope,
}

impl Dialogue<'_> {
    async fn converse(&mut self) -> Result<(), Over> {
        self.door().await?;
        self.say("220 simulator ESMTP").await?;
        loop {
            let line = self.command().await?;
            self.door().await?;
            self.hear(&line).await?;
        }
    }

    /// While the door hangs nothing is answered, and what came meanwhile is never looked at.
    async fn door(&mut self) -> Result<(), Over> {
        let door = *self.state.borrow_and_update();
        if door == DoorState::Hanging {
            let _ = self
                .state
                .wait_for(|state| *state != DoorState::Hanging)
                .await;
            return Err(Over);
        }
        Ok(())
    }

    /// The next command, unless the door shuts before it.
    async fn command(&mut self) -> Result<String, Over> {
        let mut state = self.state.clone();
        let shut = state.wait_for(|state| *state == DoorState::Shut);
        tokio::select! {
            biased;
            line = timeout(IDLE, line(&mut self.stream)) => {
                let line = line.map_err(|_| Over)??;
                String::from_utf8(line).map_err(|_| Over)
            }
            _ = shut => Err(Over),
        }
    }

    async fn hear(&mut self, line: &str) -> Result<(), Over> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word.to_ascii_uppercase().as_str() {
            "EHLO" => {
                let lines = format!("250-simulator\r\n250-SIZE {LARGEST_MAIL}\r\n250 AUTH PLAIN");
                self.say(&lines).await
            }
            "AUTH" => self.authenticate(rest).await,
            "MAIL" if !self.is_known => self.say("530 5.7.0 log in first").await,
            "MAIL" if self.envelope.has_sender || self.envelope.is_used => {
                self.say("503 5.5.1 reset first").await
            }
            "MAIL" if rest.starts_with("FROM:<") => {
                self.envelope.has_sender = true;
                self.say("250 2.1.0 fine").await
            }
            "RCPT" if self.envelope.has_sender && self.envelope.recipient.is_none() => {
                let address = rest
                    .strip_prefix("TO:<")
                    .and_then(|rest| rest.strip_suffix('>'));
                let Some(address) = address.filter(|address| address.contains('@')) else {
                    return self.say("501 5.1.3 no address").await;
                };
                self.envelope.recipient = Some(address.to_owned());
                self.say("250 2.1.5 fine").await
            }
            "DATA" => match self.envelope.recipient.take() {
                Some(recipient) => self.data(&recipient).await,
                None => self.say("503 5.5.1 no recipient").await,
            },
            "RSET" => {
                self.envelope = Envelope::default();
                self.say("250 2.0.0 fine").await
            }
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                Err(Over)
            }
            _ => self.say("502 5.5.1 unknown").await,
        }
    }

    async fn authenticate(&mut self, words: &str) -> Result<(), Over> {
        let account = &self.vendor.account;
        let user = account
            .settings
            .get(USER)
            .map(String::as_str)
            .unwrap_or_default();
        let expected = format!("\0{user}\0{}", account.api_key.expose_secret());
        self.is_known = words == format!("PLAIN {}", STANDARD.encode(expected));
        match self.is_known {
            true => self.say("235 2.7.0 welcome").await,
            false => self.say("535 5.7.8 wrong").await,
        }
    }

    async fn data(&mut self, recipient: &str) -> Result<(), Over> {
        self.say("354 go on").await?;
        let mut mail = Vec::new();
        loop {
            let line = timeout(IDLE, line(&mut self.stream))
                .await
                .map_err(|_| Over)??;
            if line == b"." {
                break;
            }
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            mail.extend_from_slice(b"\r\n");
            if mail.len() > LARGEST_MAIL {
                return Err(Over);
            }
        }
        self.envelope = Envelope {
            is_used: true,
            ..Envelope::default()
        };
        self.door().await?;
        let Some(message) = message_id(&mail) else {
            return self.say("554 5.6.0 no id of yours").await;
        };
        let member = Member {
            message,
            outcome: outcome(recipient),
            immediate: true,
        };
        match self.vendor.receive(vec![member]).await {
            Ok(fates) => {
                self.say(fates.first().map_or("451 4.3.0 later", reply))
                    .await
            }
            Err(fault) => self.fault(fault).await,
        }
    }

    async fn fault(&mut self, fault: Fault) -> Result<(), Over> {
        match fault {
            Fault::Throttled { .. } => {
                self.say("421 4.3.2 too much").await?;
                Err(Over)
            }
            Fault::Refused => self.say("535 5.7.8 not any more").await,
            Fault::Garbled => self.say("<html>{").await,
            Fault::Raw { status, body } => self.say(&format!("{status} {body}")).await,
            Fault::Error | Fault::Cut => Err(Over),
        }
    }

    async fn say(&mut self, line: &str) -> Result<(), Over> {
        let written = self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await;
        written.map_err(|_| Over)
    }
}

/// A line without its CRLF. Any other end of a line ends the connection.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>, Over> {
    let mut line = Vec::new();
    let read = stream.take(LONGEST_LINE).read_until(b'\n', &mut line).await;
    let whole = read.ok().and(line.strip_suffix(b"\r\n")).ok_or(Over)?;
    match whole.contains(&b'\r') {
        true => Err(Over),
        false => Ok(whole.to_vec()),
    }
}

/// What the digits at the end of the local part say.
fn outcome(recipient: &str) -> Outcome {
    let (local, _) = recipient.rsplit_once('@').unwrap_or((recipient, ""));
    Outcome::of_recipient(local)
}

/// The caller's id: what stands before the `@` of the Message-ID.
fn message_id(mail: &[u8]) -> Option<MessageId> {
    let mail = std::str::from_utf8(mail).ok()?;
    let (head, _) = mail.split_once("\r\n\r\n")?;
    let value = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("Message-ID: <"))?;
    value.split_once('@')?.0.parse().ok()
}

const fn reply(fate: &Fate) -> &'static str {
    match fate {
        Fate::Taken(_) | Fate::Ended(_, Ending::Delivered) => "250 2.0.0 taken",
        Fate::Ended(_, Ending::InvalidRecipient) => "550 5.1.1 no such user",
        Fate::Ended(_, Ending::RecipientUnavailable) => "552 5.2.2 mailbox full",
        Fate::Ended(_, Ending::RecipientBlocked) => "550 5.7.1 not from you",
        Fate::Ended(_, Ending::Spam) => "554 5.7.28 too many of these",
        Fate::Refused => "554 5.6.0 no mail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_the_local_part_decide() {
        assert_eq!(outcome("kim51@mail.example"), Outcome::InvalidRecipient);
        assert_eq!(outcome("kim@mail51.example"), Outcome::Delivered);
    }

    #[test]
    fn a_mail_bears_the_callers_id_in_its_message_id() {
        let of = |mail: &str| message_id(mail.as_bytes());
        let id = MessageId::from_number(7);
        let mail = format!("From: a@b.example\r\nMessage-ID: <{id}@b.example>\r\n\r\ntext");
        assert_eq!(of(&mail), Some(id));
        assert_eq!(of("Message-ID: <1@b.example>\r\n\r\n"), None);
        assert_eq!(of("\r\n\r\nMessage-ID: <0000000000007@b.example>"), None);
    }
}
