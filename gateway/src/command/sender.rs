//! `pabal sender`

use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::PartnerId;
use pabal_common::domain::sender::Sender;
use pabal_common::ledger::RegisteredSender;
use pabal_common::process::Visit;
use serde_json::{Value, json};

use super::{Failure, no_such_partner, print_json, print_table, visit};
use crate::cli::Configuration;

const EXAMPLES: &str = "\
A number is blocked when a vendor has refused it three times in a row: its partner then reads
SENDER_NOT_ALLOWED at once. Register it with the vendor before it is allowed again.

Examples:
  pabal sender list
  pabal sender list --partner shop --json
  pabal sender allow shop 02-123-4567";

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Every sender number, and which are blocked
    #[command(after_help = EXAMPLES)]
    List {
        /// Of this partner alone
        #[arg(long, value_name = "ID")]
        partner: Option<PartnerId>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Allow a number again; receivers obey within two seconds
    #[command(after_help = EXAMPLES)]
    Allow {
        /// Whose number
        partner: PartnerId,
        /// The number, such as 02-123-4567
        number: Sender,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(with: &Configuration, command: Command) -> Result<(), Failure> {
    let storage = visit(&with.load()?).await?;
    match command {
        Command::List { partner, json } => list(&storage, partner, json).await,
        Command::Allow {
            partner,
            number,
            json,
        } => allow(&storage, &partner, &number, json).await,
    }
}

type Row = (PartnerId, RegisteredSender);

async fn list(storage: &Visit, of: Option<PartnerId>, as_json: bool) -> Result<(), Failure> {
    let ledger = &storage.ledger;
    let partners = match of {
        Some(id) => vec![known(storage, &id).await?],
        None => ledger
            .partners()
            .await?
            .into_iter()
            .map(|one| one.id)
            .collect(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for partner in partners {
        let senders = ledger.registered_senders(&partner).await?;
        rows.extend(senders.into_iter().map(|sender| (partner.clone(), sender)));
    }
    match as_json {
        true => {
            let items: Vec<Value> = rows.iter().map(item).collect();
            print_json(&json!({"items": items}));
        }
        false => {
            let cells: Vec<_> = rows.iter().map(cells).collect();
            print_table(["PARTNER", "NUMBER", "STATE", "SINCE", "WHY"], &cells);
        }
    }
    Ok(())
}

async fn allow(
    storage: &Visit,
    partner: &PartnerId,
    number: &Sender,
    as_json: bool,
) -> Result<(), Failure> {
    let (partner, digits) = (known(storage, partner).await?, number.entry());
    let ledger = &storage.ledger;
    ledger
        .allow_sender(&partner, digits, SystemClock.now())
        .await?;
    match as_json {
        true => print_json(&json!({"partner": partner, "number": digits, "state": "ALLOWED"})),
        false => println!("{partner} may send from {digits}; receivers obey within two seconds."),
    }
    Ok(())
}

async fn known(storage: &Visit, id: &PartnerId) -> Result<PartnerId, Failure> {
    let partner = storage.ledger.partner(id).await?;
    partner.map(|one| one.id).ok_or_else(|| no_such_partner(id))
}

const fn state(sender: &RegisteredSender) -> &'static str {
    match sender.blocked {
        Some(_) => "BLOCKED",
        None => "ALLOWED",
    }
}

fn item((partner, sender): &Row) -> Value {
    let blocked = sender.blocked.as_ref();
    json!({
        "partner": partner,
        "number": sender.number,
        "state": state(sender),
        "since": blocked.map(|it| it.since.to_rfc3339()),
        "why": blocked.map(|it| &it.why),
    })
}

fn cells((partner, sender): &Row) -> [String; 5] {
    let blocked = sender.blocked.as_ref();
    let nothing = || "-".to_owned();
    [
        partner.to_string(),
        sender.number.clone(),
        state(sender).to_owned(),
        blocked.map_or_else(nothing, |it| it.since.to_rfc3339()),
        blocked.map_or_else(nothing, |it| it.why.clone()),
    ]
}
