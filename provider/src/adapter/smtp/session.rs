//! One dialogue with a mail server: RFC 5321, from the greeting on, for one mail after another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::channel::{Broken, Channel};
use super::data::{Data, END};
use super::reply::Reply;
use super::settings::{Login, Manner};
use super::tls::Security;
use crate::provider::NotConnected;

/// How long a server may take for each step (RFC 5321 §4.5.3.2); the account allows less.
const GREETING: Duration = Duration::from_secs(300);
const COMMAND: Duration = Duration::from_secs(300);
const DATA: Duration = Duration::from_secs(120);
const TERMINATION: Duration = Duration::from_secs(600);
/// How long taking leave may take.
const QUIT: Duration = Duration::from_secs(1);

/// Until when the steps of a call have to be done, so that its end always has time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// The words before the mail.
    pub(super) words: Instant,
    /// The mail itself.
    pub(super) text: Instant,
    /// The answer to it.
    pub(super) end: Instant,
}

impl Deadlines {
    /// A quarter of the answer's time each for the words and for the mail, a half for the answer.
    pub(super) fn from_now(manner: &Manner) -> Self {
        let connected = Instant::now() + manner.connect_timeout;
        let quarter = manner.answer_timeout / 4;
        Self {
            words: connected + quarter,
            text: connected + quarter * 2,
            end: connected + manner.answer_timeout,
        }
    }
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoSession {
    /// No connection.
    NotConnected(NotConnected),
    /// The connection broke before the first mail.
    Broken(Broken),
    /// The server does not talk to us: its greeting, or its answer to ours.
    Turned(Reply),
    /// It does not know our name or password.
    Login(Reply),
}

impl From<NotConnected> for NoSession {
    fn from(why: NotConnected) -> Self {
        Self::NotConnected(why)
    }
}

impl From<Broken> for NoSession {
    fn from(why: Broken) -> Self {
        Self::Broken(why)
    }
}

/// What became of one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The server answered: to the mail, or earlier with a refusal.
    Answered(Reply),
    /// It takes mails up to this size only.
    TooLarge,
    /// The dialogue broke before the end of the mail was written: it was surely not taken.
    Untaken(Broken),
    /// It broke after that.
    Lost(Broken),
}

/// What the server said it can do.
#[derive(Clone, Debug, Default)]
struct Extensions {
    starttls: bool,
    plain: bool,
    login: bool,
    /// The largest mail, if it says so and there is a limit (RFC 1870).
    largest: Option<usize>,
    size: bool,
}

impl Extensions {
    fn of(reply: &Reply) -> Self {
        let mut known = Self::default();
        for line in reply.lines().iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase()
                .as_str()
            {
                "STARTTLS" => known.starttls = true,
                "SIZE" => {
                    known.size = true;
                    let largest = words.next().and_then(|size| size.parse().ok());
                    known.largest = largest.filter(|size| *size > 0);
                }
                "AUTH" => {
                    for mechanism in words {
                        known.plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                        known.login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        known
    }
}

/// Whom a session is with.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    /// Whether TLS was there before the greeting.
    pub(super) implicit_tls: bool,
    /// What is wanted of TLS after it.
    pub(super) security: Security,
    pub(super) login: Option<&'a Login>,
}

/// A connection on which mails can be sent.
pub(super) struct Session {
    channel: Channel,
    extensions: Extensions,
    /// How many mails were begun on it.
    pub(super) begun: u32,
}

impl Session {
    /// Goes from the greeting to where mail can be sent: EHLO, STARTTLS, AUTH.
    pub(super) async fn open(
        channel: Channel,
        server: &Server<'_>,
        manner: &Manner,
        deadline: Instant,
    ) -> Result<Self, NoSession> {
        let mut channel = channel;
        let greeting = channel
            .reply(deadline.min(Instant::now() + GREETING))
            .await?;
        if !greeting.is_positive() {
            return Err(NoSession::Turned(greeting));
        }
        let mut extensions = greet(&mut channel, manner, deadline).await?;
        if !server.implicit_tls && server.security != Security::None {
            if extensions.starttls {
                channel = secure(channel, server.host, manner, deadline).await?;
                extensions = greet(&mut channel, manner, deadline).await?;
            } else if server.security == Security::Required {
                return Err(NotConnected::Tls.into());
            }
        }
        if let Some(login) = server.login {
            authenticate(&mut channel, &extensions, login, deadline).await?;
        }
        Ok(Self {
            channel,
            extensions,
            begun: 0,
        })
    }

    /// Sends one mail. Nothing is taken before its end was written completely.
    pub(super) async fn send(
        &mut self,
        from: &str,
        to: &str,
        data: &Data,
        deadlines: Deadlines,
    ) -> Sent {
        self.begun += 1;
        if self
            .extensions
            .largest
            .is_some_and(|largest| data.size() > largest)
        {
            return Sent::TooLarge;
        }
        let size = match self.extensions.size {
            true => format!(" SIZE={}", data.size()),
            false => String::new(),
        };
        let words = [
            (format!("MAIL FROM:<{from}>{size}"), COMMAND),
            (format!("RCPT TO:<{to}>"), COMMAND),
            ("DATA".to_owned(), DATA),
        ];
        for (line, limit) in words {
            let deadline = deadlines.words.min(Instant::now() + limit);
            match self.channel.ask(&line, deadline).await {
                Ok(reply) if reply.is_positive() && line != "DATA" => {}
                Ok(reply) if reply.code == 354 && line == "DATA" => {}
                // A 2yz to DATA took nothing, and a 354 to anything else is no answer.
                Ok(reply) if reply.code < 400 => return Sent::Untaken(Broken::Garbled),
                Ok(reply) => return Sent::Answered(reply),
                Err(broken) => return Sent::Untaken(broken),
            }
        }
        self.send_data(data, deadlines).await
    }

    async fn send_data(&mut self, data: &Data, deadlines: Deadlines) -> Sent {
        if let Err(broken) = self.channel.write(data.octets(), deadlines.text).await {
            // A server that has seen enough says so before it goes.
            return match self.channel.last_words().await {
                Some(reply) if reply.code >= 400 => Sent::Answered(reply),
                _ => Sent::Untaken(broken),
            };
        }
        // From its first byte on nobody can tell how much of the end has left.
        let deadline = deadlines.end.min(Instant::now() + TERMINATION);
        if let Err(broken) = self.channel.write(END, deadline).await {
            return Sent::Lost(broken);
        }
        match self.channel.reply(deadline).await {
            Ok(reply) if reply.is_positive() || reply.code >= 400 => Sent::Answered(reply),
            Ok(_) => Sent::Lost(Broken::Garbled),
            Err(broken) => Sent::Lost(broken),
        }
    }

    /// Makes an idle connection ready for the next mail; false if it is of no more use.
    pub(super) async fn reset(&mut self, deadline: Instant) -> bool {
        let reply = self
            .channel
            .ask("RSET", deadline.min(Instant::now() + COMMAND))
            .await;
        reply.is_ok_and(|reply| reply.is_positive())
    }

    /// Takes leave.
    pub(super) async fn quit(mut self) {
        let _ = self.channel.ask("QUIT", Instant::now() + QUIT).await;
    }
}

/// EHLO, or HELO where that is not known (RFC 5321 §3.2).
async fn greet(
    channel: &mut Channel,
    manner: &Manner,
    deadline: Instant,
) -> Result<Extensions, NoSession> {
    let deadline = deadline.min(Instant::now() + COMMAND);
    let reply = channel
        .ask(&format!("EHLO {}", manner.ehlo), deadline)
        .await?;
    if reply.is_positive() {
        return Ok(Extensions::of(&reply));
    }
    if !matches!(reply.code, 500..=504) {
        return Err(NoSession::Turned(reply));
    }
    let reply = channel
        .ask(&format!("HELO {}", manner.ehlo), deadline)
        .await?;
    match reply.is_positive() {
        true => Ok(Extensions::default()),
        false => Err(NoSession::Turned(reply)),
    }
}

async fn secure(
    mut channel: Channel,
    host: &str,
    manner: &Manner,
    deadline: Instant,
) -> Result<Channel, NoSession> {
    let reply = channel
        .ask("STARTTLS", deadline.min(Instant::now() + COMMAND))
        .await?;
    if !reply.is_positive() {
        return Err(NotConnected::Tls.into());
    }
    let (connector, name) = manner.tls.to(host).ok_or(NotConnected::Tls)?;
    Ok(channel.secure(connector, name, deadline).await?)
}

/// AUTH PLAIN (RFC 4616), or LOGIN where it alone is offered.
async fn authenticate(
    channel: &mut Channel,
    extensions: &Extensions,
    login: &Login,
    deadline: Instant,
) -> Result<(), NoSession> {
    let deadline = deadline.min(Instant::now() + COMMAND);
    let password = login.password.expose_secret();
    let reply = if extensions.plain || !extensions.login {
        let words = STANDARD.encode(format!("\0{}\0{password}", login.user));
        channel
            .ask(&format!("AUTH PLAIN {words}"), deadline)
            .await?
    } else {
        let mut reply = channel.ask("AUTH LOGIN", deadline).await?;
        for words in [login.user.as_str(), password] {
            if reply.code == 334 {
                reply = channel.ask(&STANDARD.encode(words), deadline).await?;
            }
        }
        reply
    };
    match reply.is_positive() {
        true => Ok(()),
        false => Err(NoSession::Login(reply)),
    }
}
