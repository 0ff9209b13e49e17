//! A way to the server that can fail: connections are cut, held up, or told things the server never
//! said.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Everything.
    All,
    /// Only what the client says.
    Requests,
    /// Nothing. Connections stay.
    Nothing,
}

/// What becomes of the server's confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirms {
    /// They pass.
    Pass,
    /// They arrive as refusals.
    Refuse,
    /// They are lost.
    Lose,
}

/// A proxy in front of the server.
pub(crate) struct Proxy {
    address: SocketAddr,
    switch: Arc<Switch>,
    _stop: DropGuard,
}

struct Switch {
    passing: watch::Sender<Passing>,
    cuts: watch::Sender<u64>,
    sayings: broadcast::Sender<Vec<u8>>,
    /// What a connection that publishes is told as soon as it is open.
    greeting: Mutex<Vec<u8>>,
    /// Every queue looks as one whose leader does not answer.
    hides_counts: AtomicBool,
    confirms: Mutex<Confirms>,
    stop: CancellationToken,
}

impl Proxy {
    pub(crate) async fn before(server: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let switch = Arc::new(Switch {
            passing: watch::Sender::new(Passing::All),
            cuts: watch::Sender::new(0),
            sayings: broadcast::Sender::new(8),
            greeting: Mutex::default(),
            hides_counts: AtomicBool::new(false),
            confirms: Mutex::new(Confirms::Pass),
            stop: stop.clone(),
        });
        let accept = accept(listener, server, Arc::clone(&switch));
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Self {
            address,
            switch,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection there is; new ones are let through.
    pub(crate) fn cut(&self) {
        self.switch.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn pass(&self, passing: Passing) {
        self.switch.passing.send_replace(passing);
    }

    /// Says something to every client, between two frames of the server.
    pub(crate) fn say(&self, frame: Vec<u8>) {
        self.switch.sayings.send(frame).unwrap();
    }

    /// Says something from now on to every connection that publishes, once it is open.
    pub(crate) fn greet(&self, frame: Vec<u8>) {
        *self.switch.greeting.lock().unwrap() = frame;
    }

    pub(crate) fn confirms(&self, confirms: Confirms) {
        *self.switch.confirms.lock().unwrap() = confirms;
    }

    /// Says "no frames, no consumers" of every queue, as the server does of one without a leader.
    pub(crate) fn hide_counts(&self) {
        self.switch.hides_counts.store(true, SeqCst);
    }
}

async fn accept(listener: TcpListener, server: (String, u16), switch: Arc<Switch>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // Listening begins before the connection does anything.
        let cuts = switch.cuts.subscribe();
        let sayings = switch.sayings.subscribe();
        let carried = carry(client, server.clone(), Arc::clone(&switch), cuts, sayings);
        tokio::spawn(switch.stop.clone().run_until_cancelled_owned(carried));
    }
}

async fn carry(
    client: TcpStream,
    server: (String, u16),
    switch: Arc<Switch>,
    mut cuts: watch::Receiver<u64>,
    sayings: broadcast::Receiver<Vec<u8>>,
) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let publishes = AtomicBool::new(false);
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        // First of all: what is cut off does not arrive.
        biased;
        _ = cuts.changed() => {}
        () = requests(client_in, server_out, &switch, &publishes) => {}
        () = answers(server_in, client_out, &switch, &publishes, sayings) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    switch: &Switch,
    publishes: &AtomicBool,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut passing = switch.passing.subscribe();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // A client says first of all what its connection is for.
        if buffer[..read]
            .windows(PUBLISHES.len())
            .any(|at| at == PUBLISHES)
        {
            publishes.store(true, SeqCst);
        }
        let open = passing.wait_for(|passing| *passing != Passing::Nothing);
        if open.await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    switch: &Switch,
    publishes: &AtomicBool,
    mut sayings: broadcast::Receiver<Vec<u8>>,
) {
    let mut passing = switch.passing.subscribe();
    let mut buffer = vec![0; 1 << 16];
    let mut stream = Vec::new();
    loop {
        let bytes = tokio::select! {
            Ok(saying) = sayings.recv() => saying,
            read = from.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                stream.extend_from_slice(&buffer[..read]);
                switch.twisted(whole_frames(&mut stream), publishes.load(SeqCst))
            }
        };
        let open = passing.wait_for(|passing| *passing == Passing::All);
        if open.await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Takes the whole AMQP frames off the front: a head of 7 bytes with the payload's length in its
/// last 4, the payload, and one byte that ends it.
fn whole_frames(stream: &mut Vec<u8>) -> Vec<u8> {
    let mut end = 0;
    while let Some(length) = stream.get(end + 3..end + 7) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if stream.len() < end + length + 8 {
            break;
        }
        end += length + 8;
    }
    stream.drain(..end).collect()
}

const PUBLISHES: &[u8] = b"pabal publish";
/// The class and the method of `connection.open-ok` and of `queue.declare-ok`.
const OPEN_OK: &[u8] = &[0, 10, 0, 41];
const DECLARE_OK: &[u8] = &[0, 50, 0, 11];
/// Those of a confirm, and the method that makes a refusal of it: the rest is the same.
const ACK: &[u8] = &[0, 60, 0, 80];
const NACK: u8 = 120;

impl Switch {
    fn twisted(&self, mut frames: Vec<u8>, publishes: bool) -> Vec<u8> {
        let confirms = *self.confirms.lock().unwrap();
        let mut at = 0;
        while at < frames.len() {
            let length = u32::from_be_bytes(frames[at + 3..at + 7].try_into().unwrap()) as usize;
            let payload = at + 7..at + 7 + length;
            at = payload.end + 1;
            let is_method = frames[payload.start - 7] == 1;
            if is_method && publishes && frames[payload.clone()].starts_with(OPEN_OK) {
                let greeting = self.greeting.lock().unwrap().clone();
                frames.splice(at..at, greeting.iter().copied());
                at += greeting.len();
            } else if is_method && frames[payload.clone()].starts_with(ACK) {
                match confirms {
                    Confirms::Pass => {}
                    Confirms::Refuse => frames[payload.start + 3] = NACK,
                    Confirms::Lose => {
                        frames.drain(payload.start - 7..at);
                        at = payload.start - 7;
                    }
                }
            } else if is_method
                && frames[payload.clone()].starts_with(DECLARE_OK)
                && self.hides_counts.load(SeqCst)
            {
                // The counts of messages and consumers are the last eight bytes.
                frames[payload.end - 8..payload.end].fill(0);
            }
        }
        frames
    }
}
