//! A door to the database that can fail just when a transaction commits, and fall silent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};

/// What happens to the next COMMIT; the one after passes.
pub(crate) enum OnCommit {
    /// It is carried out, and the connection is cut before the client has the answer.
    LoseAnswer,
    /// The connection is cut before the database has it.
    Cut,
    /// The client is cut off, and the database gets it only when told.
    Hold(oneshot::Receiver<()>),
}

/// See [`OnCommit`].
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    faults: Arc<Faults>,
    task: tokio::task::JoinHandle<()>,
}

/// What a packet begins with that asks whether the database is there.
const PING: u8 = 0x0e;

#[derive(Default)]
struct Faults {
    next: Mutex<Option<OnCommit>>,
    /// How many packets pass before one is kept, pings not counted: a pool sends them when it likes.
    left: Mutex<Option<usize>>,
    frozen: Notify,
}

impl Faults {
    fn keeps(&self, packet: &[u8]) -> bool {
        if packet.get(4) == Some(&PING) {
            return false;
        }
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) => {
                *left = None;
                true
            }
            more => {
                *left = more.map(|packets| packets - 1);
                false
            }
        }
    }
}

impl Proxy {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults: Arc<Faults> = Arc::default();
        let shared = Arc::clone(&faults);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            faults,
            task,
        }
    }

    pub(crate) fn next_commit(&self, fault: OnCommit) {
        *self.faults.next.lock().unwrap() = Some(fault);
    }

    /// Lets so many more packets of clients through; whose packet is the next says nothing more to the
    /// database, and its connection stays open, as if the client had frozen.
    pub(crate) fn freeze_after(&self, packets: usize) {
        *self.faults.left.lock().unwrap() = Some(packets);
    }

    /// Returns when a connection has frozen.
    pub(crate) async fn frozen(&self) {
        self.faults.frozen.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries both ways until either side ends; errors end it, too.
async fn carry(client: TcpStream, server: TcpStream, faults: Arc<Faults>) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (packets, mut asked) = mpsc::channel(1);
    let reader = tokio::spawn(read_packets(from_client, packets));
    let mut answer = vec![0; 65536];
    loop {
        tokio::select! {
            packet = asked.recv() => {
                let Some(packet) = packet else { break };
                if faults.keeps(&packet) {
                    faults.frozen.notify_one();
                    std::future::pending::<()>().await;
                }
                let fault = match is_commit(&packet) {
                    true => faults.next.lock().unwrap().take(),
                    false => None,
                };
                match fault {
                    None => {
                        if to_server.write_all(&packet).await.is_err() {
                            break;
                        }
                        continue;
                    }
                    Some(OnCommit::Cut) => {}
                    Some(OnCommit::LoseAnswer) => {
                        to_server.write_all(&packet).await.unwrap();
                        from_server.readable().await.unwrap();
                    }
                    Some(OnCommit::Hold(told)) => {
                        reader.abort();
                        let _ = reader.await;
                        drop((asked, to_client));
                        told.await.unwrap();
                        to_server.write_all(&packet).await.unwrap();
                        from_server.readable().await.unwrap();
                        return;
                    }
                }
                break;
            }
            length = from_server.read(&mut answer) => {
                let length = length.unwrap_or(0);
                if length == 0 || to_client.write_all(&answer[..length]).await.is_err() {
                    break;
                }
            }
        }
    }
    reader.abort();
}

async fn read_packets(mut client: OwnedReadHalf, packets: mpsc::Sender<Vec<u8>>) {
    loop {
        let mut packet = vec![0; 4];
        if client.read_exact(&mut packet).await.is_err() {
            return;
        }
        let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]);
        packet.resize(4 + length as usize, 0);
        if client.read_exact(&mut packet[4..]).await.is_err() {
            return;
        }
        if packets.send(packet).await.is_err() {
            return;
        }
    }
}

fn is_commit(packet: &[u8]) -> bool {
    packet.get(4..) == Some(b"\x03COMMIT")
}
