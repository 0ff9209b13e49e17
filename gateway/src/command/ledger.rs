//! `pabal migrate` and `pabal ledger`

use std::sync::Arc;

use pabal_common::broker::Broker as _;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::crypto::{Created, Keyring};
use pabal_common::ledger::Upkeep as _;
use pabal_common::ledger::sqlite;
use pabal_gateway::storage::{self, Folder, Storage};
use serde_json::json;

use super::{Failure, print_json};
use crate::cli::Configuration;

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
    let folder = Folder::new(values.path("data.folder"));
    storage::make(folder.path())?;
    let _lock = storage::lock(&folder)?;
    // A new ledger gets its key file first: what is sealed later could not be read without it.
    let made = match folder.ledger().exists() {
        true => Created::No,
        false => Keyring::open_or_create(&folder.keys())?.1,
    };
    sqlite::migrate(&folder.ledger()).await?;
    let made_keys = made == Created::Yes;
    if arguments.json {
        print_json(&json!({"ledger": folder.ledger(), "migrated": true, "madeKeys": made_keys}));
        return Ok(());
    }
    if made_keys {
        println!(
            "{} holds the new keys: back it up, what is sealed cannot be read without it.",
            folder.keys().display()
        );
    }
    println!("The schema of {} is up to date.", folder.ledger().display());
    Ok(())
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let Command::Restored { json } = command;
    let values = with.load()?;
    let folder = Folder::new(values.path("data.folder"));
    let _lock = storage::lock(&folder)?;
    let storage = Storage::visit(&folder, Arc::new(SystemClock)).await?;
    let seen = storage.broker.recall_mark().await?;
    let rows = storage.ledger.restored(seen, SystemClock.now()).await?;
    storage.close().await;
    match json {
        true => print_json(&json!({"unknown": rows})),
        false => println!(
            "{rows} messages that might have been sent are unknown outcomes now: a report can still \
             end them. Pabal can be started."
        ),
    }
    Ok(())
}
