//! A name server that knows what a test tells it. Written by hand, so that nobody's library answers
//! itself.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// What there is under a name.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    A(Ipv4Addr),
    Mx(u16, &'static str),
    Txt(String),
    /// The name has no record of any kind that is asked for.
    Nothing,
    /// The server fails.
    Failure,
}

/// Every name that there is; any other does not exist.
pub(crate) type Zone = HashMap<&'static str, Vec<Record>>;

/// Serves `zone`; where.
pub(crate) async fn serve(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            let reply = answer(&query[..length], &zone);
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
}

/// RFC 1035 §4.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..=at + length].to_vec()).unwrap());
        at += length + 1;
    }
    let question = &query[12..at + 5];
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let records = zone.get(labels.join(".").to_ascii_lowercase().as_str());
    let (code, answers) = match records {
        None => (3, Vec::new()),
        Some(records) if records.iter().any(|one| matches!(one, Record::Failure)) => {
            (2, Vec::new())
        }
        Some(records) => (
            0,
            records.iter().filter_map(|one| data(one, kind)).collect(),
        ),
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1]);
    reply.extend((answers.len() as u16).to_be_bytes());
    reply.extend([0, 0, 0, 0]);
    reply.extend(question);
    for data in answers {
        reply.extend([0xC0, 0x0C]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    reply
}

fn data(record: &Record, kind: u16) -> Option<Vec<u8>> {
    match (record, kind) {
        (Record::A(address), A) => Some(address.octets().to_vec()),
        (Record::Mx(preference, server), MX) => {
            let mut data = preference.to_be_bytes().to_vec();
            data.extend(name(server));
            Some(data)
        }
        (Record::Txt(text), TXT) => {
            let parts = text.as_bytes().chunks(255);
            Some(
                parts
                    .flat_map(|part| [&[part.len() as u8], part].concat())
                    .collect(),
            )
        }
        (_, A | MX | TXT | AAAA) => None,
        (_, other) => panic!("nobody asks for type {other}"),
    }
}

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut name: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    name.push(0);
    name
}
