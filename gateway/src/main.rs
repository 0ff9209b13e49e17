//! `pabal`, the program: see `pabal --help`.

use std::process::ExitCode;

mod cli;
mod command;

fn main() -> ExitCode {
    // One TLS provider for the whole process; a second call would be the only way to fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pabal: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run());
    // A blocking task that hangs must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}
