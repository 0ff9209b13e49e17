//! `pabal migrate` and `pabal ledger`

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::Created;
use pabal_common::instance::LeaseConfig;
use pabal_common::process::{self, Backends, Place, Visit, settings};
use serde_json::json;

use super::{Failure, print_json, visit};
use crate::cli::Configuration;

/// How the ledger knows the process of `pabal ledger restored` while it looks who else lives.
const ROLE: &str = "ledger restored";

#[derive(clap::Args)]
pub(crate) struct MigrateArguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// After a backup was restored: whatever might have been sent since becomes an unknown outcome,
    /// so that nothing is sent twice. Stop every process first.
    Restored {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn migrate(
    with: &Configuration,
    arguments: MigrateArguments,
) -> Result<(), Failure> {
    let values = with.load()?;
    let backends = Backends::from_values(&values).map_err(|error| error.failure())?;
    let made = process::migrate(&backends).await;
    let made_keys = made.map_err(|error| error.failure())? == Created::Yes;
    let ledger = backends.ledger_place();
    if arguments.json {
        print_json(&json!({"ledger": ledger, "migrated": true, "madeKeys": made_keys}));
        return Ok(());
    }
    if made_keys {
        println!(
            "{} holds the new keys: back it up, what is sealed cannot be read without it.",
            backends.keys.display()
        );
    }
    println!("The schema of {ledger} is up to date.");
    Ok(())
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let Command::Restored { json } = command;
    let values = with.load()?;
    let backends = Backends::from_values(&values).map_err(|error| error.failure())?;
    // Held to the end: no process can start meanwhile.
    let _lock = match backends.place {
        Place::Embedded => Some(backends.folder.lock().map_err(|error| error.failure())?),
        Place::Servers(_) => None,
    };
    let visit = visit(&values).await?;
    if matches!(backends.place, Place::Servers(_)) {
        nobody_lives(&visit, settings::lease(&values)).await?;
    }
    let seen = visit.recall_mark().await.map_err(|error| error.failure())?;
    let rows = visit.ledger.restored(seen, SystemClock.now()).await?;
    visit.close().await;
    match json {
        true => print_json(&json!({"unknown": rows})),
        false => println!(
            "{rows} messages that might have been sent are unknown outcomes now: a report can still \
             end them. Pabal can be started."
        ),
    }
    Ok(())
}

/// Refuses while another process has a lease: it could act on rows that are about to be unknown.
async fn nobody_lives(visit: &Visit, lease: LeaseConfig) -> Result<(), Failure> {
    let me = visit.ledger.join(ROLE, lease.lease).await?.instance;
    let heard = visit.ledger.heartbeat(me, lease.lease, &[], &[]).await;
    visit.ledger.leave(me).await?;
    let mut others = heard?.live;
    others.retain(|one| one.instance != me);
    let names: Vec<String> = others
        .iter()
        .map(|one| format!("{} ({})", one.role, one.instance))
        .collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "processes are alive on this ledger: {}; stop every one of them; one that was killed \
             counts as alive for {:?} more",
            names.join(", "),
            lease.lease
        ))),
    }
}
