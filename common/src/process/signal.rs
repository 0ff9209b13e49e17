//! SIGTERM and SIGINT: the first asks for a stop in order, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the first signal cancels. From now on no signal ends the process by itself but a second.
///
/// # Errors
/// If the system gives no signals.
pub fn stop_on_signal(program: &'static str) -> io::Result<CancellationToken> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("draining; once more to stop at once");
        first.cancel();
        signals.next().await;
        eprintln!("{program}: stopped before the drain ended");
        std::process::exit(1);
    });
    Ok(stop)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
