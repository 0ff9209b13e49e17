//! A way between a service and a back-end that can be disturbed: cut, stalled, or made mute.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They go both ways.
    Open,
    /// None arrives, in either direction; connections stay.
    Stalled,
    /// What clients say arrives, what servers answer does not.
    Mute,
    /// Connections are refused: accepted by the system and closed at once.
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct State {
    flow: Flow,
    /// Connections begun under another number are closed.
    cuts: u64,
}

/// A listening port whose connections lead to `target`. Closed when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let open = State {
            flow: Flow::Open,
            cuts: 0,
        };
        let (state, watched) = watch::channel(open);
        tokio::spawn(accept(listener, target, watched));
        Ok(Self { address, state })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what becomes of the bytes from now on.
    pub fn set(&self, flow: Flow) {
        self.state.send_modify(|state| state.flow = flow);
    }

    /// Closes every connection there is, whatever was on its way.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mut watched: watch::Receiver<State>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if watched.borrow().flow != Flow::Closed {
                    tokio::spawn(carry(client, target, watched.clone()));
                }
            }
            changed = watched.changed() => if changed.is_err() { return },
        }
    }
}

/// Carries one connection until either side closes it or it is cut.
async fn carry(client: TcpStream, target: SocketAddr, watched: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let begun = watched.borrow().cuts;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut cut = watched.clone();
    let questions = pump(&mut from_client, &mut to_server, watched.clone(), |flow| {
        flow != Flow::Stalled
    });
    let answers = pump(&mut from_server, &mut to_client, watched, |flow| {
        flow == Flow::Open
    });
    tokio::select! {
        () = questions => {}
        () = answers => {}
        _ = cut.wait_for(|state| state.cuts != begun || state.flow == Flow::Closed) => {}
    }
}

async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut watched: watch::Receiver<State>,
    flows: fn(Flow) -> bool,
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let Ok(read) = from.read(&mut bytes).await else {
            return;
        };
        let open = watched.wait_for(|state| flows(state.flow)).await.is_ok();
        if read == 0 || !open || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything twice.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_what_comes_after_goes_through() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let mut first = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut first).await.unwrap(), b'x');
        proxy.cut();
        assert!(said(&mut first).await.is_err());
        let mut second = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut second).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_stalled_answer_arrives_when_the_way_is_open_again() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut stream).await.unwrap(), b'x');
        proxy.set(Flow::Mute);
        stream.write_all(b"y").await.unwrap();
        assert!(stream.try_read(&mut [0; 1]).is_err());
        proxy.set(Flow::Open);
        assert_eq!(stream.read_u8().await.unwrap(), b'y');
    }

    #[tokio::test]
    async fn a_closed_way_lets_nobody_in() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        proxy.set(Flow::Closed);
        let refused = match TcpStream::connect(proxy.address()).await {
            Ok(mut stream) => said(&mut stream).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}
