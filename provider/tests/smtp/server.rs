//! A mail server that says what a test tells it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::world::DEADLINE;

/// What the server does at a step instead of its usual answer.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Says this.
    Says(&'static str),
    /// Cuts the connection with a reset.
    Resets,
    /// Says nothing, ever.
    Hangs,
}

/// A step of the dialogue, by the first word of its command.
pub(crate) type Script = Vec<(&'static str, Does)>;

/// What a server saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Every line but those of mails, of every connection.
    pub(crate) lines: Vec<String>,
    /// Every whole mail that it took or refused after its end.
    pub(crate) mails: Vec<Vec<u8>>,
    pub(crate) connections: usize,
}

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// One that takes every mail, but for what `script` says. `GREETING`, `BODY` (as soon as the mail
    /// begins) and `END` are steps too.
    pub(crate) async fn new(script: Script) -> Self {
        Self::with_extensions(&["SIZE 1000000", "8BITMIME", "AUTH PLAIN LOGIN"], script).await
    }

    pub(crate) async fn with_extensions(
        extensions: &'static [&'static str],
        script: Script,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let server = Self {
            address,
            seen: Arc::clone(&seen),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.lock().unwrap().connections += 1;
                let dialogue = Dialogue {
                    stream: BufReader::new(stream),
                    script: script.clone(),
                    seen: Arc::clone(&seen),
                    extensions,
                };
                tokio::spawn(dialogue.run());
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// The only mail, as it arrived.
    pub(crate) fn mail(&self) -> String {
        let mails = self.seen().mails;
        assert_eq!(mails.len(), 1);
        String::from_utf8(mails[0].clone()).unwrap()
    }
}

struct Dialogue {
    stream: BufReader<TcpStream>,
    script: Script,
    seen: Arc<Mutex<Seen>>,
    extensions: &'static [&'static str],
}

/// The connection is over.
struct Over;

impl Dialogue {
    async fn run(mut self) {
        let _ = timeout(DEADLINE, self.converse()).await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        self.step("GREETING", "220 mx.example ESMTP").await?;
        loop {
            let line = self.line().await?;
            let line = String::from_utf8(line).unwrap();
            self.seen.lock().unwrap().lines.push(line.clone());
            let word = line.split([' ', ':']).next().unwrap_or_default();
            match word {
                "EHLO" => {
                    let mut lines = vec!["mx.example"];
                    lines.extend(self.extensions);
                    let last = lines.pop().unwrap();
                    let mut reply: String =
                        lines.iter().map(|line| format!("250-{line}\r\n")).collect();
                    reply.push_str(&format!("250 {last}"));
                    self.step("EHLO", &reply).await?;
                }
                "AUTH" => self.step("AUTH", "235 2.7.0 welcome").await?,
                "DATA" => {
                    self.step("DATA", "354 go on").await?;
                    self.step("BODY", "").await?;
                    self.body().await?;
                    self.step("END", "250 2.0.0 taken as 4FA1").await?;
                }
                "QUIT" => {
                    self.step("QUIT", "221 bye").await?;
                    return Ok(());
                }
                "MAIL" | "RCPT" | "RSET" | "HELO" | "STARTTLS" => {
                    let word = word.to_owned();
                    self.step(&word, "250 2.1.0 fine").await?;
                }
                other => panic!("{other} is no command"),
            }
        }
    }

    async fn step(&mut self, step: &str, usual: &str) -> Result<(), Over> {
        let told = self.script.iter().find(|(at, _)| *at == step);
        match told.map(|(_, does)| does.clone()) {
            Some(Does::Says(line)) => self.say(line).await,
            Some(Does::Hangs) => {
                tokio::time::sleep(DEADLINE).await;
                Err(Over)
            }
            Some(Does::Resets) => {
                let _ = self.stream.get_ref().set_zero_linger();
                Err(Over)
            }
            None if usual.is_empty() => Ok(()),
            None => self.say(usual).await,
        }
    }

    async fn say(&mut self, line: &str) -> Result<(), Over> {
        let line = format!("{line}\r\n");
        let written = self.stream.write_all(line.as_bytes()).await;
        written.map_err(|_| Over)
    }

    async fn line(&mut self) -> Result<Vec<u8>, Over> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await;
        match read {
            Ok(1..) if line.ends_with(b"\r\n") => {
                line.truncate(line.len() - 2);
                Ok(line)
            }
            _ => Err(Over),
        }
    }

    /// Strictly: a line ends by CRLF alone, the mail by a lone dot, and doubled dots are one.
    async fn body(&mut self) -> Result<(), Over> {
        let mut mail = Vec::new();
        loop {
            let line = self.line().await?;
            if line == b"." {
                break;
            }
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            mail.extend_from_slice(b"\r\n");
        }
        self.seen.lock().unwrap().mails.push(mail);
        Ok(())
    }
}
