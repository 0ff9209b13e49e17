//! A way to a server on which somebody listens: what clients say is kept.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What was said on one connection.
type Said = Arc<Mutex<Vec<u8>>>;

/// A port whose connections lead to a server.
pub(crate) struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Said>>>,
    accepting: JoinHandle<()>,
}

impl Tap {
    /// In the way to `server`, host and port.
    pub(crate) async fn on(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<Said>>>::default();
        let all = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let said = Said::default();
                lock(&all).push(Arc::clone(&said));
                tokio::spawn(carry(client, server.clone(), said));
            }
        });
        Self {
            address,
            connections,
            accepting,
        }
    }

    /// Makes a server's URL lead this way.
    pub(crate) fn lead(&self, url: &mut Url) {
        url.set_host(Some(&self.address.ip().to_string())).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
    }

    /// What clients have said so far, one connection after the other.
    pub(crate) fn said(&self) -> Vec<u8> {
        let connections = lock(&self.connections);
        connections
            .iter()
            .flat_map(|said| lock(said).clone())
            .collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection until either side closes it.
async fn carry(mut client: TcpStream, server: String, said: Said) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let questions = async {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            lock(&said).extend(&bytes[..read]);
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = questions => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
