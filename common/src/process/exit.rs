//! How a program ends: its exit code, and what it says.

use std::process::ExitCode;
use std::time::Duration;

/// How long a blocking task that hangs may hold the exit.
const LAST: Duration = Duration::from_secs(1);

/// Why a program ends with an exit code other than 0.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Wrong use or configuration: exit code 2. To start it again as it is would be of no use.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// It did not work, or the answer is no: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// Settings that cannot be used: exit code 2.
    pub fn wrong_use(error: impl std::error::Error) -> Self {
        Self::of(&error, true)
    }

    /// What `error` means: wrong use if it is wrong for good.
    pub fn of(error: &dyn std::error::Error, is_wrong_use: bool) -> Self {
        match is_wrong_use {
            true => Self::usage(error.to_string()),
            false => Self::failed(error.to_string()),
        }
    }

    /// Its exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }

    fn report(self, program: &str) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("{program}: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error.to_string())
    }
}

/// The main function of a program: `run` on a runtime of its own, and its end as an exit code.
pub fn main(program: &str, run: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    // One TLS provider for the whole process; a second call would be the only way to fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::failed(format!("the runtime could not be started: {error}"))
                .report(program);
        }
    };
    let ended = runtime.block_on(run);
    runtime.shutdown_timeout(LAST);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(program),
    }
}
