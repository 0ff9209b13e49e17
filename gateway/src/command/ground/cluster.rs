//! Several processes on trial, in the order of the flow.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::member::{LOOK, Member, Setup};

/// How soon a process that has ended is started again.
const RESTART: Duration = Duration::from_millis(500);

/// The processes on trial.
pub(crate) struct Cluster {
    /// In the order of the flow.
    pub(crate) members: Vec<Arc<Member>>,
}

impl Cluster {
    /// As many processes of each service as are asked for, on these ports; none runs yet.
    pub(crate) fn of_services(
        setup: &Setup<'_>,
        services: &[(&'static str, usize)],
        ports: &[u16],
    ) -> Self {
        let mut ports = ports.iter();
        let mut members = Vec::new();
        for &(role, count) in services {
            for (number, port) in (1..=count).zip(&mut ports) {
                members.push(Arc::new(Member::service(setup, role, number, *port)));
            }
        }
        Self { members }
    }

    /// Every service in one process, on this port; it does not run yet.
    pub(crate) fn of_one(setup: &Setup<'_>, port: u16) -> Self {
        Self {
            members: vec![Arc::new(Member::whole(setup, port))],
        }
    }

    /// The processes of one service; the one process, if it holds them all.
    pub(crate) fn of(&self, role: &str) -> Vec<&Member> {
        let members = self.members.iter().map(AsRef::as_ref);
        members
            .filter(|member| member.role == role || member.role == "pabal")
            .collect()
    }

    /// Where the processes of one service listen.
    pub(crate) fn bases(&self, role: &str) -> Vec<String> {
        let of = self.of(role);
        of.into_iter().map(|member| member.base.clone()).collect()
    }

    /// Starts every process and waits until it is ready.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.start()?;
        }
        self.ready().await
    }

    /// Waits until every process says that it is ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.ready().await?;
        }
        Ok(())
    }

    /// Asks every process to stop, in the order of the flow.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        for member in &self.members {
            member.stop().await?;
        }
        Ok(())
    }

    /// From now on starts again whatever ends, as whoever runs them would.
    pub(crate) fn keep(&self) -> Keeper {
        Keeper(tokio::spawn(keep(self.members.clone())))
    }
}

/// Starts again what has ended and is wanted, until it is dropped.
pub(crate) struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(members: Vec<Arc<Member>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for member in &members {
            if member.has_ended() {
                tokio::time::sleep(RESTART).await;
                if let Err(error) = member.start_again() {
                    eprintln!("{}: {error:#}", member.name);
                }
            }
        }
    }
}
