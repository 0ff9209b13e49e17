//! What a trial stands on: private back-ends, services as processes of their own, and the text of
//! their configuration. `pabal chaos` and `pabal bench` stand on the same.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

pub(crate) mod cluster;
pub(crate) mod configuration;
pub(crate) mod member;
pub(crate) mod parts;
pub(crate) mod process;

/// What starts the private back-ends, from the root of the project.
pub(crate) const BACKENDS: &str = "scripts/backends";

/// The folder of this program, in which the services' programs are, too.
pub(crate) fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no folder of programs")?;
    let wanted = folder.join("pabal-sender");
    ensure!(
        wanted.exists(),
        "{} is missing: build every program first, with `cargo build --release --workspace`",
        wanted.display()
    );
    Ok(folder.to_path_buf())
}

/// Ports that stay free while nothing listens: below those the system lends to clients.
pub(crate) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..1000 {
        if held.len() == count {
            break;
        }
        held.extend(TcpListener::bind((
            "127.0.0.1",
            fastrand::u16(12_000..32_000),
        )));
    }
    ensure!(held.len() == count, "there are not enough free ports");
    let ports = held.iter().map(TcpListener::local_addr);
    ports.map(|address| Ok(address?.port())).collect()
}
