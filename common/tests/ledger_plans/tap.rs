//! A tap between the ledger and its server: it hears each statement, with what is bound to it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A statement that was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) sql: String,
    pub(crate) bound: Vec<Bound>,
}

/// A bound value.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Goes with the test's runtime.
pub(crate) struct Tap {
    port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Tap {
    /// Listens on a port of its own and passes everything on to a server.
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                pass(client, server, all.clone());
            }
        });
        Self { port, heard }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

fn pass(client: TcpStream, server: TcpStream, all: Arc<Mutex<Vec<Heard>>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let ear = Arc::new(Mutex::new(Ear::default()));
    let other = ear.clone();
    tokio::spawn(carry(from_client, to_server, move |packet| {
        if let Some(heard) = ear.lock().unwrap().command(packet) {
            all.lock().unwrap().push(heard);
        }
    }));
    tokio::spawn(carry(from_server, to_client, move |packet| {
        other.lock().unwrap().answer(packet);
    }));
}

/// Passes packets on until the connection ends, and shows each before it goes.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut show: impl FnMut(&[u8]),
) -> io::Result<()> {
    loop {
        // Three bytes of length and a sequence number.
        let mut packet = vec![0; HEADER];
        from.read_exact(&mut packet).await?;
        packet.resize(HEADER + number(&packet[..3]), 0);
        from.read_exact(&mut packet[HEADER..]).await?;
        show(&packet);
        to.write_all(&packet).await?;
    }
}

const HEADER: usize = 4;

/// What is known of one connection.
#[derive(Default)]
struct Ear {
    /// The statement whose preparing is not answered yet.
    preparing: Option<String>,
    /// Text and number of values of each prepared statement.
    prepared: HashMap<usize, (String, usize)>,
}

impl Ear {
    fn command(&mut self, packet: &[u8]) -> Option<Heard> {
        const QUERY: u8 = 0x03;
        const PREPARE: u8 = 0x16;
        const EXECUTE: u8 = 0x17;
        // Whatever continues an exchange, such as the login, is no command.
        if packet[3] != 0 {
            return None;
        }
        let (command, rest) = packet[HEADER..].split_first()?;
        match *command {
            QUERY => Some(Heard {
                sql: text(rest),
                bound: Vec::new(),
            }),
            PREPARE => {
                self.preparing = Some(text(rest));
                None
            }
            EXECUTE => {
                let (sql, values) = self.prepared[&number(&rest[..4])].clone();
                let bound = bound(&rest[9..], values);
                Some(Heard { sql, bound })
            }
            _ => None,
        }
    }

    fn answer(&mut self, packet: &[u8]) {
        let body = &packet[HEADER..];
        if let Some(sql) = self.preparing.take()
            && body[0] == 0
        {
            let values = number(&body[7..9]);
            self.prepared.insert(number(&body[1..5]), (sql, values));
        }
    }
}

/// The values of an execution: which are NULL, their types, then each that is not.
fn bound(packet: &[u8], values: usize) -> Vec<Bound> {
    if values == 0 {
        return Vec::new();
    }
    let (nulls, rest) = packet.split_at(values.div_ceil(8));
    let (types, mut rest) = rest[1..].split_at(2 * values);
    (0..values)
        .map(|place| {
            if nulls[place / 8] >> (place % 8) & 1 == 1 {
                return Bound::Null;
            }
            let signed = types[2 * place + 1] & 0x80 == 0;
            let mut integer = |bytes| Bound::Number(integer(take(&mut rest, bytes), signed));
            match types[2 * place] {
                0x01 => integer(1),
                0x02 => integer(2),
                0x03 => integer(4),
                0x08 => integer(8),
                0xfc => Bound::Bytes(counted(&mut rest).to_vec()),
                0xfd | 0xfe => Bound::Text(text(counted(&mut rest))),
                other => panic!("a value of type {other:#x} is bound"),
            }
        })
        .collect()
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(bytes);
    *rest = after;
    taken
}

/// Bytes behind their own length.
fn counted<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = match take(rest, 1)[0] {
        0xfc => number(take(rest, 2)),
        0xfd => number(take(rest, 3)),
        0xfe => number(take(rest, 8)),
        length => usize::from(length),
    };
    take(rest, length)
}

/// Little-endian.
fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, digit| number << 8 | usize::from(*digit))
}

/// Little-endian, perhaps with a sign.
fn integer(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let digits = bytes.iter().rev();
    digits.fold(if negative { -1 } else { 0 }, |number, digit| {
        number << 8 | i64::from(*digit)
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
