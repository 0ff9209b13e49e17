//! A message centre that does what a test tells it, PDU by PDU, in bytes.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::world::DEADLINE;

pub(crate) const BIND_TRANSCEIVER: u32 = 0x0000_0009;
pub(crate) const SUBMIT_SM: u32 = 0x0000_0004;
pub(crate) const DELIVER_SM: u32 = 0x0000_0005;
pub(crate) const UNBIND: u32 = 0x0000_0006;
pub(crate) const ENQUIRE_LINK: u32 = 0x0000_0015;
pub(crate) const RESPONSE: u32 = 0x8000_0000;

/// One PDU as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pdu {
    pub(crate) command: u32,
    pub(crate) status: u32,
    pub(crate) sequence: u32,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Smsc(TcpListener);

impl Smsc {
    pub(crate) async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("smpp://{}", self.0.local_addr().unwrap())
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Peer {
        let accepted = timeout(DEADLINE, self.0.accept()).await;
        Peer(accepted.expect("a connection comes").unwrap().0)
    }

    /// The next connection, bound.
    pub(crate) async fn bound(&self) -> Peer {
        let mut peer = self.accept().await;
        let bind = peer.hear(BIND_TRANSCEIVER).await;
        peer.respond(&bind, 0, b"smsc\0").await;
        peer
    }
}

pub(crate) struct Peer(TcpStream);

impl Peer {
    /// The next PDU; `None` if the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Pdu> {
        timeout(DEADLINE, self.read()).await.expect("a PDU comes")
    }

    async fn read(&mut self) -> Option<Pdu> {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).await.ok()?;
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; word(0) as usize - 16];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Pdu {
            command: word(4),
            status: word(8),
            sequence: word(12),
            body,
        })
    }

    /// The next PDU, which is this one.
    pub(crate) async fn hear(&mut self, command: u32) -> Pdu {
        let pdu = self.next().await.expect("still connected");
        assert_eq!(pdu.command, command, "{pdu:?}");
        pdu
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.read())
            .await
            .is_err()
    }

    pub(crate) async fn tell(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut out = Vec::new();
        for word in [length, command, status, sequence] {
            out.extend(word.to_be_bytes());
        }
        out.extend(body);
        self.0.write_all(&out).await.unwrap();
    }

    pub(crate) async fn respond(&mut self, to: &Pdu, status: u32, body: &[u8]) {
        let command = to.command | RESPONSE;
        self.tell(command, status, to.sequence, body).await;
    }

    /// Asks whether the other end is there, and hears that it is.
    pub(crate) async fn lives(&mut self) {
        self.tell(ENQUIRE_LINK, 0, 0x7FFF_0000, b"").await;
        self.hear(ENQUIRE_LINK | RESPONSE).await;
    }

    /// A receipt by its text alone.
    pub(crate) async fn receipt(&mut self, sequence: u32, text: &str) {
        self.tell(DELIVER_SM, 0, sequence, &receipt(text)).await;
    }

    pub(crate) async fn raw(&mut self, hexadecimal: &str) {
        self.0.write_all(&bytes(hexadecimal)).await.unwrap();
    }

    /// Breaks the connection: what was not read is answered with a reset.
    pub(crate) fn reset(self) {
        self.0.set_zero_linger().unwrap();
    }
}

/// The body of a `deliver_sm` with the bit of a receipt.
pub(crate) fn receipt(text: &str) -> Vec<u8> {
    let mut body = bytes("00 0201 303100 0201 303200 04 0000 00 00 00 00 00 00");
    body.push(u8::try_from(text.len()).unwrap());
    body.extend(text.as_bytes());
    body
}

pub(crate) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
