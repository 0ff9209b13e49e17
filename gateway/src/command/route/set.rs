//! `pabal route set`

use pabal_common::domain::id::PartnerId;
use pabal_common::domain::kind::MessageType;
use pabal_provider::config::RouteTable;

use super::{Desk, Named};
use crate::command::Failure;

pub(super) const EXAMPLES: &str = "\
What is not given has its default, also where the route was set before: a route is replaced as a whole.

Examples:
  pabal route set sms-b --account carrier/second --type SMS --tps 100 --concurrency 8
  pabal route set bank --account carrier/bank --type LMS --tps 50 --concurrency 4 --partner bank
  pabal route set skt --account carrier/skt --type SMS --tps 50 --concurrency 4 --prefix 010 --limit SMS=80";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The route's name
    name: String,
    /// The account it leads to, one of the configuration file
    #[arg(long, value_name = "PROTOCOL/NAME")]
    account: String,
    /// A type it carries; may be repeated
    #[arg(long = "type", value_name = "TYPE", required = true, value_parser = kind)]
    kinds: Vec<MessageType>,
    /// Its share among routes of the same priority, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 1)]
    weight: u32,
    /// Lower goes first
    #[arg(long, value_name = "N", default_value_t = 1)]
    priority: u32,
    /// Messages a second over all senders, 1 to 100000
    #[arg(long, value_name = "N")]
    tps: u32,
    /// Calls at once in each sender, 1 to 10000
    #[arg(long, value_name = "N")]
    concurrency: u32,
    /// A partner whose messages it carries, instead of everybody's; may be repeated
    #[arg(long = "partner", value_name = "ID")]
    partners: Vec<PartnerId>,
    /// How numbers begin that it carries, instead of all; may be repeated
    #[arg(long = "prefix", value_name = "DIGITS")]
    prefixes: Vec<String>,
    /// The longest text of a type that it carries; may be repeated
    #[arg(long = "limit", value_name = "TYPE=N", value_parser = limit)]
    limits: Vec<(MessageType, usize)>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(desk: &Desk, arguments: Arguments) -> Result<(), Failure> {
    let named = Named {
        name: arguments.name.clone(),
        json: arguments.json,
    };
    let table = arguments.table();
    let (spec, account) = table.clone().check().map_err(Failure::wrong_use)?;
    let accounts = desk.plan().await?.accounts;
    if !accounts.contains(&account.to_string()) {
        let known: Vec<String> = accounts.into_iter().collect();
        return Err(Failure::usage(format!(
            "account {account} is not configured; there are: {}",
            known.join(", ")
        )));
    }
    let definition =
        serde_json::to_string(&table).map_err(|error| Failure::failed(error.to_string()))?;
    let ledger = &desk.storage.ledger;
    ledger
        .set_route(spec.name(), &definition, desk.now())
        .await?;
    let said = format!("{} is set: senders obey within two seconds.", spec.name());
    desk.changed(&named, &said).await
}

impl Arguments {
    fn table(self) -> RouteTable {
        RouteTable {
            name: self.name,
            account: self.account,
            kinds: self.kinds,
            weight: self.weight,
            priority: self.priority,
            tps: self.tps,
            concurrency: self.concurrency,
            partners: self.partners.into_iter().collect(),
            prefixes: self.prefixes.into_iter().collect(),
            limits: self.limits.into_iter().collect(),
        }
    }
}

fn kind(name: &str) -> Result<MessageType, String> {
    MessageType::parse(name).ok_or_else(|| {
        let names = MessageType::ALL.map(MessageType::name);
        format!("a type is one of {}", names.join(", "))
    })
}

fn limit(text: &str) -> Result<(MessageType, usize), String> {
    let (name, most) = text.split_once('=').ok_or("a limit looks like LMS=2000")?;
    let most = most
        .parse()
        .map_err(|_| format!("{most:?} is no whole number"))?;
    Ok((kind(name)?, most))
}
